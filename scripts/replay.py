"""Recompute every version of a federated training."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scripts._cli import Ui, command
from scripts._stores import open_places, places_option

if TYPE_CHECKING:
    from ml.federated.replay import Progress, ReplayedVersion


@command("ape run replay mnist-2nn --store objects")
@click.argument("model")
@click.option(
    "--run",
    "run_file",
    type=click.Path(path_type=Path),
    help="The run's configuration, if the stores do not have it; its digest is checked.",
)
@click.option(
    "--retention",
    default="keep",
    show_default=True,
    help="Of clients' updates, as for `store gc`: what this rule does not keep may be missing.",
)
@places_option
def cli(ui: Ui, model: str, run_file: Path | None, retention: str, places: tuple[str, ...]) -> None:
    """Make every version of MODEL again from the chain and the stores alone, bit for bit.

    Checks each update's signature, whose it is, what it started from, and that it is among those
    that the version commits to; aggregates them by the run's rule; and compares identities. Takes a
    key that opens the versions and the updates, as the coordinator's. Exit code 0: all that the
    stores still have is as it was registered, 1: something is not, or is missing, 2: it could not
    be checked.
    """
    from ml.chain import models
    from ml.federated import run_configuration
    from ml.federated.objects import Objects
    from ml.federated.replay import replay
    from ml.storage.key_files import keys_in_environment
    from ml.storage.retention import Retention

    rule = Retention.parse(retention)
    run = run_configuration.read(run_file) if run_file else None
    objects = Objects(open_places(places), keys_in_environment(os.environ))
    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        with _bar(ui, f"replaying {named.name}") as progress:
            found = replay(registry, named.id, objects, retention=rule, run=run, progress=progress)
    data: dict[str, object] = {"model": named.id, "versions": list(map(_as_data, found))}
    ui.table(
        ["version", "updates", "outcome", "why"],
        [(f"v{one.version}", one.clients or "", one.outcome, one.reason) for one in found],
    )
    _judge(ui, named.name, found, data, rule.cost)
    ui.result(data)


def _judge(
    ui: Ui,
    name: str,
    found: Sequence[ReplayedVersion],
    data: dict[str, object],
    cost: str,
) -> None:
    """Say what it comes to.

    Raises:
        NotVerified: a version is not as it was said to be, or what it takes is missing.
        ModelproofError: there is nothing to replay.
    """
    from ml.errors import ModelproofError, NotVerified
    from ml.federated.replay import Outcome

    bad = [one for one in found if not one.outcome.is_good]
    if bad:
        count = f"{len(bad)} versions of {name} do not replay, the first is" if bad[1:] else ""
        first = f"{count} v{bad[0].version}" if count else f"v{bad[0].version} of {name}"
        what = "differs" if bad[0].outcome is Outcome.DIFFERS else "cannot be made again"
        raise NotVerified(f"{first}, which {what}: {bad[0].reason}", data=data)
    replayed = [one for one in found if one.outcome is Outcome.REPLAYED]
    dropped = [one for one in found if one.outcome is Outcome.DROPPED]
    if not replayed and not dropped:
        raise ModelproofError(
            f"no version of {name} was made by a federated training: nothing to replay.", data=data
        )
    ui.say(f"{len(replayed)} of {len(found)} versions are the same, bit for bit.", style="green")
    if dropped:
        ui.note(f"{len(dropped)} could not be replayed. {cost}")


def _as_data(one: ReplayedVersion) -> dict[str, object]:
    return {
        "version": one.version,
        "outcome": one.outcome.value,
        "reason": one.reason,
        "updates": one.clients,
    }


@contextmanager
def _bar(ui: Ui, what: str) -> Iterator[Progress]:
    """A bar on stderr while the block runs, if that is a terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=ui.err, disable=not ui.err.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
