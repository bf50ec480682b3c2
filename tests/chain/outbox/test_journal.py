"""The journal: on the disk before anything follows, and of one chain alone."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ml.chain.outbox.entry import Attempt, Call, Inclusion, State, key_of
from ml.chain.outbox.journal import Journal, JournalError
from ml.chain.outbox.journal_tables import TO_RESTORE, Prepared

GENESIS = "0x" + "11" * 32
SENDER, CONTRACT = "0x" + "22" * 20, "0x" + "33" * 20
CALL = Call(SENDER, CONTRACT, b"\x01\x02", 2**200, "Contract.function")
ATTEMPT = Attempt("0x" + "44" * 32, b"\x02raw", 7, 21_000, 3 * 10**9, 10**9)
FOUND = Inclusion(ATTEMPT.hash, 5, "0x" + "55" * 32, 20_000, succeeded=True)
PREPARED = Prepared(CALL, ATTEMPT, b"payload")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox" / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    opened = Journal(path, 1, GENESIS)
    yield opened
    opened.close()


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """As on a full disk: the kernel refuses to make any file larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_entry_is_read_back_as_it_was_written_by_another_connection(
    journal: Journal, path: Path
) -> None:
    (entry,) = journal.add([PREPARED])
    again = Journal(path, 1, GENESIS)
    assert again.entries() == [entry]
    assert (entry.call, entry.attempts, entry.payload) == (CALL, (ATTEMPT,), b"payload")
    assert (entry.state, entry.nonce, entry.reported) == (State.PREPARED, 7, False)
    again.close()


def test_entry_goes_from_prepared_to_final(journal: Journal) -> None:
    (entry,) = journal.add([PREPARED])
    journal.mark_sent([entry])
    assert journal.entry(entry.id).state is State.SENT
    assert journal.include(entry, State.MINED, FOUND).inclusion == FOUND
    assert journal.include(entry, State.FINAL, FOUND).state is State.FINAL


def test_what_only_the_journal_knows_is_on_the_disk_when_it_is_written(journal: Journal) -> None:
    """What the chain would tell again may get there later."""
    statements: list[str] = []
    journal._database.set_trace_callback(statements.append)
    (entry,) = journal.add([PREPARED])
    steps: dict[str, Callable[[], object]] = {
        "sent": lambda: journal.mark_sent([entry]),
        "attempt": lambda: journal.add_attempt(entry, replace(ATTEMPT, max_fee=5 * 10**9)),
        "mined": lambda: journal.include(entry, State.MINED, FOUND),
        "reported": lambda: journal.report([entry.id]),
        "removed": lambda: journal.mark_removed([entry], "gone"),
        "given up": lambda: journal.give_up(entry, State.DROPPED, "dropped"),
        "next": lambda: journal.add([PREPARED]),
    }
    later = []
    for name, step in steps.items():
        step()
        levels = [one for one in statements if one.startswith("PRAGMA synchronous")]
        later += [name] if levels and levels[-1].endswith("NORMAL") else []
    assert later == ["sent", "mined", "removed"]


def test_entries_to_look_at_again_are_found_by_their_index(journal: Journal, path: Path) -> None:
    """As of a journal that has no index yet, and got it when it was opened."""
    with sqlite3.connect(path) as database:
        database.execute("DROP INDEX entries_by_block")
    database.close()
    again = Journal(path, 1, GENESIS)
    plan = again._database.execute(
        f"EXPLAIN QUERY PLAN SELECT id FROM entries WHERE {TO_RESTORE}", (64,)
    )
    assert [row["detail"] for row in plan if "SCAN entries" in row["detail"]] == []
    again.close()


