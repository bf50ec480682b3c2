"""End the training of a model."""

from __future__ import annotations

import click

from scripts._cli import Ui, command


@command('ape run complete mnist --reason "Good enough for production"')
@click.argument("model")
@click.option("--reason", required=True, help="Why; public for ever.")
def cli(ui: Ui, model: str, reason: str) -> None:
    """End the training of MODEL: its best version becomes the current one. OPERATOR.

    A version that waits for its validation is discarded. An ADMIN can reopen the model.
    """
    from ml.chain import models
    from ml.chain.records import Role

    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        before = registry.model(named.id).state
        sender = ui.account(session, Role.OPERATOR)
        receipt = registry.complete(named.id, reason, sender=sender)
        outcome = f"v{before.best} is current" if before.best else "no version is good"
        ui.say(f"Training of {named.name} is over: {outcome} (block {receipt.block}).")
        if before.pending:
            ui.say(f"v{before.pending}, which waited for its validation, is discarded.")
        ui.result(
            {
                "model": named.id,
                "current": before.best,
                "discarded": before.pending,
                "reason": reason,
                "by": sender.address,
                "transaction": receipt.transaction,
                "block": receipt.block,
                "gas": receipt.gas_used,
            }
        )
