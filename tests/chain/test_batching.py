"""What arrives one by one is on record a moment later, in a batch; a killed run loses nothing."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import ape
import pytest

from ml.chain.anvil import AnvilNode
from ml.chain.batch_file import BatchFile, BatchFileError, Recorder
from ml.chain.batching import BatchRecorder, Proven, finish, left_in
from ml.chain.log_proofs import LogPlace
from ml.chain.log_records import MAX_COUNT, NO_METADATA, Batch, RecordKind, Statement
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.session import Session, connect
from ml.errors import ModelproofError, NotVerified
from tests.contracts.story import Cast

from .outbox.faulty_node import FaultyNode, drops_the_request, falsifies
from .places import kept_apart

DEADLINE_S = 300
NAME = "batches.sqlite"


def statement(number: int) -> Statement:
    return Statement(RecordKind.CLIENT_UPDATE, number.to_bytes(32, "big"))


@pytest.fixture
def log(session: Session, cast: Cast) -> ProvenanceLog:
    return ProvenanceLog(cast.deployer.deploy(ape.project.ProvenanceLog))


@pytest.fixture
def place(session: Session, log: ProvenanceLog) -> LogPlace:
    return LogPlace(session.chain_id, session.genesis, log.address)


@pytest.fixture
def recorder(
    log: ProvenanceLog, place: LogPlace, cast: Cast, tmp_path: Path
) -> Callable[..., BatchRecorder]:
    """Another recorder each time that it is called, with the same file."""
    return lambda **given: BatchRecorder(log, place, cast.client, tmp_path / NAME, **given)


def edit(tmp_path: Path, statement: str) -> None:
    with sqlite3.connect(tmp_path / NAME) as database:
        database.execute(statement)
    database.close()


def test_statements_are_proved_to_be_in_a_batch_on_record(
    recorder: Callable[..., BatchRecorder], log: ProvenanceLog
) -> None:
    with recorder(interval_s=0.01) as to:
        futures = [to.add(statement(number)) for number in range(1, 8)]
        proven = [future.result(DEADLINE_S) for future in futures]
    for number, one in enumerate(proven, 1):
        assert one.proof.statement == statement(number)
        assert one.proof.holds
        assert log.verify_batched(
            one.proof.submitter, one.proof.batch, statement(number), one.proof.siblings
        )
        assert one.record == log.record(one.proof.submitter, one.proof.batch)


def test_leaving_records_what_is_left(
    recorder: Callable[..., BatchRecorder], log: ProvenanceLog
) -> None:
    with recorder(interval_s=DEADLINE_S) as to:
        future = to.add(statement(1))
    assert future.done()
    assert len(log.recorded()) == 1


def test_next_run_records_what_an_ended_one_took(
    recorder: Callable[..., BatchRecorder], log: ProvenanceLog
) -> None:
    first = recorder()
    first.add(statement(1))
    first.close()
    gathered = recorder()
    gathered.add(statement(2))
    gathered._file.gather()
    gathered.close()
    last = recorder()
    last.add(statement(3))
    proven = last.record_now()
    assert [one.proof.statement for one in proven] == [statement(number) for number in (1, 2, 3)]
    assert sum(one.statement.count for one in log.recorded()) == 3
    assert last.record_now() == []
    last.close()


def test_batch_whose_recording_nobody_noted_is_not_recorded_twice(
    recorder: Callable[..., BatchRecorder], log: ProvenanceLog, tmp_path: Path
) -> None:
    first = recorder()
    first.add(statement(1))
    (proven,) = first.record_now()
    first.close()
    edit(tmp_path, "UPDATE batches SET root = NULL")  # it was killed right before
    second = recorder()
    assert second.record_now() == [proven]
    second.close()
    assert len(log.recorded()) == 1


def test_statement_that_comes_again_is_not_recorded_twice(
    recorder: Callable[..., BatchRecorder], log: ProvenanceLog
) -> None:
    with recorder(interval_s=DEADLINE_S) as to:
        first = to.add(statement(1))
        assert to.add(statement(1)) is first
    with recorder(interval_s=0.01) as to:
        assert to.add(statement(1)).result(DEADLINE_S) == first.result()
    assert len(log.recorded()) == 1


# --- Every future ends ----------------------------------------------------------------------------


def test_only_the_statements_of_a_batch_that_fails_are_told_so(
    recorder: Callable[..., BatchRecorder], log: ProvenanceLog, cast: Cast
) -> None:
    root = Batch([statement(1)]).root
    log.append(RecordKind.BATCH, root, count=9, sender=cast.client)  # for good, and otherwise
    to = recorder()
    failing = to.add(statement(1))
    to._file.gather()
    passing = to.add(statement(2))
    with pytest.raises(ModelproofError, match="with another kind, count or metadata"):
        to.record_now()
    assert "another kind" in str(failing.exception(0))
    assert passing.result(0).proof.holds
    to.close()


def test_recorder_goes_on_after_what_ends_a_thread(
    recorder: Callable[..., BatchRecorder],
) -> None:
    def interrupt(_: Future[Any]) -> None:
        sys.exit("one of its users' callbacks")

    with recorder(interval_s=0.01) as to:
        with to._recording:  # so that both are in one batch
            futures = [to.add(statement(number)) for number in (1, 2)]
            futures[0].add_done_callback(interrupt)
        assert futures[0].result(DEADLINE_S).proof.holds
        assert "recording was interrupted" in str(futures[1].exception(DEADLINE_S))
        assert to.add(statement(2)).result(DEADLINE_S).proof.holds
        assert to.add(statement(3)).result(DEADLINE_S).proof.holds


def test_future_of_what_is_on_the_disk_cannot_be_taken_back(
    recorder: Callable[..., BatchRecorder],
) -> None:
    with recorder(interval_s=DEADLINE_S) as to:
        futures = [to.add(statement(number)) for number in (1, 2)]
        assert not futures[0].cancel()
    assert all(future.result(0).proof.holds for future in futures)


def test_block_left_by_an_error_leaves_no_future_open_and_loses_nothing(
    recorder: Callable[..., BatchRecorder], log: ProvenanceLog
) -> None:
    to = recorder(interval_s=DEADLINE_S)

    def work() -> Future[Proven]:
        with suppress(ZeroDivisionError), to:
            future = to.add(statement(1))
            raise ZeroDivisionError
        return future

    future = work()
    assert "the next recorder of that file records it" in str(future.exception(0))
    assert log.recorded() == []
    with pytest.raises(ModelproofError, match="is closed: open another one"):
        to.add(statement(2))
    with recorder():
        pass
    assert [one.statement.count for one in log.recorded()] == [1]


def test_node_that_does_not_answer_is_told_and_what_came_is_recorded_later(
    node: AnvilNode, cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELPROOF_TIMEOUT_S", "0.1")
    with (
        kept_apart(tmp_path),
        FaultyNode(node.port) as faulty,
        connect(f"ethereum:dev:{faulty.url}") as session,
    ):
        log = ProvenanceLog(cast.deployer.deploy(ape.project.ProvenanceLog))
        place = LogPlace(session.chain_id, session.genesis, log.address)
        with BatchRecorder(log, place, cast.client, tmp_path / NAME, 0.01) as to:
            faulty.plan(drops_the_request, "eth_sendRawTransaction", times=1_000_000)
            future = to.add(statement(1))
            assert "the node" in str(future.exception(DEADLINE_S))
            faulty.plan(drops_the_request, "eth_sendRawTransaction", times=0)
            assert to.add(statement(1)).result(DEADLINE_S).proof.holds
        assert len(log.recorded()) == 1


def test_record_that_a_node_tells_otherwise_is_not_believed(
    node: AnvilNode, cast: Cast, tmp_path: Path
) -> None:
    def miscounted(told: str) -> str:
        is_record = len(told) > 2 + 2 * 64
        return told.replace(f"{1:064x}", f"{2:064x}") if is_record else told

    with (
        kept_apart(tmp_path),
        FaultyNode(node.port) as faulty,
        connect(f"ethereum:dev:{faulty.url}") as session,
    ):
        log = ProvenanceLog(cast.deployer.deploy(ape.project.ProvenanceLog))
        place = LogPlace(session.chain_id, session.genesis, log.address)
        to = BatchRecorder(log, place, cast.client, tmp_path / NAME)
        future = to.add(statement(1))
        faulty.plan(falsifies(miscounted), "eth_call", times=1_000_000)
        with pytest.raises(NotVerified, match="is on record as something else"):
            to.record_now()
        assert isinstance(future.exception(0), NotVerified)
        faulty.plan(falsifies(miscounted), "eth_call", times=0)
        (proven,) = to.record_now()
        assert proven.record == log.record(proven.proof.submitter, proven.proof.batch)
        to.close()


# --- What is taken --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"kind": RecordKind.NONE}, "has to be of a kind"),
        ({"kind": 7}, "has to be of a kind"),
        ({"digest": bytes(32)}, "digest has 32 bytes, not all of them zero"),
        ({"digest": b"short"}, "digest has 32 bytes, not all of them zero"),
        ({"count": 0}, "1 to 1000000 things, not for 0"),
        ({"count": 1 << 70}, "1 to 1000000 things"),
        ({"count": MAX_COUNT + 1}, "1 to 1000000 things, not for 1000001"),
        ({"metadata": NO_METADATA[:20]}, "digest of a statement's metadata has 32 bytes"),
    ],
)
def test_statement_that_the_log_would_not_take_is_refused(
    recorder: Callable[..., BatchRecorder], said: dict[str, Any], sentence: str
) -> None:
    to = recorder()
    with pytest.raises(ModelproofError, match=sentence):
        to.add(Statement(**{"kind": RecordKind.DATA, "digest": b"d" * 32, **said}))
    assert to.record_now() == []
    to.close()


# --- The file -------------------------------------------------------------------------------------


def test_file_that_another_process_has_is_refused_until_that_is_killed(
    recorder: Callable[..., BatchRecorder], place: LogPlace, cast: Cast, tmp_path: Path
) -> None:
    of = Recorder(place, str(cast.client.address))
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        file = BatchFile(tmp_path / NAME, of)
        file.add(statement(1))
        os.write(told, b"x")
        signal.pause()
        os._exit(1)
    try:
        assert os.read(ready, 1) == b"x"
        with pytest.raises(BatchFileError, match="is in use by another recorder"):
            recorder()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(told)
    after = recorder()
    assert [one.proof.statement for one in after.record_now()] == [statement(1)]
    after.close()


@pytest.mark.parametrize("content", ["not a database " * 1000, None], ids=["text", "database"])
def test_file_of_something_else_is_refused_and_left_alone(
    recorder: Callable[..., BatchRecorder], tmp_path: Path, content: str | None
) -> None:
    if content is None:
        edit(tmp_path, "CREATE TABLE statements (other)")
    else:
        (tmp_path / NAME).write_text(content)
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(
        BatchFileError, match=r"batches\.sqlite' (cannot be used|is something else)"
    ):
        recorder()
    assert (tmp_path / NAME).read_bytes()[100:] == before[100:]  # after the header


def test_file_of_another_recorder_is_refused(
    recorder: Callable[..., BatchRecorder],
    log: ProvenanceLog,
    place: LogPlace,
    cast: Cast,
    tmp_path: Path,
) -> None:
    recorder().close()
    with pytest.raises(BatchFileError, match="and this is another recorder: name another file"):
        BatchRecorder(log, place, cast.trainer, tmp_path / NAME)
    elsewhere = LogPlace(place.chain_id, place.genesis, cast.client.address)
    with pytest.raises(ModelproofError, match="is not the one that its proofs would name"):
        BatchRecorder(log, elsewhere, cast.client, tmp_path / "other.sqlite")


def test_what_ended_recorders_left_is_found_and_finished(
    log: ProvenanceLog, place: LogPlace, cast: Cast, session: Session, tmp_path: Path
) -> None:
    path = tmp_path / "outbox" / NAME  # beside the journal
    to = BatchRecorder(log, place, cast.client, path)
    to.add(statement(1))
    assert left_in(session) == []  # somebody is at it
    to.close()
    ((found, kept),) = left_in(session)
    assert (found, kept.waiting) == (path, 1)
    assert finish(session, lambda _: cast.client) == [(path, 1)]
    assert left_in(session) == []
    assert len(log.recorded()) == 1
