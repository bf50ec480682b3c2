"""Say where a model goes on."""

from __future__ import annotations

import click

from scripts._cli import Ui, command


@command("ape run successor mnist 0x5FbDB2315678afecb367f032d93F642f64180aa3 0x4c3f…00")
@click.argument("model")
@click.argument("registry", metavar="ADDRESS")
@click.argument("successor", metavar="ID")
def cli(ui: Ui, model: str, registry: str, successor: str) -> None:
    """Announce that MODEL goes on in the registry at ADDRESS as the model ID there. ADMIN.

    It stops nothing by itself, and may be announced again: the latest counts.
    """
    from ml.chain import models
    from ml.chain.records import Role
    from ml.errors import ModelproofError

    if not models.is_id(successor):
        raise ModelproofError(f"{successor} is not a model's id: 0x and 64 hex digits.")
    with ui.connect() as session:
        here = session.registry()
        named = models.resolve(here, model)
        there = session.address(registry)
        sender = ui.account(session, Role.ADMIN)
        receipt = here.announce_successor(
            named.id, there, bytes.fromhex(successor[2:]), sender=sender
        )
        ui.say(
            f"{named.name} goes on as {ui.short(successor)} in the registry at {there}"
            f" (block {receipt.block})."
        )
        ui.result(
            {
                "model": named.id,
                "registry": there,
                "successor": successor,
                "by": sender.address,
                "transaction": receipt.transaction,
                "block": receipt.block,
                "gas": receipt.gas_used,
            }
        )
