"""The tables of the journal, and what their rows mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ml.chain.outbox.entry import Attempt, BlockId, Call, Entry, Inclusion, State

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
