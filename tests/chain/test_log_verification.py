"""What is kept about a log, held against it: true, changed, cut off, and of another log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import ape
import pytest

from ml.artifact.keccak import keccak256
from ml.chain.anvil import AnvilNode
from ml.chain.log_proofs import BatchProof, InclusionProof, KeptHead, LogPlace
from ml.chain.log_records import Batch, RecordKind, Statement, TreeHead, leaf_of
from ml.chain.log_verification import (
    WholeLog,
    check_batched,
    check_included,
    check_included_now,
    read_whole,
    records_of,
)
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.session import Session, connect
from ml.errors import ModelproofError, NotVerified
from tests.contracts.story import Cast

from .places import kept_apart, network_at

DIGESTS = [bytes([n]) * 32 for n in range(1, 6)]
BATCH = Batch([Statement(RecordKind.CLIENT_UPDATE, digest) for digest in DIGESTS])


@pytest.fixture(scope="module")
def session(node: AnvilNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with (
        kept_apart(tmp_path_factory.mktemp("log")),
        connect(network_at(node)) as connected,
    ):
        yield connected


@pytest.fixture(scope="module")
def people() -> Cast:
    return Cast(*ape.accounts.test_accounts[: len(Cast._fields)])


@pytest.fixture(scope="module")
def log(session: Session, people: Cast) -> ProvenanceLog:
    """Five records of one client, one of them recorded by a stranger too, and a batch."""
    contract = people.deployer.deploy(ape.project.ProvenanceLog)
    log = ProvenanceLog(contract, contract.creation_metadata.receipt.block_number)
    for digest in DIGESTS:
        log.append(RecordKind.DATA, digest, sender=people.client)
    log.append(RecordKind.EPOCH, DIGESTS[1], sender=people.stranger)
    log.append(RecordKind.BATCH, BATCH.root, sender=people.client, count=len(BATCH))
    return log


@pytest.fixture(scope="module")
def place(session: Session, log: ProvenanceLog) -> LogPlace:
    return LogPlace(session.chain_id, session.genesis, log.address)


@pytest.fixture(scope="module")
def whole(log: ProvenanceLog, place: LogPlace) -> WholeLog:
    return read_whole(log, place)


@pytest.fixture(scope="module")
def proof(whole: WholeLog) -> InclusionProof:
    return whole.prove(DIGESTS[2])


@pytest.fixture(scope="module")
def batched(place: LogPlace, people: Cast) -> BatchProof:
    statement = Statement(RecordKind.CLIENT_UPDATE, DIGESTS[3])
    siblings = tuple(BATCH.proof(statement))
    return BatchProof(place, people.client.address, BATCH.root, statement, siblings)


@pytest.fixture
def undone(node: AnvilNode, log: ProvenanceLog) -> Iterator[None]:
    """What the test records is taken back."""
    snapshot = node.rpc("evm_snapshot")
    yield
    node.rpc("evm_revert", snapshot)


def append_for_now(log: ProvenanceLog, digest: bytes, people: Cast) -> None:
    """Record what will be taken back: without the outbox, which would send it again."""
    log.contract.append(RecordKind.DATA, digest, 1, "", sender=people.client)


def head_at(whole: WholeLog, size: int) -> KeptHead:
    return KeptHead(whole.place, TreeHead(size, whole.tree.root(size)))


# --- The log goes on from a kept head -------------------------------------------------------------


@pytest.mark.parametrize("size", range(8))
def test_log_goes_on_from_every_head_that_it_had(whole: WholeLog, size: int) -> None:
    whole.extends(head_at(whole, size))


def test_log_that_lost_records_is_noticed(
    node: AnvilNode, log: ProvenanceLog, place: LogPlace, people: Cast
) -> None:
    snapshot = node.rpc("evm_snapshot")
    append_for_now(log, b"\x0a" * 32, people)
    kept = KeptHead(place, read_whole(log, place).head)
    node.rpc("evm_revert", snapshot)
    with pytest.raises(NotVerified, match=r"has 7 records and had 8 .* records are missing"):
        read_whole(log, place).extends(kept)


def test_log_that_was_rewritten_is_noticed(
    node: AnvilNode, log: ProvenanceLog, place: LogPlace, people: Cast
) -> None:
    snapshot = node.rpc("evm_snapshot")
    append_for_now(log, b"\x0a" * 32, people)
    kept = KeptHead(place, read_whole(log, place).head)
    node.rpc("evm_revert", snapshot)
    snapshot = node.rpc("evm_snapshot")
    for digest in (b"\x0b" * 32, b"\x0a" * 32):
        append_for_now(log, digest, people)
    with pytest.raises(NotVerified, match="first 8 records of the log are not those"):
        read_whole(log, place).extends(kept)
    node.rpc("evm_revert", snapshot)


@pytest.mark.parametrize(
    "change", [{"chain_id": 1}, {"genesis": "0x" + "00" * 32}, {"address": "0x" + "12" * 20}]
)
def test_head_and_proofs_of_another_log_are_refused(
    log: ProvenanceLog,
    whole: WholeLog,
    proof: InclusionProof,
    batched: BatchProof,
    change: dict[str, str],
) -> None:
    elsewhere = replace(whole.place, **change)  # type: ignore[arg-type]
    with pytest.raises(ModelproofError, match="this is about the log at"):
        whole.extends(replace(head_at(whole, 7), log=elsewhere))
    with pytest.raises(ModelproofError, match="this is about the log at"):
        check_included_now(log, whole.place, replace(proof, log=elsewhere))
    with pytest.raises(ModelproofError, match="this is about the log at"):
        check_batched(log, whole.place, replace(batched, log=elsewhere))


# --- Inclusion ------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(5))
def test_every_record_is_proved_and_the_contract_agrees(
    log: ProvenanceLog, whole: WholeLog, people: Cast, index: int
) -> None:
    proof = whole.prove(DIGESTS[index], people.client.address)
    check_included(proof, head_at(whole, 7))
    check_included_now(log, whole.place, proof)
    leaf = whole.records[index].leaf
    assert log.verify_inclusion(proof.head, proof.index, leaf, proof.siblings)


def test_proof_for_an_older_head_still_leads_to_the_log(
    log: ProvenanceLog, whole: WholeLog
) -> None:
    proof = whole.prove(DIGESTS[2], kept=head_at(whole, 3))
    assert proof.head.size == 3
    check_included_now(log, whole.place, proof)
    check_included(proof, head_at(whole, 3))


def test_record_is_not_proved_for_a_time_before_it(whole: WholeLog) -> None:
    with pytest.raises(NotVerified, match="was not recorded in this log"):
        whole.prove(DIGESTS[2], kept=head_at(whole, 2))


def test_proof_is_not_made_for_a_head_that_the_log_never_had(whole: WholeLog) -> None:
    with pytest.raises(NotVerified, match="were changed"):
        whole.prove(DIGESTS[2], kept=KeptHead(whole.place, TreeHead(3, bytes(32))))


def test_record_of_several_has_to_say_whose(whole: WholeLog, people: Cast) -> None:
    with pytest.raises(ModelproofError, match=r"recorded by several .*--submitter"):
        whole.prove(DIGESTS[1])
    assert whole.prove(DIGESTS[1], people.stranger.address).index == 5


def test_false_proof_is_not_believed(
    log: ProvenanceLog, whole: WholeLog, proof: InclusionProof
) -> None:
    earlier = replace(proof, time=proof.time - 1)
    with pytest.raises(NotVerified, match="does not lead from the record to the log's root"):
        check_included_now(log, whole.place, earlier)


def test_proof_of_a_made_up_log_is_not_believed(
    log: ProvenanceLog, whole: WholeLog, people: Cast
) -> None:
    """It holds by itself: only its root is nobody's."""
    statement = Statement(RecordKind.DATA, b"\x0f" * 32)
    client = people.client.address
    root = leaf_of(client, 1, statement)
    forged = InclusionProof(whole.place, TreeHead(1, root), 0, client, 1, statement, ())
    assert forged.holds
    with pytest.raises(NotVerified, match="first 1 records of the log are not those"):
        check_included_now(log, whole.place, forged)
    with pytest.raises(NotVerified, match="another root than the head's"):
        check_included(forged, head_at(whole, 1))


