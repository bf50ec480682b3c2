"""Deploy the contracts."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from scripts._cli import Ui, command

if TYPE_CHECKING:
    from ml.chain.deploying import Outcome
    from ml.chain.session import Session


@command("ape run deploy --network sepolia --account mykey")
@click.option(
    "--salt",
    metavar="TEXT",
    help="Deploy at the addresses of another salt, even if the recorded contracts are in use.",
)
@click.option(
    "--again", is_flag=True, help="The code of now, even if the recorded contracts are in use."
)
@click.option(
    "--adopt",
    "adopted",
    metavar="ADDRESS",
    multiple=True,
    help="Deploy nothing: record a contract that stands there. May be repeated.",
)
@click.option(
    "--block", type=click.IntRange(min=0), help="With --adopt: where that one was created."
)
def cli(ui: Ui, salt: str | None, again: bool, adopted: tuple[str, ...], block: int | None) -> None:
    """Deploy the contracts and record them in deployments/<chain-id>.json.

    What is on record and on the chain is kept. Where the network has the usual CREATE2 factory, the
    addresses follow from the code and the salt, and what stands there already is recorded; else
    the account creates the contracts. All code is read back from the chain and compared with this
    project's before it is recorded.
    """
    from ml.chain import create2
    from ml.chain.builds import CONTRACTS
    from ml.chain.deploying import adopt, deploy
    from ml.chain.records import Role
    from ml.errors import ModelproofError

    if adopted and (again or salt is not None):
        raise ModelproofError("--adopt deploys nothing: leave --salt and --again out.")
    if block is not None and len(adopted) != 1:
        raise ModelproofError("--block says where one contract of --adopt was created: name one.")
    with ui.connect(lasting=bool(adopted)) as session:
        if adopted:
            outcomes = [adopt(session, session.address(name), block) for name in adopted]
        else:
            sender = ui.account(session, Role.ADMIN)
            bytes_of_salt = create2.salt_of(create2.SALT if salt is None else salt)
            replace = again or salt is not None
            outcomes = [
                deploy(session, name, sender, bytes_of_salt, again=replace) for name in CONTRACTS
            ]
        _show(ui, session, outcomes)


def _show(ui: Ui, session: Session, outcomes: list[Outcome]) -> None:
    from ml.chain.deployments import path_for

    recorded = path_for(session.chain_id) if session.is_lasting else None
    ui.table(
        ["contract", "address", "block", "", "created by", "code hash"],
        [
            [
                one.deployment.contract,
                one.deployment.address,
                one.deployment.block,
                one.how.value,
                "CREATE2 factory" if one.deployment.factory else "an account",
                ui.short(one.deployment.code_hash),
            ]
            for one in outcomes
        ],
    )
    ui.say("")
    ui.fields(
        {
            "chain": session.chain_id,
            "record": recorded or "none: the chain ends with this command",
        }
    )
    ui.result(
        {
            "chain_id": session.chain_id,
            "record": recorded,
            "contracts": {one.deployment.contract: _as_data(one) for one in outcomes},
        }
    )


def _as_data(outcome: Outcome) -> dict[str, object]:
    data = {**asdict(outcome.deployment), "how": outcome.how.value, "gas_used": outcome.gas_used}
    data.pop("abi")
    return data
