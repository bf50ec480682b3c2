"""Following a chain: portion by portion, back to where another branch began, and on from there.

A portion is read between two looks at its last block, whose hash commits to all blocks before it;
it joins what is indexed by the hash of its first block's parent; and it is written in one
transaction, if what is indexed is still what it was read to follow. So the index is always that of
one chain up to one block, wherever a process was killed and however many write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from ml.chain.index import tables
from ml.chain.index.blocks import BlockSource, Header, Log, Moved, hash_bytes
from ml.chain.index.database import Database
from ml.chain.index.rows import Followed, Rows, rows_of
from ml.chain.logs import BLOCKS_PER_CALL
from ml.chain.outbox.settings import FINAL_DEPTH
from ml.errors import ModelproofError, NotVerified

MOST_READINGS: Final = 5
"""Of what changes all the while."""
_FIRST_SPAN: Final = 100
_MANY_EVENTS: Final = 5_000
"""In one portion: the next one is made smaller."""
_ROWS_PER_INSERT: Final = 5_000


@dataclass(frozen=True, slots=True)
class Progress:
    """What bringing an index up to date came to."""

    tip: Header
    """The last block that is indexed."""
    blocks: int = 0
    """How many more than before, or than after going back."""
    taken_back: int = 0
    """How many indexed blocks turned out to be of another branch."""


class Follower:
    """Brings an index up to the last block of a chain."""

    def __init__(
        self,
        database: Database,
        source: BlockSource,
        contracts: Sequence[Followed],
        finality: int = FINAL_DEPTH,
    ) -> None:
        """Prepare; nothing is read.

        Args:
            database: the index
            source: the chain
            contracts: whose events are indexed
            finality: for how many of the last blocks a header is kept
        """
        self._database = database
        self._source = source
        self._contracts = {contract.address: contract for contract in contracts}
        self._finality = finality
        self._span = _FIRST_SPAN

    @property
    def contracts(self) -> Mapping[bytes, Followed]:
        """The contracts that are indexed, by their addresses."""
        return self._contracts

    def update(self) -> Progress:
        """Go on to what is the last block now.

        Raises:
            NotVerified: the node tells what cannot be.
            ModelproofError: the chain changes faster than it can be read, or the node refuses.
        """
        taken_back = attempts = 0
        before: Header | None = None
        while attempts < MOST_READINGS:
            tip = self._agree_on_contracts()
            attempts = attempts + 1 if tip == before else 1  # others may get on with it meanwhile
            before = tip
            try:
                head = self._source.latest()
                if tip is not None and tip != head:
                    ancestor = self._go_back(tip)
                    taken_back += tip.number - ancestor.number if ancestor else tip.number
                    tip = ancestor
                blocks = self._go_on(tip, head)
                self._complete(head)
            except Moved:
                continue
            return Progress(head, blocks, taken_back)
        raise ModelproofError(
            f"the chain, or its index, changed {MOST_READINGS} times while it was read: try again,"
            " or ask another node."
        )

    def _agree_on_contracts(self) -> Header | None:
        """Follow what others follow in this index too, and let them follow what is ours."""
        with self._database.reading() as connection:
            listed, tip = _listed(connection), tip_of(connection)
        if any(address not in listed for address in self._contracts):
            with self._database.writing() as connection:
                _add_contracts(connection, self._contracts.values())
                listed, tip = _listed(connection), tip_of(connection)
        abis = {contract.name: contract.abis for contract in self._contracts.values()}
        for address, (name, first_block) in listed.items():
            if name not in abis:
                raise ModelproofError(
                    f"the index has a {name}, which is not known here: update this program."
                )
            self._contracts[address] = Followed(name, address, first_block, abis[name])
        return tip

    @property
    def _start(self) -> int:
        return min(contract.first_block for contract in self._contracts.values())

    # Going back

    def _go_back(self, tip: Header) -> Header | None:
        """Leave what is not of the node's chain; return what is the last block then."""
        if self._source.header(tip.number) == tip:
            return tip
        ancestor = self._common_ancestor(tip)
        with self._database.writing() as connection:
            if tip_of(connection) != tip:
                raise Moved
            take_back(connection, ancestor.number if ancestor else -1)
        return ancestor

    def _common_ancestor(self, tip: Header) -> Header | None:
        """The highest indexed block that is one of the node's."""
        highest, at_once = tip.number - 1, 1
        while True:
            with self._database.reading() as connection:
                stored = _stored(connection, highest, at_once)
            if not stored:
                return None
            theirs = self._source.headers([block.number for block in stored])
            for ours, found in zip(stored, theirs, strict=True):
                if ours == found:
                    return ours
            highest, at_once = stored[-1].number - 1, min(2 * at_once, 100)

    # Going on

    def _go_on(self, base: Header | None, head: Header) -> int:
        """Index what follows a block; return how many blocks that were."""
        first = begun = base.number + 1 if base else self._start
        if base is None and first > head.number:
            raise ModelproofError(
                f"the node's chain ends at block {head.number}, before the contracts were created:"
                " it is behind, or of another chain."
            )
        while first <= head.number:
            last = min(first + self._span - 1, head.number)
            portion = self._portion(base, first, last, head)
            if portion is None:
                continue
            headers, rows = portion
            with self._database.writing() as connection:
                if (
                    tip_of(connection) != base
                    or _listed(connection).keys() != self._contracts.keys()
                ):
                    raise Moved
                _write(connection, headers, rows)
                _forget_headers(connection, first - 1 - self._finality, last - self._finality)
            base, first = headers[-1], last + 1
        if base != head:
            raise Moved
        return head.number + 1 - begun

    def _portion(
        self, base: Header | None, first: int, last: int, head: Header
    ) -> tuple[list[Header], Rows] | None:
        """The blocks and rows from one block to another; None if these are too many at once."""
        before = self._source.headers([first, last])
        if base is not None and (before[0] is None or before[0].parent != base.hash):
            raise Moved
        addresses = [contract.text for contract in self._contracts.values()]
        logs = self._source.logs(addresses, first, last)
        if logs is None:
            self._span = max(1, (last - first + 1) // 2)
            return None
        window = range(max(first, head.number - self._finality + 1), last + 1)
        named = {int(log["blockNumber"], 16) for log in logs}
        numbers = sorted({*named, *window, last})
        headers = self._linked(numbers)
        if before[1] != headers[-1] or self._source.header(last) != headers[-1]:
            raise Moved
        _check_blocks(logs, headers)
        self._adapt(len(logs))
        return headers, rows_of(logs, self._contracts.values())

    def _adapt(self, found: int) -> None:
        """Ask for fewer blocks where many events are, and for more where few are."""
        if found > _MANY_EVENTS:
            self._span = max(1, self._span // 2)
        elif found < _MANY_EVENTS // 4:
            self._span = min(2 * self._span, BLOCKS_PER_CALL)

    def _linked(self, numbers: Sequence[int]) -> list[Header]:
        """The blocks of these numbers, in order, each the parent of the next where it has to be."""
        found = []
        for header in self._source.headers(numbers):
            if header is None:
                raise Moved
            found.append(header)
        _check_links(found)
        return found

    def _complete(self, tip: Header) -> None:
        """Have the header of each of the last blocks: a shorter chain goes back to older ones."""
        lowest = max(self._start, tip.number - self._finality + 1)
        wanted = range(lowest, tip.number + 1)
        with self._database.reading() as connection:
            have = _from(connection, lowest)
        if have.keys() >= {*wanted}:
            return
        found = {block.number: block for block in self._linked(sorted({*wanted} - have.keys()))}
        with self._database.writing() as connection:
            have = _from(
                connection, lowest
            )  # others may have completed it, or gone back, meanwhile
            missing = {*wanted} - have.keys()
            if tip_of(connection) != tip or missing - found.keys():
                raise Moved
            _check_links([(have.get(number) or found[number]) for number in wanted])
            _insert(connection, tables.blocks, [_values(found[n]) for n in sorted(missing)])


def _check_links(headers: Sequence[Header]) -> None:
    """Check that of two blocks in a row the first is the second's parent."""
    for one, next_one in pairwise(headers):
        if one.number + 1 == next_one.number and one.hash != next_one.parent:
            raise Moved


def _check_blocks(logs: Sequence[Log], headers: Sequence[Header]) -> None:
    """Check that logs are in the blocks that the node says they are in."""
    hashes = {header.number: header.hash for header in headers}
    if any(hash_bytes(log["blockHash"]) != hashes[int(log["blockNumber"], 16)] for log in logs):
        raise Moved


# --- The tables -----------------------------------------------------------------------------------


def tip_of(connection: Connection) -> Header | None:
    """The last block that is indexed."""
    found = _stored(connection, None, limit=1)
    return found[0] if found else None


def take_back(connection: Connection, last: int) -> None:
    """Forget all blocks after the one of a number, and what happened in them."""
    for table, block in tables.FROM_BLOCKS:
        connection.execute(delete(table).where(block > last))


def _stored(connection: Connection, highest: int | None, limit: int = 100) -> list[Header]:
    """The last blocks that are indexed up to one of a number, in descending order."""
    blocks = tables.blocks
    query = select(blocks).order_by(blocks.c.number.desc()).limit(limit)
    if highest is not None:
        query = query.where(blocks.c.number <= highest)
    return [Header(*row) for row in connection.execute(query)]


def _from(connection: Connection, lowest: int) -> dict[int, Header]:
    """The blocks that are indexed from one of a number on, by their numbers."""
    blocks = tables.blocks
    rows = connection.execute(select(blocks).where(blocks.c.number >= lowest))
    return {header.number: header for header in (Header(*row) for row in rows)}


def _listed(connection: Connection) -> dict[bytes, tuple[str, int]]:
    """The contracts that are indexed: name and first block, by address."""
    rows = connection.execute(select(tables.contracts))
    return {row.address: (row.name, row.first_block) for row in rows}


def _add_contracts(connection: Connection, fresh: Iterable[Followed]) -> None:
    """Follow more contracts: from before the first one's creation on, it is all read again."""
    listed = _listed(connection)
    unknown = [contract for contract in fresh if contract.address not in listed]
    if not unknown:
        return
    take_back(connection, min(contract.first_block for contract in unknown) - 1)
    rows = [
        {"address": one.address, "name": one.name, "first_block": one.first_block}
        for one in unknown
    ]
    _insert(connection, tables.contracts, rows)


def _write(connection: Connection, headers: Sequence[Header], rows: Rows) -> None:
    """Append blocks and what happened in them.

    Raises:
        NotVerified: something happened twice that can happen only once.
    """
    try:
        _insert(connection, tables.blocks, [_values(header) for header in headers])
        _insert(connection, tables.events, rows.events)
        _insert(connection, tables.mentions, rows.mentions)
        _insert(connection, tables.models, rows.models)
        _insert(connection, tables.versions, rows.versions)
    except IntegrityError as error:
        raise NotVerified(
            "the node says that a model was created, or a version registered, twice: ask another"
            " node."
        ) from error


def _insert(connection: Connection, table: Any, rows: Sequence[dict[str, Any]]) -> None:
    for start in range(0, len(rows), _ROWS_PER_INSERT):
        connection.execute(insert(table), rows[start : start + _ROWS_PER_INSERT])


def _forget_headers(connection: Connection, after: int, last: int) -> None:
    """Drop the headers of old blocks in which nothing happened; up to ``after`` none is left."""
    blocks, events = tables.blocks, tables.events
    old = (blocks.c.number > after) & (blocks.c.number <= last)
    eventful = select(events.c.block).where(events.c.block == blocks.c.number).exists()
    connection.execute(delete(blocks).where(old, ~eventful))


def _values(header: Header) -> dict[str, Any]:
    return {
        "number": header.number,
        "hash": header.hash,
        "parent": header.parent,
        "time": header.time,
    }