def test_proof_for_another_size_asks_for_one_that_fits(
    whole: WholeLog, proof: InclusionProof
) -> None:
    with pytest.raises(ModelproofError, match="had 7 records, and the head is of one with 6"):
        check_included(proof, head_at(whole, 6))


# --- Batches --------------------------------------------------------------------------------------


def test_statement_of_a_recorded_batch_is_verified(
    log: ProvenanceLog, whole: WholeLog, batched: BatchProof
) -> None:
    record = check_batched(log, whole.place, batched)
    assert (record.index, record.statement.count) == (6, 5)
    assert log.verify_batched(batched.submitter, batched.batch, batched.statement, batched.siblings)


def test_statement_that_is_not_in_the_batch_is_not_verified(
    log: ProvenanceLog, whole: WholeLog, batched: BatchProof
) -> None:
    other = replace(batched, statement=Statement(RecordKind.EPOCH, DIGESTS[3]))
    with pytest.raises(NotVerified, match="does not lead from the statement to the batch's root"):
        check_batched(log, whole.place, other)


def test_batch_that_its_submitter_did_not_record_is_not_verified(
    log: ProvenanceLog, whole: WholeLog, batched: BatchProof, people: Cast
) -> None:
    with pytest.raises(NotVerified, match=f"was not recorded by {people.stranger.address}"):
        check_batched(log, whole.place, replace(batched, submitter=people.stranger.address))


def test_record_of_another_kind_is_no_batch(
    log: ProvenanceLog, whole: WholeLog, people: Cast, undone: None
) -> None:
    (alone,) = [Statement(RecordKind.DATA, b"\x0c" * 32)]
    root = Batch([alone]).root
    append_for_now(log, root, people)
    proof = BatchProof(whole.place, people.client.address, root, alone, ())
    with pytest.raises(NotVerified, match="is no batch: it was recorded as DATA"):
        check_batched(log, whole.place, proof)


# --- By the digest alone --------------------------------------------------------------------------


def test_records_of_a_digest_are_all_who_recorded_it(log: ProvenanceLog, people: Cast) -> None:
    both = [people.client.address, people.stranger.address]
    assert [one.submitter for one in records_of(log, DIGESTS[1])] == both
    (theirs,) = records_of(log, DIGESTS[1], people.stranger.address)
    assert theirs.statement.kind is RecordKind.EPOCH


def test_digest_that_nobody_recorded_is_not_verified(log: ProvenanceLog, people: Cast) -> None:
    unknown = keccak256(b"never")
    with pytest.raises(NotVerified, match=f"0x{unknown.hex()} was not recorded in this log"):
        records_of(log, unknown)
    with pytest.raises(NotVerified, match=f"was not recorded by {people.stranger.address} in"):
        records_of(log, DIGESTS[0], people.stranger.address)
