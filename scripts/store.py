"""Look after stored objects."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from scripts._cli import Ui, command, command_group
from scripts._stores import open_places, places_option

if TYPE_CHECKING:
    from ml.storage.cid import Cid
    from ml.storage.delta_chains import NamedVersion
    from ml.storage.places import Places
    from ml.storage.replicas import Failure
    from ml.storage.retention import Retention
    from ml.storage.upkeep import Finding, Statistics

model_option = click.option(
    "--model", help="Also look for the objects that versions of this model name on chain."
)


@command_group("ape run store verify --store objects --store ipfs:http://127.0.0.1:5001")
def cli() -> None:
    """Look after stored objects: find what is lost or damaged, repair it, delete what is garbage.

    No key is needed, but for `gc --retention`.
    """


@command("ape run store verify --model mine --store objects", name="verify", group=cli)
@model_option
@places_option
def verify(ui: Ui, model: str | None, places: tuple[str, ...]) -> None:
    """Read every object whole from each store, and every sidecar from each folder."""
    from ml.storage.upkeep import examine, examine_sidecars

    asked = _objects(ui, model, places)
    stores, folders = asked.places.stores, asked.places.folders
    _report(ui, [*examine(stores, asked.cids), *examine_sidecars(folders, asked.cids)], asked)


@command("ape run store repair --store objects --store /mnt/copy", name="repair", group=cli)
@model_option
@places_option
def repair(ui: Ui, model: str | None, places: tuple[str, ...]) -> None:
    """Put what is lost or damaged in one store there again, from another that has it whole."""
    from ml.storage.upkeep import repair, repair_sidecars

    asked = _objects(ui, model, places)
    stores, folders = asked.places.stores, asked.places.folders
    _report(ui, [*repair(stores, asked.cids), *repair_sidecars(folders, asked.cids)], asked)


@command("ape run store gc --store objects --delete", name="gc", group=cli)
@click.option("--delete", is_flag=True, help="Delete it; without this, it is only listed.")
@click.option(
    "--older-than",
    "days",
    type=float,
    default=7.0,
    show_default=True,
    help="Days: what is newer may be about to be registered.",
)
@click.option(
    "--retention",
    default="keep",
    show_default=True,
    help="Of clients' updates: keep, drop:VERSIONS, or thin:VERSIONS:EVERY."
    "  Takes a key, to read which version each went into.",
)
@places_option
def gc(ui: Ui, delete: bool, days: float, retention: str, places: tuple[str, ...]) -> None:
    """List or delete objects that no version of any model on this chain names.

    Objects for models on another chain look like garbage here: keep them in another folder.
    """
    from ml.errors import ModelproofError
    from ml.storage import upkeep
    from ml.storage.retention import Retention

    newest = upkeep.days_before(time.time(), days)
    rule = Retention.parse(retention)
    opened = open_places(places)
    named = {digest for version in _named(ui, None) for digest in version.digests}
    given_up = _given_up(ui, rule, opened)
    # what one folder calls garbage may be new in another: it is garbage where all agree
    verdicts = [upkeep.garbage(folder, named, newest, given_up) for folder in opened.folders]
    found = upkeep.agreed(opened.folders, verdicts)
    if delete and not named:
        raise ModelproofError(
            "no version on this chain names an object, so all would go: see that --network is"
            " right, or delete the folder yourself."
        )
    if delete:
        upkeep.delete(opened.stores, found)
    for cid in found:
        ui.say(str(cid))
    ui.note(
        f"{len(found)} objects were deleted." if delete else f"{len(found)} objects are garbage."
    )
    ui.result({"garbage": [str(cid) for cid in found], "deleted": delete})


def _given_up(ui: Ui, rule: Retention, opened: Places) -> Collection[Cid]:
    """The clients' updates that are not to be kept, and what is to be said of that."""
    if rule.versions is None:
        return ()
    from ml.storage.key_files import keys_in_environment
    from ml.storage.retention import given_up
    from ml.training.named_updates import named_updates

    keys = keys_in_environment(os.environ)
    with ui.connect() as session:
        known = named_updates(session.registry(), opened, keys)
    ui.note(rule.cost)
    for version in known.unread:
        ui.note(f"The updates of {version.rstrip('.')}; they are kept.")
    return given_up(rule, known.uses)


