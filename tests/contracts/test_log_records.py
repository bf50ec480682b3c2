"""Records: what append keeps and tells, whose they are, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from ml.artifact.log import EMPTY_ROOT, LogTree
from ml.chain.log_records import (
    MAX_COUNT,
    METADATA_BYTES,
    LogRecord,
    RecordKind,
    TreeHead,
    digest_text,
    leaf_of,
)
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.refusals import ContractRefused

from .batch import encode
from .logs import about, deploy, digest_of, fields
from .nodes import set_next_time
from .story import Cast, ask, refused

KINDS = [kind for kind in RecordKind if kind]
DIGEST = digest_of(1)
MAX_TEXT = 16_384


@pytest.fixture
def log(project: Any, cast: Cast) -> ProvenanceLog:
    """An empty one."""
    return deploy(project, cast.deployer)


def time_of(log: ProvenanceLog, block: int) -> int:
    return int(log.contract.provider.get_block(block).timestamp)


# --- What is kept and told ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_record_says_place_time_kind_count_and_metadata(
    log: ProvenanceLog, cast: Cast, kind: RecordKind
) -> None:
    record, receipt = log.append(
        kind, DIGEST, sender=cast.client, count=60_000, metadata='{"set": "mnist"}'
    )
    kept = digest_text('{"set": "mnist"}')[:METADATA_BYTES]
    assert record == LogRecord(0, time_of(log, receipt.block), 60_000, kind, kept)
    assert log.record(cast.client.address, DIGEST) == record


def test_event_tells_all_of_it(log: ProvenanceLog, cast: Cast) -> None:
    log.append(RecordKind.DATA, digest_of(0), sender=cast.trainer)
    record, receipt = log.append(
        RecordKind.EPOCH, DIGEST, sender=cast.client, count=7, metadata="épôque 3"
    )
    (told,) = log.recorded(submitter=cast.client.address)
    assert (told.index, told.submitter) == (1, cast.client.address)
    assert told.statement == about(RecordKind.EPOCH, DIGEST, 7, "épôque 3")
    assert (told.metadata, told.time) == ("épôque 3", record.time)
    assert (told.block, told.transaction) == (receipt.block, receipt.transaction)


def test_indices_count_up_over_all_submitters(log: ProvenanceLog, cast: Cast) -> None:
    senders = [cast.client, cast.trainer, cast.client, cast.stranger]
    for index, sender in enumerate(senders):
        record, _ = log.append(RecordKind.EPOCH, digest_of(index), sender=sender)
        assert record.index == log.index_of(sender.address, digest_of(index)) == index
    assert [one.index for one in log.recorded()] == [0, 1, 2, 3]


def test_only_what_was_recorded_is_recorded(log: ProvenanceLog, cast: Cast) -> None:
    log.append(RecordKind.DATA, DIGEST, sender=cast.client)
    assert log.is_recorded(cast.client.address, DIGEST)
    assert not log.is_recorded(cast.client.address, digest_of(2))
    assert not log.is_recorded(cast.stranger.address, DIGEST)


@pytest.mark.parametrize("function", ["getRecord", "indexOf"])
def test_what_was_not_recorded_has_no_record(log: ProvenanceLog, cast: Cast, function: str) -> None:
    log.append(RecordKind.DATA, DIGEST, sender=cast.client)
    with refused("UnknownRecord", submitter=cast.stranger.address, digest=DIGEST):
        ask(log, function, cast.stranger.address, DIGEST)


def test_digest_is_found_whoever_recorded_it_the_first_one_first(
    log: ProvenanceLog, cast: Cast
) -> None:
    for sender in (cast.trainer, cast.client):
        log.append(RecordKind.DATA, digest_of(7), sender=sender)
        log.append(RecordKind.DATA, DIGEST, sender=sender)
    found = log.recorded(digest=DIGEST)
    assert [(one.submitter, one.index) for one in found] == [
        (cast.trainer.address, 1),
        (cast.client.address, 3),
    ]


# --- The first time stays -------------------------------------------------------------------------


def test_nobody_can_redate_a_record(log: ProvenanceLog, cast: Cast) -> None:
    record, _ = log.append(RecordKind.DATA, DIGEST, sender=cast.client, metadata="first")
    again = {"submitter": cast.client.address, "digest": DIGEST, "index": 0, "time": record.time}
    head = log.tree_head()
    set_next_time(log.contract.provider, record.time + 1_000)
    for kind, count, metadata in ((1, 1, "first"), (2, 1, "first"), (1, 2, ""), (6, 9, "other")):
        with refused("AlreadyRecorded", **again):
            log.append(kind, DIGEST, sender=cast.client, count=count, metadata=metadata)
    assert log.record(cast.client.address, DIGEST) == record
    assert log.tree_head() == head


def test_another_submitter_has_a_record_of_its_own(log: ProvenanceLog, cast: Cast) -> None:
    first, _ = log.append(RecordKind.DATA, DIGEST, sender=cast.client)
    set_next_time(log.contract.provider, first.time + 1_000)
    second, _ = log.append(RecordKind.EPOCH, DIGEST, sender=cast.stranger, count=2)
    assert (second.index, second.time) == (1, first.time + 1_000)
    assert log.record(cast.client.address, DIGEST) == first


def test_refusal_tells_when_the_first_time_was(log: ProvenanceLog, cast: Cast) -> None:
    set_next_time(log.contract.provider, 4_000_000_000)
    log.append(RecordKind.DATA, DIGEST, sender=cast.client)
    with pytest.raises(ContractRefused, match=r"record 0 at 2096-10-02 07:06:40\+00:00: the first"):
        log.append(RecordKind.DATA, DIGEST, sender=cast.client)


# --- What is refused ------------------------------------------------------------------------------


def test_record_of_no_kind_is_refused(log: ProvenanceLog, cast: Cast) -> None:
    with refused("KindIsNone", digest=DIGEST):
        log.append(RecordKind.NONE, DIGEST, sender=cast.client)


def test_zero_digest_is_refused(log: ProvenanceLog, cast: Cast) -> None:
    with refused("DigestIsZero", kind=RecordKind.EPOCH):
        log.append(RecordKind.EPOCH, bytes(32), sender=cast.client)


@pytest.mark.parametrize("count", [0, MAX_COUNT + 1, 2**32 - 1])
def test_count_of_nothing_or_too_much_is_refused(
    log: ProvenanceLog, cast: Cast, count: int
) -> None:
    with refused("CountOutOfRange", count=count, max=MAX_COUNT):
        log.append(RecordKind.BATCH, DIGEST, sender=cast.client, count=count)


def test_one_record_may_stand_for_a_million(log: ProvenanceLog, cast: Cast) -> None:
    record, _ = log.append(RecordKind.BATCH, DIGEST, sender=cast.client, count=MAX_COUNT)
    assert record.count == MAX_COUNT


def test_metadata_of_16_kib_is_told_in_full_and_one_byte_more_is_refused(
    log: ProvenanceLog, cast: Cast
) -> None:
    with refused("TextTooLong", length=MAX_TEXT + 1, max=MAX_TEXT):
        log.append(RecordKind.DATA, DIGEST, sender=cast.client, metadata="x" * (MAX_TEXT + 1))
    log.append(RecordKind.DATA, DIGEST, sender=cast.client, metadata="é" * (MAX_TEXT // 2))
    (told,) = log.recorded()
    assert told.metadata == "é" * (MAX_TEXT // 2)


def test_log_takes_no_money(log: ProvenanceLog, cast: Cast) -> None:
    call = {"to": log.address, "from": cast.client.address, "value": 1}
    for data in (b"", encode(log.contract, "append", 1, DIGEST, 1, ""), b"\x12\x34\x56\x78"):
        with pytest.raises(Exception, match="revert"):
            log.contract.provider.web3.eth.call({**call, "data": data})


# --- The tree over the records --------------------------------------------------------------------


def test_new_log_has_the_root_of_nothing(log: ProvenanceLog) -> None:
    assert log.tree_head() == TreeHead(0, EMPTY_ROOT)


def test_every_record_is_in_the_tree_of_its_time_and_of_every_later_one(
    log: ProvenanceLog, cast: Cast
) -> None:
    tree, leaves, heads = LogTree(), [], [log.tree_head()]
    senders = (cast.client, cast.trainer, cast.admin)
    for n in range(18):
        kind, sender = KINDS[n % len(KINDS)], senders[n % 3]
        record, _ = log.append(kind, digest_of(n), sender=sender, count=n + 1, metadata="x" * n)
        statement = about(kind, digest_of(n), n + 1, "x" * n)
        leaf = leaf_of(sender.address, record.time, statement)
        assert bytes(ask(log, "leafOf", sender.address, record.time, fields(statement))) == leaf
        assert tree.append(leaf) == record.index == n
        leaves.append(leaf)
        heads.append(log.tree_head())
        assert heads[-1] == TreeHead(ask(log, "size"), bytes(ask(log, "root")))
        assert heads[-1] == TreeHead(n + 1, tree.root())
        for index in {0, n // 2, n}:
            proof = tree.inclusion_proof(index)
            assert log.verify_inclusion(heads[-1], index, leaves[index], proof)
        old = heads[n // 2]
        proof = tree.consistency_proof(old.size)
        assert log.verify_consistency(old, heads[-1], proof)
        assert log.verify_consistency(heads[-1], old, proof) is (old == heads[-1])
    records, read = log.read()
    assert (len(records), read.root()) == (18, tree.root())


def test_proof_of_another_record_is_refused(log: ProvenanceLog, cast: Cast) -> None:
    for n in range(3):
        log.append(RecordKind.EPOCH, digest_of(n), sender=cast.client)
    records, tree = log.read()
    head, proof = log.tree_head(), tree.inclusion_proof(1)
    assert log.verify_inclusion(head, 1, records[1].leaf, proof)
    assert not log.verify_inclusion(head, 1, records[0].leaf, proof)
    assert not log.verify_inclusion(head, 0, records[1].leaf, proof)
    assert not log.verify_inclusion(head, 1, records[1].leaf, proof[::-1])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5])
def test_checkpoint_writes_the_head_down(log: ProvenanceLog, cast: Cast, size: int) -> None:
    for n in range(size):
        log.append(RecordKind.EPOCH, digest_of(n), sender=cast.client)
    head = log.tree_head()
    assert ask(log, "checkpoint", sender=cast.stranger) == (size, head.root)
    receipt = log.checkpoint(sender=cast.stranger)
    log.append(RecordKind.EPOCH, digest_of(size), sender=cast.client)
    (point,) = log.checkpoints()
    assert (point.head, point.block, point.transaction) == (
        head,
        receipt.block,
        receipt.transaction,
    )
    _, tree = log.read()
    assert tree.root(size) == head.root


def test_checkpoint_changes_nothing(log: ProvenanceLog, cast: Cast) -> None:
    log.append(RecordKind.EPOCH, DIGEST, sender=cast.client)
    before = log.tree_head()
    log.checkpoint(sender=cast.stranger)
    assert log.tree_head() == before
