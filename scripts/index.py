"""The event index: what it has, making it anew, and searching in it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from scripts._cli import Ui, command, command_group
from scripts._index import index_option, reading_registry, say_as_of

if TYPE_CHECKING:
    from ml.chain.index.event_index import EventIndex, Found


@command_group("ape run index search --account test:1 --event VersionRegistered")
def cli() -> None:
    """The event index of a chain: what it has, making it anew, and searching in it.

    It is made from the chain alone, and brought up to date by whatever reads it (docs/index.md).
    """


@command("ape run index status", name="status", group=cli)
@index_option
def status(ui: Ui, place: str | None) -> None:
    """Bring the index up to date, and show what is in it.

    Two indexes of the same blocks have the same digest, wherever and however they were made.
    """
    from ml.chain.index.reading import indexed_registry

    with ui.connect() as session:
        index = indexed_registry(session, place).index
        progress = index.update()
        _show(ui, index, progress.taken_back)


@command("ape run index rebuild", name="rebuild", group=cli)
@index_option
def rebuild(ui: Ui, place: str | None) -> None:
    """Forget the index, even one that cannot be read, and make it again from the chain."""
    from ml.chain.index.reading import indexed_registry

    with ui.connect() as session:
        index = indexed_registry(session, place, anew=True).index
        index.update()
        _show(ui, index, 0)


@command("ape run index search --model mnist --since 2026-11-01", name="search", group=cli)
@click.option("--model", help="Events about this model, of its roles too, and of forks of it.")
@click.option("--by", "accounts", multiple=True, metavar="ACCOUNT", help="That name an account.")
@click.option(
    "--digest",
    "digests",
    multiple=True,
    metavar="0x…",
    help="That name it: weights, commitment, leaf, …",
)
@click.option("--cid", help="Of the object of this CID.")
@click.option("--event", "names", multiple=True, help="Of this name.")
@click.option("--since", metavar="TIME", help="From then on: 2026-11-21, or seconds since 1970.")
@click.option("--until", metavar="TIME", help="Up to then.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@index_option
def search(
    ui: Ui,
    model: str | None,
    accounts: tuple[str, ...],
    digests: tuple[str, ...],
    cid: str | None,
    names: tuple[str, ...],
    since: str | None,
    until: str | None,
    limit: int,
    place: str | None,
) -> None:
    """Find events of all contracts, the latest first: those that meet everything that is said.

    What is found is what the node said when it was indexed. `history` and `log verify` hold it
    against what the contracts have on record.
    """
    from ml.chain import models
    from ml.chain.index.queries import Search
    from ml.storage.cid import Cid

    with ui.connect() as session:
        registry = reading_registry(ui, session, place)
        mentions = [_digest(text) for text in digests]
        mentions += [bytes.fromhex(session.address(name)[2:]) for name in accounts]
        if model is not None:
            mentions.append(registry.believed(lambda: models.resolve(registry, model)).id)
        if cid is not None:
            mentions.append(Cid.parse(cid).digest)
        wanted = Search(
            tuple(mentions),
            registry.index.topics_of(names),
            _seconds(since) if since else 0,
            _seconds(until, end=True) if until else None,
        )
        found, tip = registry.up_to_date(lambda index: index.find(wanted, limit))
        as_of = say_as_of(ui, tip)
        ui.table(
            ["block", "time", "event", "about", "contract"],
            [
                [each.event.block, _time(each), each.event.name, _about(ui, each), each.contract]
                for each in found
            ],
        )
        if len(found) == limit:
            ui.note(f"The latest {limit}: --limit shows more.")
        ui.result({"as_of": as_of, "events": [_as_data(each) for each in found]})


def _show(ui: Ui, index: EventIndex, taken_back: int) -> None:
    """Print what an index has."""
    found = index.status()
    as_of = say_as_of(ui, found.tip)
    ui.fields(
        {
            "index": found.place,
            "block": found.tip.number,
            "final up to block": found.final,
            "digest": ui.short(found.digest),
            **{
                f"events of {contract.name} ({ui.short(contract.text)})": f"{count:,}"
                for contract, count in found.events
            },
        }
    )
    if taken_back:
        ui.say(f"{taken_back} blocks that it had are no longer on the chain, and were taken back.")
    ui.result(
        {
            "index": found.place,
            "as_of": as_of,
            "final_block": found.final,
            "blocks_taken_back": taken_back,
            "digest": found.digest,
            "contracts": [
                {
                    "contract": contract.name,
                    "address": contract.text,
                    "first_block": contract.first_block,
                    "events": count,
                }
                for contract, count in found.events
            ],
        }
    )


def _digest(text: str) -> bytes:
    from ml.errors import ModelproofError

    try:
        digest = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise ModelproofError(f"{text} is not a digest: 0x and 64 hex digits.")
    return digest


def _seconds(text: str, *, end: bool = False) -> int:
    """A time that a user wrote; of a day, its beginning or its end (UTC)."""
    from ml.errors import ModelproofError

    if text.isdecimal():
        return int(text)
    try:
        told = datetime.fromisoformat(text)
    except ValueError as error:
        raise ModelproofError(
            f"{text} is not a time: 2026-11-21, 2026-11-21T14:00, or seconds since 1970."
        ) from error
    is_day = len(text) == len("2026-11-21")
    moment = int(told.replace(tzinfo=told.tzinfo or UTC).timestamp())
    return moment + 86_399 if end and is_day else moment


def _time(each: Found) -> str:
    from ml.chain.types import format_time

    return format_time(each.time)


def _about(ui: Ui, each: Found) -> str:
    """What an event is about, in short: what it is found by."""
    said = each.event.arguments
    parts = [
        ui.short("0x" + bytes(said[key]).hex())
        for key in ("modelId", "role", "digest", "root")
        if key in said
    ]
    if "version" in said:
        parts.insert(1, f"v{said['version']}")
    return " ".join(parts)


def _as_data(each: Found) -> dict[str, object]:
    event = each.event
    return {
        "event": event.name,
        "contract": each.contract,
        "block": event.block,
        "time": each.time,
        "transaction": event.transaction,
        "log_index": event.log_index,
        "arguments": event.arguments,
    }
