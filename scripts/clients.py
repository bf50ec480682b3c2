"""The clients of a federated model: enrolled, excluded, reinstated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scripts._cli import Ui, command, command_group

if TYPE_CHECKING:
    from ml.chain.models import NamedModel
    from ml.chain.registry import ModelRegistry
    from ml.chain.session import Session
    from ml.federated.local.excluding import UnenrolledRun

_model_argument = click.argument("model")
_index_argument = click.argument("index", type=click.IntRange(0))
_reason_option = click.option(
    "--reason", required=True, help="On chain, and public for ever; or in the run's journal."
)
_folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Of the run, where it has more than 256 clients.  [default: runs/MODEL]",
)


@command_group("ape run clients list mnist-2nn-federated")
def cli() -> None:
    """Show a model's clients, exclude one, or take it back.

    More than 256 are not on chain: then it is the journal of their run that says who is excluded,
    and that is changed, while the run goes on, too.
    """


@command("ape run clients list mnist-2nn-federated", "list", cli)
@_model_argument
@_folder_option
def list_(ui: Ui, model: str, folder: Path | None) -> None:
    """List the clients of MODEL, with why those are excluded that are."""
    from ml.federated import enrolments

    with ui.connect() as session:
        registry, named, run = _find(session, model, folder)
        found = run.standings() if run else enrolments.standings(registry, named.id)
    if not found:
        ui.note("None is on chain: where a run has more than 256, name its --folder.")
    ui.table(
        ["client", "address", "data set", "active", "why", "by"],
        [
            [
                one.index,
                ui.short(one.address),
                ui.short(one.dataset),
                one.is_active,
                one.reason,
                ui.short(one.by),
            ]
            for one in found
        ],
    )
    ui.result(
        [
            {
                "client": one.index,
                "address": one.address,
                "dataset": one.dataset,
                "active": one.is_active,
                "reason": one.reason,
                "by": one.by,
            }
            for one in found
        ]
    )


@command('ape run clients exclude mnist-2nn-federated 3 --reason "sends noise"', "exclude", cli)
@_model_argument
@_index_argument
@_reason_option
@_folder_option
def exclude(ui: Ui, model: str, index: int, reason: str, folder: Path | None) -> None:
    """Keep client INDEX out of later versions of MODEL, OPERATOR."""
    _change(ui, model, index, reason, folder, is_excluded=True)


@command('ape run clients reinstate mnist-2nn-federated 3 --reason "mended"', "reinstate", cli)
@_model_argument
@_index_argument
@_reason_option
@_folder_option
def reinstate(ui: Ui, model: str, index: int, reason: str, folder: Path | None) -> None:
    """Let client INDEX contribute to MODEL again, OPERATOR."""
    _change(ui, model, index, reason, folder, is_excluded=False)


def _find(
    session: Session, model: str, folder: Path | None
) -> tuple[ModelRegistry, NamedModel, UnenrolledRun | None]:
    """A model, and the run that its clients are known by if they are not on chain."""
    from ml.chain import models
    from ml.federated.local.excluding import find_run

    registry = session.registry()
    named = models.resolve(registry, model)
    return registry, named, find_run(named, registry.address, folder)


def _change(
    ui: Ui, model: str, index: int, reason: str, folder: Path | None, *, is_excluded: bool
) -> None:
    from ml.chain.publishing import check_text
    from ml.chain.records import Role
    from ml.chain.roles import check_holds
    from ml.federated import enrolments

    check_text(reason, "reason")
    done = "excluded" if is_excluded else "reinstated"
    with ui.connect() as session:
        registry, named, run = _find(session, model, folder)
        operator = ui.account(session, Role.OPERATOR)
        if run:
            where, block = f"in the journal of {run.folder.root}", None
            check_holds(registry, named, Role.OPERATOR, operator.address)
            change = run.exclude if is_excluded else run.reinstate
            change(index, reason, operator.address)
        else:
            enrolments.check_enrolled(registry, named, index)
            send = registry.exclude_client if is_excluded else registry.reinstate_client
            block = send(named.id, index, reason, sender=operator).block
            where = f"block {block}"
    ui.say(f"Client {index} of {named.name} is {done}, {where}.")
    ui.result({"model": named.name, "client": index, "done": done, "block": block})
