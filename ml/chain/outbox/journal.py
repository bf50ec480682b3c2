"""The journal: one SQLite file per chain, in which every transaction stands before it is sent.

Every change is in the file before what follows from it is done, so that a process that is killed
leaves behind what another one goes on from. What only the journal knows is on the disk by then, too
(``synchronous=FULL``, in a write-ahead log); what the chain would tell again after a power cut goes
there with it, or later. Several processes may use one file.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ml.chain.outbox.entry import OPEN, Attempt, Entry, Inclusion, State
from ml.chain.outbox.journal_tables import (
    FORMAT,
    INDEXES,
    SCHEMA,
    TO_RESTORE,
    Kept,
    Prepared,
    attempt_of,
    entry_of,
    insert,
    insert_attempt,
    now,
    readable,
)
from ml.errors import ModelproofError

_BUSY_TIMEOUT_S: Final = 60.0
_IN_MEMORY: Final = ":memory:"
_ON_DISK: Final = "FULL"
_TOLD_AGAIN: Final = "NORMAL"
"""For what the chain would tell again: where a transaction is, and that a node has it."""
_AT_ONCE: Final = 500
"""Entries that one statement asks for by their numbers."""


class JournalError(ModelproofError):
    """The journal cannot be read or written: nothing is sent then."""


class Journal:
    """The journal of one chain; close it after use. Any number of threads may use it.

    Processes that may be the first to open it do so one at a time (`opening`).

    Args:
        path: its file, made if missing; None for one in memory, which ends with it.
        chain_id: of the chain (EIP-155)
        genesis: the hash of the chain's block 0, 0x and hex
        is_read_only: whether nothing is to be written, where nothing can be

    Raises:
        JournalError: it cannot be opened, or is of another chain or another version.
    """

    def __init__(
        self, path: Path | None, chain_id: int, genesis: str, *, is_read_only: bool = False
    ) -> None:
        self.path = path
        self._chain_id = chain_id
        self._lock = threading.RLock()
        self._synchronous = _ON_DISK
        with self._failing_clearly():
            if path is not None and not is_read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                readable(path) if path and is_read_only else path or _IN_MEMORY,
                timeout=_BUSY_TIMEOUT_S,
                isolation_level=None,  # transactions begin and end where this says so
                check_same_thread=False,
                uri=is_read_only,
            )
            try:
                self._database.row_factory = sqlite3.Row
                if not is_read_only:
                    self._make(chain_id, genesis)
                self._check(chain_id, genesis)
            except BaseException:
                self._database.close()
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    # Writing

    def add(self, prepared: Sequence[Prepared], reported: Iterable[int] = ()) -> list[Entry]:
        """Write new entries down, all or none, and that the results of others have arrived."""
        with self._writing():
            for number in reported:
                self._update(number, "reported = 1")
            numbers = [insert(self._database, self._chain_id, one) for one in prepared]
        return self.again(numbers)

    def replace(self, entry: Entry, instead: Prepared, why: str) -> Entry:
        """Drop an entry and write down what takes its place, both or neither; return the latter."""
        with self._writing():
            number = insert(self._database, self._chain_id, instead)
            self._update(entry.id, "state = ?, failure = ?", State.DROPPED, why)
        return self.entry(number)

    def add_attempt(self, entry: Entry, attempt: Attempt) -> Entry:
        """Write another signed transaction of an entry down; its nonce is the entry's from now."""
        with self._writing():
            insert_attempt(self._database, entry.id, len(entry.attempts), attempt)
            self._update(entry.id, "nonce = ?", attempt.nonce)
        return self.entry(entry.id)

    def mark_sent(self, entries: Iterable[Entry]) -> None:
        """Nodes have these, and no block that is known of."""
        self._take_out(entries, "")

    def mark_removed(self, entries: Iterable[Entry], why: str) -> None:
        """The blocks of these are gone; they are held until they are sent again."""
        self._take_out(entries, why)

    def hold(self, entry: Entry, why: str, reverted: bytes = b"") -> None:
        """An entry is not sent for now; nothing is noted of one that is in a block meanwhile."""
        with self._writing():
            self._database.execute(
                "UPDATE entries SET failure = ?, reverted_with = ?, changed = ?"
                " WHERE id = ? AND state IN (?, ?)",
                (why, reverted, now(), entry.id, *OPEN),
            )

    def include(self, entry: Entry, state: State, found: Inclusion, reverted: bytes = b"") -> Entry:
        """An entry is in a block: mined, final, or refused there."""
        self.include_all([(entry, state, found, reverted)])
        return self.entry(entry.id)

    def include_all(self, noted: Iterable[tuple[Entry, State, Inclusion, bytes]]) -> None:
        """The same of many entries, in one step."""
        noted = list(noted)
        if not noted:
            return
        with self._writing(_TOLD_AGAIN):
            for entry, state, found, reverted in noted:
                self._update(
                    entry.id,
                    "state = ?, mined_hash = ?, block = ?, block_hash = ?, gas_used = ?,"
                    " succeeded = ?, reverted_with = ?, nonce = ?, failure = ''",
                    state,
                    found.transaction,
                    found.block,
                    found.block_hash,
                    found.gas_used,
                    int(found.succeeded),
                    reverted,
                    _nonce_of(entry, found),
                )

    def give_up(self, entry: Entry, state: State, failure: str, reverted: bytes = b"") -> Entry:
        """An entry is refused or dropped without being in a block."""
        with self._writing():
            self._update(
                entry.id, "state = ?, failure = ?, reverted_with = ?", state, failure, reverted
            )
        return self.entry(entry.id)

    def report(self, entries: Iterable[int]) -> None:
        """The results of these have reached whoever asked for them."""
        with self._writing():
            for number in entries:
                self._update(number, "reported = 1")

    # Reading

    def entry(self, number: int) -> Entry:
        """One entry, by its number.

        Raises:
            JournalError: there is none.
        """
        found = self._entries("id = ?", number)
        if not found:
            raise JournalError(f"the journal {self._where} has no entry {number}.")
        return found[0]

    def again(self, numbers: Sequence[int]) -> list[Entry]:
        """Entries as they stand now, in the order of these numbers.

        Raises:
            JournalError: one of them is not there.
        """
        found: dict[int, Entry] = {}
        for start in range(0, len(numbers), _AT_ONCE):
            some = numbers[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            found |= {one.id: one for one in self._entries(f"id IN ({marks})", *some)}
        return [found.get(number) or self.entry(number) for number in numbers]

    def entries(self, sender: str | None = None, states: Sequence[State] = ()) -> list[Entry]:
        """The entries of a sender and in these states, of all and in any without; oldest first."""
        conditions, values = ["1"], list[str]()
        if sender is not None:
            conditions.append("sender = ?")
            values.append(sender)
        if states:
            conditions.append(f"state IN ({', '.join('?' * len(states))})")
            values += states
        return self._entries(" AND ".join(conditions), *values)

    def unreported_of(self, operation: bytes) -> list[Entry]:
        """What does this and was done, or begun, since its result was last told; oldest first."""
        return self._entries(
            "operation = ?1 AND occurrence > (SELECT coalesce(max(occurrence), -1) FROM entries"
            " WHERE operation = ?1 AND reported = 1)",
            operation,
        )

    def kept(self, depth: int) -> list[Kept]:
        """The same as `to_restore`, in short."""
        with self._lock, self._failing_clearly():
            rows = self._database.execute(
                f"SELECT id, state, block, block_hash FROM entries WHERE {TO_RESTORE}",  # noqa: S608
                (depth,),
            ).fetchall()
        return [
            Kept(number, State(state), None if block is None else (block, block_hash))
            for number, state, block, block_hash in rows
        ]

    def to_restore(self, depth: int) -> list[Entry]:
        """What is in blocks that may go, and what is held; oldest first.

        Args:
            depth: so many blocks below the last one that is known of, none is undone
        """
        return self._entries(TO_RESTORE, depth)

    def last_nonce(self, sender: str) -> int:
        """The highest that a sender has a use for, -1 if none; what is held has none for now."""
        with self._lock, self._failing_clearly():
            (nonce,) = self._database.execute(
                "SELECT coalesce(max(nonce), -1) FROM entries WHERE sender = ?"
                " AND state IN (?, ?, ?) AND (state = ? OR failure = '')",
                (sender, *OPEN, State.MINED, State.MINED),
            ).fetchone()
        return int(nonce)

    def unreported(self, sender: str, recipient: str) -> list[Entry]:
        """What a sender has under way, or done, of which nobody knows yet; oldest first."""
        states = (State.PREPARED, State.SENT, State.MINED, State.FINAL)
        found = self.entries(sender, states)
        return [one for one in found if not one.reported and one.call.to == recipient]

    # SQL

    def _take_out(self, entries: Iterable[Entry], why: str) -> None:
        entries = list(entries)
        if not entries:
            return
        with self._writing(_TOLD_AGAIN):
            for entry in entries:
                self._update(
                    entry.id,
                    "state = ?, mined_hash = NULL, block = NULL, block_hash = NULL,"
                    " gas_used = NULL, succeeded = NULL, reverted_with = x'', failure = ?",
                    State.SENT,
                    why,
                )

    def _entries(self, condition: str, *values: object) -> list[Entry]:
        with self._lock, self._failing_clearly():
            rows = self._database.execute(
                f"SELECT * FROM entries WHERE {condition} ORDER BY id",  # noqa: S608 (ours)
                values,
            ).fetchall()
            if not rows:
                return []
            attempts: dict[int, list[Attempt]] = {row["id"]: [] for row in rows}
            for row in self._database.execute(
                "SELECT * FROM attempts WHERE entry IN"  # noqa: S608 (ours)
                f" (SELECT id FROM entries WHERE {condition}) ORDER BY entry, number",
                values,
            ):
                if row["entry"] in attempts:  # else it was added in between
                    attempts[row["entry"]].append(attempt_of(row))
        return [entry_of(row, attempts[row["id"]]) for row in rows]

    def _update(self, entry: int, changes: str, *values: object) -> None:
        self._database.execute(
            f"UPDATE entries SET {changes}, changed = ? WHERE id = ?",  # noqa: S608 (ours)
            (*values, now(), entry),
        )

    # The file

    def _make(self, chain_id: int, genesis: str) -> None:
        for pragma in ("journal_mode = WAL", f"synchronous = {_ON_DISK}", "foreign_keys = ON"):
            self._database.execute(f"PRAGMA {pragma}").fetchall()
        if self._version() == 0:
            chain = f"INSERT INTO chain VALUES ({chain_id}, '{_hex(genesis)}');"  # noqa: S608
            self._database.executescript(f"BEGIN IMMEDIATE; {SCHEMA} {chain} COMMIT;")
        if self._version() == FORMAT:
            self._database.executescript(INDEXES)

    def _check(self, chain_id: int, genesis: str) -> None:
        if self._version() != FORMAT:
            raise JournalError(
                f"the journal {self._where} has format {self._version()}, and this version of the"
                f" project reads format {FORMAT}: use the version that wrote it."
            )
        of = tuple(self._database.execute("SELECT id, genesis FROM chain").fetchone())
        if of != (chain_id, genesis):
            raise JournalError(
                f"the journal {self._where} is of chain {of[0]} that began with block"
                f" {of[1][:10]}…, and this is chain {chain_id}, which began with {genesis[:10]}…:"
                " move the journal away, or connect to its chain."
            )

    def _version(self) -> int:
        return int(self._database.execute("PRAGMA user_version").fetchone()[0])

    @property
    def _where(self) -> str:
        return str(self.path or "in memory")

    @contextmanager
    def _writing(self, synchronous: str = _ON_DISK) -> Iterator[None]:
        """One transaction: in the file when the block ends, or undone if it raises.

        Args:
            synchronous: whether it is on the disk then, as SQLite writes it
        """
        with self._lock, self._failing_clearly():
            if synchronous != self._synchronous:
                self._database.execute(f"PRAGMA synchronous = {synchronous}")
                self._synchronous = synchronous
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _failing_clearly(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise JournalError(
                f"the journal {self._where} cannot be used ({error}): what it does not hold is not"
                " sent; see to the disk, the folder's rights, or MODELPROOF_OUTBOX."
            ) from error


def _hex(digest: str) -> str:
    """A digest as it may stand within a statement."""
    return "0x" + bytes.fromhex(digest.removeprefix("0x")).hex()


def _nonce_of(entry: Entry, found: Inclusion) -> int:
    return next(one.nonce for one in entry.attempts if one.hash == found.transaction)
