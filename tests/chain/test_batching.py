"""What arrives one by one is on record a moment later, in a batch; a killed run loses nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ape
import pytest

from ml.chain.batching import BatchRecorder
from ml.chain.log_proofs import LogPlace
from ml.chain.log_records import RecordKind, Statement
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.session import Session
from ml.errors import ModelproofError
from tests.contracts.story import Cast

DEADLINE_S = 300


def statement(number: int) -> Statement:
    return Statement(RecordKind.CLIENT_UPDATE, number.to_bytes(32, "big"))


@pytest.fixture
def log(session: Session, cast: Cast) -> ProvenanceLog:
    return ProvenanceLog(cast.deployer.deploy(ape.project.ProvenanceLog))


@pytest.fixture
def recorder(session: Session, log: ProvenanceLog, cast: Cast, tmp_path: Path) -> Any:
    """Another process each time that it is called, with the same file."""
    place = LogPlace(session.chain_id, session.genesis, log.address)
    return lambda **given: BatchRecorder(
        log, place, cast.client, tmp_path / "batches.sqlite", **given
    )


def test_statements_are_proved_to_be_in_a_batch_on_record(
    recorder: Any, log: ProvenanceLog
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


def test_leaving_records_what_is_left(recorder: Any, log: ProvenanceLog) -> None:
    with recorder(interval_s=DEADLINE_S) as to:
        future = to.add(statement(1))
    assert future.done()
    assert len(log.recorded()) == 1


def test_next_run_records_what_a_killed_one_took(recorder: Any, log: ProvenanceLog) -> None:
    recorder().add(statement(1))  # and was killed
    gathered = recorder()
    gathered.add(statement(2))
    gathered._gather()  # and was killed
    recorder().add(statement(3))
    proven = recorder().record_now()
    assert [one.proof.statement for one in proven] == [statement(number) for number in (1, 2, 3)]
    assert sum(one.statement.count for one in log.recorded()) == 3
    assert recorder().record_now() == []


def test_batch_whose_recording_nobody_noted_is_not_recorded_twice(
    recorder: Any, log: ProvenanceLog, tmp_path: Path
) -> None:
    first = recorder()
    first.add(statement(1))
    (proven,) = first.record_now()
    first._database.execute("UPDATE batches SET recorded = 0")  # it was killed right before
    (again,) = recorder().record_now()
    assert again == proven
    assert len(log.recorded()) == 1


def test_file_of_something_else_is_refused(recorder: Any, tmp_path: Path) -> None:
    (tmp_path / "batches.sqlite").write_text("not a database " * 1000)
    with pytest.raises(ModelproofError, match=r"batches\.sqlite cannot be used"):
        recorder()
