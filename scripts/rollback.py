"""Take a model back to an earlier version."""

from __future__ import annotations

import click

from scripts._cli import Ui, command


@command('ape run rollback mnist 3 --reason "Suspected model poisoning from client_3"')
@click.argument("model")
@click.argument("version", type=click.IntRange(0))
@click.option("--reason", required=True, help="Why; public for ever.")
def cli(ui: Ui, model: str, version: int, reason: str) -> None:
    """Make VERSION of MODEL the current and best one (0: no version is good). OPERATOR.

    A version that waits for its validation is discarded.
    """
    from ml.chain import models
    from ml.chain.records import Role

    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        before = registry.model(named.id).state
        sender = ui.account(session, Role.OPERATOR)
        receipt = registry.rollback(named.id, version, reason, sender=sender)
        ui.say(
            f"{named.name} is rolled back from v{before.current} to v{version}"
            f" (block {receipt.block}, {receipt.gas_used} gas)."
        )
        if before.pending:
            ui.say(f"v{before.pending}, which waited for its validation, is discarded.")
        ui.result(
            {
                "model": named.id,
                "from": before.current,
                "to": version,
                "discarded": before.pending,
                "reason": reason,
                "by": sender.address,
                "transaction": receipt.transaction,
                "block": receipt.block,
                "gas": receipt.gas_used,
            }
        )
