"""What recorders of batches left is held against the chain."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import ape
import pytest

from ml.chain.anvil import AnvilNode
from ml.chain.batching import BatchRecorder
from ml.chain.fsck.batch_check import check_batches
from ml.chain.fsck.everything import check
from ml.chain.log_proofs import LogPlace
from ml.chain.log_records import RecordKind, Statement
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.session import Session
from tests.contracts.story import Cast, Story

from .test_fsck import kinds


@pytest.fixture
def recorder(session: Session, cast: Cast, tmp_path: Path) -> Callable[[], BatchRecorder]:
    """Another recorder of one file each time that it is called."""
    log = ProvenanceLog(cast.deployer.deploy(ape.project.ProvenanceLog))
    place = LogPlace(session.chain_id, session.genesis, log.address)
    return lambda: BatchRecorder(log, place, cast.client, tmp_path / "outbox/updates.sqlite")


def taken(recorder: BatchRecorder) -> None:
    """Let it take two statements."""
    for number in (1, 2):
        recorder.add(Statement(RecordKind.CLIENT_UPDATE, bytes(31) + bytes([number])))


def test_records_wait_until_they_are_in_a_batch_on_chain(
    session: Session, recorder: Callable[[], BatchRecorder]
) -> None:
    first = recorder()
    taken(first)
    assert list(check_batches(session)) == []  # under way
    first.close()
    (found,) = check_batches(session)
    assert (found.what, found.which.split()[0]) == ("records that wait", "2")
    with recorder():
        pass
    assert list(check_batches(session)) == []


def test_batch_that_a_reorganisation_removed_is_found(
    session: Session, recorder: Callable[[], BatchRecorder], node: AnvilNode
) -> None:
    before = node.rpc("evm_snapshot")
    with recorder() as to:
        taken(to)
    node.rpc("evm_revert", before)
    assert kinds(check_batches(session)) == [("records", "said recorded and is not")]


def test_batch_in_a_log_that_is_gone_is_found(
    session: Session, recorder: Callable[[], BatchRecorder], node: AnvilNode
) -> None:
    with recorder() as to:
        taken(to)
        log = to._log.address
    node.rpc("anvil_setCode", log, "0x")
    (found,) = check_batches(session)
    assert (found.what, found.why) == (
        "said recorded and is not",
        "there is no log at its address",
    )


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE statements SET count = 2 WHERE id = 1", ["wrong root"]),
        ("DELETE FROM statements WHERE id = 1", ["wrong root", "said recorded and is not"]),
        ("UPDATE statements SET kind = 9 WHERE id = 1", ["cannot be read"]),
    ],
)
def test_file_that_says_otherwise_than_the_chain_is_found(
    session: Session,
    recorder: Callable[[], BatchRecorder],
    tmp_path: Path,
    statement: str,
    found: list[str],
) -> None:
    with recorder() as to:
        taken(to)
    with closing(sqlite3.connect(tmp_path / "outbox/updates.sqlite")) as database:
        database.execute(statement)
        database.commit()
    assert kinds(check_batches(session)) == [("records", what) for what in found]


def test_records_are_looked_at_with_everything_else(
    session: Session, story: Story, recorder: Callable[[], BatchRecorder], tmp_path: Path
) -> None:
    first = recorder()
    taken(first)
    first.close()
    (tmp_path / "outbox/damaged.sqlite").write_bytes(b"no database at all" * 1_000)
    (tmp_path / "outbox/empty.sqlite").touch()
    assert kinds(list(check(session))) == [
        ("records", "cannot be read"),
        ("records", "records that wait"),
    ]
