"""The tables of the journal, and what their rows mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ml.chain.outbox.entry import OPEN, Attempt, BlockId, Call, Entry, Inclusion, State, key_of

FORMAT: Final = 1

SCHEMA: Final = f"""
CREATE TABLE chain (
    id INTEGER NOT NULL,
    genesis TEXT NOT NULL
) STRICT;

CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE CHECK (length(key) = 32),
    operation BLOB NOT NULL CHECK (length(operation) = 32),
    occurrence INTEGER NOT NULL CHECK (occurrence >= 0),
    sender TEXT NOT NULL,
    recipient TEXT NOT NULL,
    value TEXT NOT NULL,
    data BLOB NOT NULL,
    label TEXT NOT NULL,
    payload BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ({", ".join(f"'{state}'" for state in State)})),
    nonce INTEGER NOT NULL CHECK (nonce >= 0),
    mined_hash TEXT,
    block INTEGER,
    block_hash TEXT,
    gas_used INTEGER,
    succeeded INTEGER,
    reverted_with BLOB NOT NULL DEFAULT x'',
    failure TEXT NOT NULL DEFAULT '',
    reported INTEGER NOT NULL DEFAULT 0 CHECK (reported IN (0, 1)),
    created TEXT NOT NULL,
    changed TEXT NOT NULL,
    UNIQUE (operation, occurrence),
    CHECK ((mined_hash IS NULL) = (block IS NULL)),
    CHECK (state NOT IN ('mined', 'final') OR (block IS NOT NULL AND succeeded = 1))
) STRICT;

CREATE INDEX entries_by_state ON entries (sender, state, nonce);

CREATE TABLE attempts (
    entry INTEGER NOT NULL REFERENCES entries (id),
    number INTEGER NOT NULL CHECK (number >= 0),
    hash TEXT NOT NULL,
    raw BLOB NOT NULL,
    nonce INTEGER NOT NULL CHECK (nonce >= 0),
    gas INTEGER NOT NULL,
    max_fee INTEGER NOT NULL,
    priority_fee INTEGER NOT NULL,
    signed TEXT NOT NULL,
    PRIMARY KEY (entry, number)
) STRICT;

PRAGMA user_version = {FORMAT};
"""

INDEXES: Final = """
CREATE INDEX IF NOT EXISTS entries_by_block ON entries (state, block);
"""
"""What files have since later than the rest of their format."""

_HIGHEST: Final = ", ".join(
    f"coalesce((SELECT max(block) FROM entries WHERE state = '{state}'), -1)"  # noqa: S608 (ours)
    for state in (State.MINED, State.FINAL, State.REFUSED)
)
_IN_NONE: Final = ", ".join(f"'{state}'" for state in OPEN)
TO_RESTORE: Final = (
    f"state = '{State.MINED}' OR (state IN ({_IN_NONE}) AND failure <> '')"
    f" OR (state = '{State.REFUSED}' AND block > max({_HIGHEST}) - ?)"
)
"""Which entries are in blocks that may go, and which are held; takes the depth from which on none
goes. For each state by itself, so that what is final, which is the most, is not read."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call with the first transaction that was signed for it, to be written down."""

    call: Call
    attempt: Attempt
    payload: bytes = b""
    for_nobody: bool = False
    """Nobody waits for its result."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What has to be known of an entry to see whether the chain still has it."""

    id: int
    state: State
    place: BlockId | None
    """The block that it is in."""

    @property
    def is_held(self) -> bool:
        """Whether it is in none, and not sent for now."""
        return self.place is None


def attempt_of(row: sqlite3.Row) -> Attempt:
    """A signed transaction, from its row."""
    return Attempt(
        hash=row["hash"],
        raw=row["raw"],
        nonce=row["nonce"],
        gas=row["gas"],
        max_fee=row["max_fee"],
        priority_fee=row["priority_fee"],
    )


def entry_of(row: sqlite3.Row, attempts: Sequence[Attempt]) -> Entry:
    """An entry, from its row and its signed transactions."""
    mined = row["mined_hash"] is not None
    return Entry(
        id=row["id"],
        key=row["key"],
        call=Call(row["sender"], row["recipient"], row["data"], int(row["value"]), row["label"]),
        occurrence=row["occurrence"],
        state=State(row["state"]),
        nonce=row["nonce"],
        attempts=tuple(attempts),
        payload=row["payload"],
        inclusion=Inclusion(
            row["mined_hash"],
            row["block"],
            row["block_hash"],
            row["gas_used"],
            bool(row["succeeded"]),
        )
        if mined
        else None,
        reverted_with=row["reverted_with"],
        failure=row["failure"],
        reported=bool(row["reported"]),
        created=row["created"],
        changed=row["changed"],
    )


def insert(database: sqlite3.Connection, chain_id: int, one: Prepared) -> int:
    """Add an entry with its first transaction; returns its number."""
    operation = one.call.operation(chain_id)
    (before,) = database.execute(
        "SELECT count(*) FROM entries WHERE operation = ?", (operation,)
    ).fetchone()
    at = now()
    done = database.execute(
        "INSERT INTO entries (key, operation, occurrence, sender, recipient, value, data,"
        " label, payload, state, nonce, reported, created, changed)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key_of(operation, before),
            operation,
            before,
            one.call.sender,
            one.call.to,
            str(one.call.value),
            one.call.data,
            one.call.label,
            one.payload,
            State.PREPARED,
            one.attempt.nonce,
            int(one.for_nobody),
            at,
            at,
        ),
    )
    number = int(done.lastrowid or 0)
    insert_attempt(database, number, 0, one.attempt)
    return number


def insert_attempt(database: sqlite3.Connection, entry: int, number: int, attempt: Attempt) -> None:
    """Add a signed transaction of an entry."""
    database.execute(
        "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            entry,
            number,
            attempt.hash,
            attempt.raw,
            attempt.nonce,
            attempt.gas,
            attempt.max_fee,
            attempt.priority_fee,
            now(),
        ),
    )


def readable(path: Path) -> str:
    """What to open where nothing can be written, not even what SQLite keeps beside the file.

    Without a log beside it, the file is all there is.
    """
    log = path.with_name(f"{path.name}-wal")
    is_whole = not log.exists() or not log.stat().st_size
    return f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if is_whole else ''}"


def now() -> str:
    """In UTC (ISO 8601)."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
