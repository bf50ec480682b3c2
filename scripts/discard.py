"""Withdraw the version of a model that waits."""

from __future__ import annotations

import click

from scripts._cli import Ui, command


@command('ape run discard mnist --reason "Registered the wrong file"')
@click.argument("model")
@click.option("--reason", required=True, help="Why; public for ever.")
def cli(ui: Ui, model: str, reason: str) -> None:
    """Withdraw the version of MODEL that waits for its validation. OPERATOR."""
    from ml.chain import models
    from ml.chain.records import Role
    from ml.errors import ModelproofError

    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        pending = registry.model(named.id).state.pending
        if not pending:
            raise ModelproofError(
                f"no version of {named.name} waits for its validation: nothing to discard."
            )
        sender = ui.account(session, Role.OPERATOR)
        receipt = registry.discard(named.id, reason, sender=sender)
        ui.say(f"v{pending} of {named.name} is discarded (block {receipt.block}).")
        ui.result(
            {
                "model": named.id,
                "version": pending,
                "reason": reason,
                "by": sender.address,
                "transaction": receipt.transaction,
                "block": receipt.block,
                "gas": receipt.gas_used,
            }
        )
