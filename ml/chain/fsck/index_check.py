"""An index against the chain: every row of it against an index that is made anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

from sqlalchemy import Connection, Table, select

from ml.chain.fsck.disagreement import Disagreement, Place
from ml.chain.index import tables
from ml.chain.index.event_index import EventIndex
from ml.chain.index.following import tip_of
from ml.errors import ModelproofError, NotVerified

_MOST_READINGS: Final = 5
_KINDS: Final = {
    (True, False): ("row that the chain does not have", "the chain has nothing there"),
    (False, True): ("missing row", "the chain has it and the index does not"),
    (True, True): ("wrong row", "the chain has something else there"),
}


def check_index(index: EventIndex) -> list[Disagreement]:
    """Bring an index up to date, and hold every row against one that is made anew, in memory.

    Raises:
        IndexUnusable: it cannot be read.
        ModelproofError: the chain changes faster than it can be read.
    """
    try:
        index.update()  # from then on it knows what contracts are in it
        with closing(index.beside()) as fresh:
            for _ in range(_MOST_READINGS):
                if index.update().tip == fresh.update().tip:
                    found = _differences(index, fresh)
                    if found is not None:
                        return found
    except NotVerified as error:
        reason = str(error).rstrip(".")
        return [Disagreement(Place.INDEX, "cannot follow the chain", str(index), reason)]
    raise ModelproofError("the chain changes faster than it can be compared with: try again.")


def _differences(index: EventIndex, fresh: EventIndex) -> list[Disagreement] | None:
    """The rows that differ; None if somebody changed the index since both were of one block."""
    with index.database.reading() as ours, fresh.database.reading() as theirs:
        if tip_of(ours) != tip_of(theirs):
            return None
        if tables.content_digest(ours) == tables.content_digest(theirs):
            return []
        return [
            one
            for table in tables.metadata.sorted_tables
            if table is not tables.state
            for one in _rows_that_differ(table, ours, theirs)
        ]


def _rows_that_differ(table: Table, ours: Connection, theirs: Connection) -> Iterator[Disagreement]:
    mine, right = _rows(table, ours), _rows(table, theirs)
    for key in sorted({*mine, *right}):
        if mine.get(key) != right.get(key):
            what, why = _KINDS[key in mine, key in right]
            yield Disagreement(Place.INDEX, what, f"{table.name}: {_named(table, key)}", why)


def _rows(table: Table, connection: Connection) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """The rows of a table, by their keys."""
    key = [list(table.columns).index(column) for column in table.primary_key.columns]
    rows = (tuple(row) for row in connection.execute(select(table)))
    return {tuple(row[place] for place in key): row for row in rows}


def _named(table: Table, key: tuple[Any, ...]) -> str:
    columns = (column.name for column in table.primary_key.columns)
    parts = zip(columns, key, strict=True)
    return ", ".join(f"{name} {_plain(value)}" for name, value in parts)


def _plain(value: Any) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
