"""Let the training of a completed model go on."""

from __future__ import annotations

import click

from scripts._cli import Ui, command


@command('ape run reopen mnist --reason "New data has come in"')
@click.argument("model")
@click.option("--reason", required=True, help="Why; public for ever.")
def cli(ui: Ui, model: str, reason: str) -> None:
    """Let the training of MODEL, which is over, go on from its current version. ADMIN."""
    from ml.chain import models
    from ml.chain.records import Role

    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        before = registry.model(named.id).state
        sender = ui.account(session, Role.ADMIN)
        receipt = registry.reopen(named.id, reason, sender=sender)
        ui.say(
            f"Training of {named.name}, which was over ({before.completed.name}), goes on"
            f" (block {receipt.block})."
        )
        ui.result(
            {
                "model": named.id,
                "was": before.completed.name,
                "reason": reason,
                "by": sender.address,
                "transaction": receipt.transaction,
                "block": receipt.block,
                "gas": receipt.gas_used,
            }
        )
