"""What is asked of an index; each answer is of the one moment that the connection sees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, func, select

from ml.chain.index import tables
from ml.chain.logs import Topics
from ml.errors import ModelproofError, NotVerified

_events = tables.events.c
_SMALLEST_PAGE: Final = 16
_LARGEST_PAGE: Final = 2_048


@dataclass(frozen=True, slots=True)
class Search:
    """What events have to have to be found; what is not said may be anything."""

    mentions: tuple[bytes, ...] = ()
    """Addresses (20 bytes), ids and digests (32 bytes), all of which an event has to name."""
    topics: tuple[bytes, ...] = ()
    """One of these first topics."""
    since: int = 0
    """Of its block, in seconds since 1970."""
    until: int | None = None
    """Likewise, the last second."""


class Ancestor(NamedTuple):
    """A version on the way back to where its model, and what that was forked from, began."""

    model: bytes
    number: int
    parent: int
    weights: bytes
    block: int


def matching(connection: Connection, contract: bytes, topics: Topics) -> Sequence[Row[Any]]:
    """The events of a contract that match a filter, oldest first."""
    asked: list[ColumnElement[bool]] = [_events.contract == contract]
    for number, topic in enumerate(topics):
        if topic is not None:
            asked.append(_events[f"topic{number}"] == bytes.fromhex(topic[2:]))
    query = select(tables.events).where(*asked).order_by(_events.block, _events.log_index)
    return connection.execute(query).all()


def found(connection: Connection, search: Search, limit: int | None = None) -> list[Row[Any]]:
    """The events that a search finds, with the time of their block, the latest first."""
    blocks = tables.blocks.c
    query = select(tables.events, blocks.time).join(tables.blocks, blocks.number == _events.block)
    place: list[ColumnElement[int]] = [_events.block, _events.log_index]
    for number, value in enumerate(search.mentions):
        one = tables.mentions.alias()
        if number == 0:  # whose rows are in this order
            place = [one.c.block, one.c.log_index]
        query = query.join(
            one, (one.c.block == _events.block) & (one.c.log_index == _events.log_index)
        ).where(one.c.value == value)
    if search.topics:
        query = query.where(_events.topic0.in_(search.topics))
    if search.since:
        query = query.where(blocks.time >= search.since)
    if search.until is not None:
        query = query.where(blocks.time <= search.until)
    query = query.order_by(*(column.desc() for column in place)).limit(limit)
    return list(connection.execute(query))


def lineage(connection: Connection, contract: bytes, model: bytes, number: int) -> list[Ancestor]:
    """A version, its parent, the parent's parent and so on; where a fork begins, its origin's.

    Raises:
        ModelproofError: a version is not in the index.
        NotVerified: a model is a fork of itself, which no contract allows.
    """
    line: list[Ancestor] = []
    passed = set()
    while number:
        if model in passed:
            raise NotVerified("what the node said of forks runs in a circle: ask another node.")
        passed.add(model)
        steps = _line(connection, contract, model, number)
        if not steps or steps[-1].parent:
            gone = steps[-1].parent if steps else number
            raise ModelproofError(f"the index has no version {gone} of model 0x{model.hex()}.")
        line += steps
        model, number = _origin(connection, contract, model)
    return line


def _line(connection: Connection, contract: bytes, model: bytes, number: int) -> list[Ancestor]:
    """A version and its ancestors within a model; the last one has no parent in the index.

    Page by page: on a line without gaps most rows are on it, which a recursive query would look up
    one by one.
    """
    versions = tables.versions.c
    query = select(versions.number, versions.parent, versions.weights, versions.block)
    of_model = query.where(versions.contract == contract, versions.model == model)
    newest_first = of_model.order_by(versions.number.desc())
    line: list[Ancestor] = []
    size = _SMALLEST_PAGE
    while number:
        page = newest_first.where(versions.number <= number).limit(size)
        before, seen = len(line), 0
        for row in connection.execute(page).all():
            seen += 1
            if row[0] == number > row[1]:
                line.append(Ancestor(model, *row))
                number = row[1]
        if len(line) == before:
            break
        size = min(2 * size, _LARGEST_PAGE) if len(line) - before == seen else _SMALLEST_PAGE
    return line


def _origin(connection: Connection, contract: bytes, model: bytes) -> tuple[bytes, int]:
    models = tables.models.c
    row = connection.execute(
        select(models.origin_model, models.origin_version).where(
            models.contract == contract, models.model == model
        )
    ).first()
    return (row.origin_model, row.origin_version) if row and row.origin_model else (b"", 0)


def counts(connection: Connection, contracts: Iterable[bytes]) -> Mapping[bytes, int]:
    """How many events of each contract there are."""
    query = select(_events.contract, func.count()).group_by(_events.contract)
    counted = {row[0]: int(row[1]) for row in connection.execute(query)}
    return {contract: counted.get(contract, 0) for contract in contracts}
