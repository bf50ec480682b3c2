"""Declare a version bad for good."""

from __future__ import annotations

import click

from scripts._cli import Ui, command


@command('ape run revoke mnist 4 --reason "Trained on corrupted data"')
@click.argument("model")
@click.argument("version", type=click.IntRange(1))
@click.option("--reason", required=True, help="Why; public for ever.")
def cli(ui: Ui, model: str, version: int, reason: str) -> None:
    """Declare VERSION of MODEL bad for good. OPERATOR.

    It no longer verifies as good, and cannot be gone back to. The current and the best version
    cannot be revoked: roll back first.
    """
    from ml.chain import models
    from ml.chain.records import Role

    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        sender = ui.account(session, Role.OPERATOR)
        receipt = registry.revoke(named.id, version, reason, sender=sender)
        ui.say(f"v{version} of {named.name} is revoked (block {receipt.block}).")
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