@command("ape run store stats --model mine --store objects", name="stats", group=cli)
@click.option("--model", help="Also say how each version of this model is kept.")
@places_option
def stats(ui: Ui, model: str | None, places: tuple[str, ...]) -> None:
    """Count objects, sidecars and bytes."""
    from ml.storage.upkeep import statistics

    opened = open_places(places)
    counted = [(store, statistics(opened.sidecars_of(store), store)) for store in opened.stores]
    ui.table(
        ["store", "objects", "sidecars", "bytes", "formats"],
        [
            (store, each.objects, each.sidecars, f"{each.total_bytes:,}", _formats(each))
            for store, each in counted
        ],
    )
    stores = [
        {
            "store": str(store),
            "objects": each.objects,
            "sidecars": each.sidecars,
            "bytes": each.total_bytes,
            "formats": each.formats,
        }
        for store, each in counted
    ]
    versions = _show_versions(ui, opened, model) if model else []
    ui.result({"stores": stores, "versions": versions})


def _formats(counted: Statistics) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counted.formats.items()))


def _show_versions(ui: Ui, opened: Places, model: str) -> list[dict[str, object]]:
    """Print how each version of a model is kept, by what the chain and the sidecars say."""
    from ml.storage.delta_chains import delta_chain, described_by

    describe = described_by([folder.sidecars for folder in opened.folders])
    kept = []
    for version in _named(ui, model):
        sidecar = describe(version.content) if version.content else None
        builds_on = [each.name for each in delta_chain(version, describe)[1:]]
        kept.append((version.name, sidecar, builds_on))
    ui.say("")
    ui.table(
        ["version", "object", "format", "bytes", "builds on"],
        [
            (
                version,
                *(
                    (each.stored.cid, each.payload.format, f"{each.stored.size:,}")
                    if each
                    else ("-", "-", "-")
                ),
                ", ".join(builds_on) or "-",
            )
            for version, each, builds_on in kept
        ],
    )
    return [
        {
            "version": version,
            "object": str(each.stored.cid) if each else None,
            "format": each.payload.format if each else None,
            "bytes": each.stored.size if each else None,
            "builds_on": builds_on,
        }
        for version, each, builds_on in kept
    ]


def _named(ui: Ui, model: str | None) -> list[NamedVersion]:
    """The versions of a model, or of all models, and the objects that they name."""
    from ml.chain import models
    from ml.training.named_objects import named_objects

    with ui.connect() as session:
        registry = session.registry()
        return named_objects(registry, models.resolve(registry, model) if model else None)


class _Asked(NamedTuple):  # Ape loads scripts in a way that dataclasses do not stand
    """What is looked after: stores, objects that should be in each, and who names some of them."""

    places: Places
    cids: list[Cid]
    silent: list[Failure]
    """The stores that do not say what they have."""
    named: list[NamedVersion]


def _objects(ui: Ui, model: str | None, places: tuple[str, ...]) -> _Asked:
    from ml.storage.upkeep import looked_for

    opened = open_places(places)
    named = _named(ui, model) if model else []
    digests = [digest for version in named for digest in version.digests]
    cids, silent = looked_for(opened.stores, digests)
    return _Asked(opened, sorted(cids, key=str), silent, named)


def _report(ui: Ui, findings: Sequence[Finding], asked: _Asked) -> None:
    """Print what is not whole, and fail if something is lost or damaged, or cannot be known."""
    from ml.errors import NotVerified
    from ml.storage.delta_chains import described_by, needed_by
    from ml.storage.upkeep import Condition

    fine = (Condition.WHOLE, Condition.REPAIRED)
    told = [each for each in findings if each.condition is not Condition.WHOLE]
    bad = [each for each in findings if each.condition not in fine]
    describe = described_by([folder.sidecars for folder in asked.places.folders])
    needed = needed_by(asked.named, describe)
    unknown = Condition.UNKNOWN.value
    rows: list[tuple[str | None, str, str, list[str], str]] = [
        (None, str(each.store), unknown, [], str(each.error)) for each in asked.silent
    ]
    for each in told:
        names = needed.get(each.cid.digest, [])
        rows.append((str(each.cid), each.place, each.condition.value, names, each.reason))
    if rows:
        ui.table(
            ["object", "in", "", "needed by", ""],
            [
                (cid or "(all)", place, condition, ", ".join(names) or "-", reason)
                for cid, place, condition, names, reason in rows
            ],
        )
    keys = ("cid", "store", "condition", "needed_by", "reason")
    data: dict[str, object] = {
        "checked": len(findings),
        "findings": [dict(zip(keys, row, strict=True)) for row in rows],
    }
    if bad:
        raise NotVerified(
            f"{len(bad)} of {len(findings)} objects and sidecars are not whole:"
            f" {bad[0].cid} in {bad[0].place} is {bad[0].condition.value}"
            + (" first." if len(bad) > 1 else "."),
            data=data,
        )
    if asked.silent:
        raise NotVerified(f"what {asked.silent[0].store} has is {unknown}.", data=data)
    ui.note(f"{len(findings)} objects and sidecars are whole.")
    ui.result(data)
