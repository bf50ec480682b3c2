"""Recording once: what is on record is told, what it means stays, and proofs come first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ape
import pytest

from ml.chain.anvil import AnvilNode
from ml.chain.log_proofs import LogPlace, read_proof
from ml.chain.log_records import Batch, RecordKind, Statement
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.recording import record_once, write_batch
from ml.chain.session import Session
from ml.errors import ModelproofError
from tests.contracts.story import Cast

DIGEST = b"\x01" * 32


@pytest.fixture
def log(session: Session, cast: Cast) -> ProvenanceLog:
    contract = cast.deployer.deploy(ape.project.ProvenanceLog)
    return ProvenanceLog(contract, contract.creation_metadata.receipt.block_number)


def record(log: ProvenanceLog, cast: Cast, **changes: Any) -> Any:
    given = {"kind": RecordKind.DATA, "sender": cast.client, "count": 3, "metadata": "a set"}
    return record_once(log, digest=DIGEST, **{**given, **changes})


def test_record_is_made_once(log: ProvenanceLog, cast: Cast, node: AnvilNode) -> None:
    first = record(log, cast)
    assert first.receipt.gas_used > 0
    before = node.rpc("eth_blockNumber")
    again = record(log, cast)
    assert (again.record, again.receipt) == (first.record, None)
    assert node.rpc("eth_blockNumber") == before
    assert record(log, cast, sender=cast.stranger).record.index == 1


@pytest.mark.parametrize(
    "change", [{"kind": RecordKind.EPOCH}, {"count": 4}, {"metadata": "another set"}]
)
def test_record_keeps_its_meaning(
    log: ProvenanceLog, cast: Cast, node: AnvilNode, change: dict[str, Any]
) -> None:
    record(log, cast)
    before = node.rpc("eth_blockNumber")
    with pytest.raises(ModelproofError, match=r"as record 0 at 20.*: the first time stays"):
        record(log, cast, **change)
    assert node.rpc("eth_blockNumber") == before


def test_batch_is_written_with_a_proof_for_each_statement(tmp_path: Path) -> None:
    place = LogPlace(31337, "0x" + "ab" * 32, "0x" + "12" * 20)
    statements = {
        name: Statement(RecordKind.DATA, bytes([n]) * 32)
        for n, name in enumerate(["labels.csv", "images/0", "images/raw/0"])
    }
    submitter = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
    batch = write_batch(place, submitter, statements, tmp_path / "proofs")
    assert batch.root == Batch(list(statements.values())).root
    for name, statement in statements.items():
        proof = read_proof(tmp_path / "proofs" / f"{name}.json")
        assert (proof.statement, proof.log, proof.submitter) == (statement, place, submitter)
        assert proof.holds


def test_batch_of_nothing_is_refused(tmp_path: Path) -> None:
    place = LogPlace(31337, "0x" + "ab" * 32, "0x" + "12" * 20)
    with pytest.raises(ModelproofError, match="a batch holds 1 to 1000000 statements, not 0"):
        write_batch(place, "0x" + "12" * 20, {}, tmp_path / "proofs")
    assert not (tmp_path / "proofs").exists()