def test_entry_is_looked_at_as_long_as_its_block_may_go(journal: Journal) -> None:
    entries = journal.add([PREPARED] * 6)
    waiting, held, mined, refused, deep, final = entries
    journal.hold(held, "not yet")
    reverted = replace(FOUND, succeeded=False)
    journal.include(mined, State.MINED, FOUND)
    journal.include(refused, State.REFUSED, replace(reverted, block=41))
    journal.include(deep, State.REFUSED, replace(reverted, block=40))
    journal.include(final, State.FINAL, replace(FOUND, block=104))
    assert [one.id for one in journal.to_restore(64)] == [held.id, mined.id, refused.id]
    kept = {one.id: one.place for one in journal.kept(64)}
    assert kept == {held.id: None, mined.id: FOUND.place, refused.id: (41, FOUND.block_hash)}
    assert journal.last_nonce(SENDER) == waiting.nonce
    assert journal.last_nonce(CONTRACT) == -1


def test_block_that_is_gone_is_forgotten(journal: Journal) -> None:
    (entry,) = journal.add([PREPARED])
    journal.include(entry, State.MINED, FOUND)
    journal.mark_sent([entry])
    assert (journal.entry(entry.id).inclusion, journal.entry(entry.id).is_open) == (None, True)


def test_replacement_is_kept_beside_what_it_replaces(journal: Journal) -> None:
    (entry,) = journal.add([PREPARED])
    dearer = replace(ATTEMPT, hash="0x" + "66" * 32, max_fee=4 * 10**9, nonce=9)
    changed = journal.add_attempt(entry, dearer)
    assert (changed.attempts, changed.latest, changed.nonce) == ((ATTEMPT, dearer), dearer, 9)
    assert journal.include(changed, State.MINED, FOUND).nonce == 7  # the first was quicker


def test_same_operation_meant_again_has_another_key(journal: Journal) -> None:
    first, second = journal.add([PREPARED, PREPARED])
    operation = CALL.operation(1)
    assert [first.key, second.key] == [key_of(operation, 0), key_of(operation, 1)]
    assert journal.unreported_of(operation) == [first, second]
    assert journal.unreported_of(CALL.operation(2)) == []
    journal.report([first.id])
    assert journal.unreported_of(operation) == [second]


def test_entry_is_dropped_only_with_what_takes_its_place(journal: Journal) -> None:
    (entry,) = journal.add([PREPARED])
    broken = replace(PREPARED, attempt=replace(ATTEMPT, nonce=-1))
    with pytest.raises(JournalError):
        journal.replace(entry, broken, "cancelled")
    assert journal.entries() == [entry]
    instead = journal.replace(entry, replace(PREPARED, for_nobody=True), "cancelled")
    dropped, kept = journal.entries()
    assert (dropped.state, dropped.failure, kept) == (State.DROPPED, "cancelled", instead)
    assert instead.reported


def test_entries_are_written_all_or_none(journal: Journal) -> None:
    broken = replace(PREPARED, attempt=replace(ATTEMPT, nonce=-1))
    with pytest.raises(JournalError):
        journal.add([PREPARED, broken])
    assert journal.entries() == []


@pytest.mark.parametrize(
    ("chain_id", "genesis", "told"),
    [
        (2, GENESIS, "is of chain 1 that began with block 0x11111111…, and this is chain 2,"),
        (1, "0x" + "99" * 32, "and this is chain 1, which began with 0x99999999…: move the"),
    ],
)
def test_journal_of_another_chain_is_refused(
    journal: Journal, path: Path, chain_id: int, genesis: str, told: str
) -> None:
    with pytest.raises(JournalError, match=told):
        Journal(path, chain_id, genesis)


def test_journal_of_a_later_format_is_refused(journal: Journal, path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(JournalError, match="has format 9, and this version of the project reads"):
        Journal(path, 1, GENESIS)


def test_file_that_is_no_journal_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(JournalError, match=r"cannot be used .*not a database"):
        Journal(path, 1, GENESIS)


def test_full_disk_loses_nothing_that_was_written(journal: Journal, path: Path) -> None:
    (entry,) = journal.add([PREPARED])
    large = Prepared(replace(CALL, data=bytes(200_000)), ATTEMPT)
    with (
        files_no_larger_than(100_000),
        pytest.raises(JournalError, match="what it does not hold is not sent; see to the disk"),
    ):
        journal.add([large])
    assert journal.entries() == [entry]
    assert len(journal.add([large])) == 1
