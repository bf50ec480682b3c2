"""Withdraw a version that waits."""

from __future__ import annotations

import click

from scripts._cli import Ui, command


@command('ape run discard mnist 4 --reason "Registered the wrong file"')
@click.argument("model")
@click.argument("version", type=click.IntRange(1))
@click.option("--reason", required=True, help="Why; public for ever.")
def cli(ui: Ui, model: str, version: int, reason: str) -> None:
    """Withdraw VERSION of MODEL, which waits for its validation. OPERATOR."""
    from ml.chain import models
    from ml.chain.records import Role

    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        sender = ui.account(session, Role.OPERATOR)
        receipt = registry.discard(named.id, version, reason, sender=sender)
        ui.say(f"v{version} of {named.name} is discarded (block {receipt.block}).")
        ui.result(
            {
                "model": named.id,
                "version": version,
                "reason": reason,
                "by": sender.address,
                "transaction": receipt.transaction,
                "block": receipt.block,
                "gas": receipt.gas_used,
            }
        )
