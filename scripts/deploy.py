"""Deploy the registry."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from scripts._cli import Ui, command

if TYPE_CHECKING:
    from ml.chain.session import Session


@command("ape run deploy --network sepolia --account mykey")
@click.option("--again", is_flag=True, help="Even if the recorded registry is in use.")
def cli(ui: Ui, again: bool) -> None:
    """Deploy a ModelRegistry and record it in deployments/<chain-id>.json.

    The code is read back from the chain before the record is written. A registry that is on record
    and on the chain is replaced only with --again; the new record then names the former ones.
    """
    from ml.chain.deployments import path_for
    from ml.chain.records import Role

    with ui.connect(lasting=False) as session:
        former = _replaced(session, again) if session.is_lasting else []
        _, deployment = session.deploy(ui.account(session, Role.ADMIN))
        recorded = path_for(session.chain_id) if session.is_lasting else None
        ui.fields(
            {
                "contract": deployment.contract,
                "chain": session.chain_id,
                "address": deployment.address,
                "block": deployment.block,
                "code hash": ui.short(deployment.code_hash),
                "former": ", ".join(former) or "none",
                "record": recorded or "none: the chain ends with this command",
            }
        )
        data = {
            **asdict(deployment),
            "chain_id": session.chain_id,
            "former": former,
            "record": recorded,
        }
        data.pop("abi")
        ui.result(data)


def _replaced(session: Session, again: bool) -> list[str]:
    """The addresses that the record to come takes the place of, oldest first."""
    from ml.chain import deployments
    from ml.errors import ModelproofError

    standing = deployments.standing("ModelRegistry", session)
    if standing is None:
        return []
    if not again:
        raise ModelproofError(
            f"a ModelRegistry stands at {standing.address} on chain {session.chain_id} already"
            f" ({deployments.path_for(session.chain_id)}): use it, or deploy another with --again."
        )
    return [*(former.address for former in standing.former), standing.address]
