"""The log's client and nodes that lie: believed is only what the chain's state commits to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ape
import pytest

from ml.chain.log_records import RecordKind
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.refusals import ContractRefused
from ml.chain.session import Session, connect
from ml.errors import ModelproofError, NotVerified
from tests.chain.conftest import network_at
from tests.chain.lying_node import LyingNode, cut, with_text, with_topic, with_word
from tests.contracts.story import Cast

DIGESTS = [bytes([n]) * 32 for n in range(1, 4)]
KIND, COUNT, TIME = range(3)
"""The words of an event's data."""


@pytest.fixture
def log(session: Session, cast: Cast) -> ProvenanceLog:
    """Three records of one client."""
    contract = cast.deployer.deploy(ape.project.ProvenanceLog)
    log = ProvenanceLog(contract, contract.creation_metadata.receipt.block_number)
    for digest in DIGESTS:
        log.append(RecordKind.EPOCH, digest, sender=cast.client, metadata="honest")
    return log


@pytest.fixture
def lying(node: Any, log: ProvenanceLog) -> Any:
    """All goes through it from here on; honest until it is given a lie."""
    with LyingNode(node.port) as liar, connect(network_at(liar)):
        yield liar


LIES: dict[str, Callable[[list[Any]], Any]] = {
    "metadata": with_text("honest", "horrid"),
    "kind": with_word(KIND, RecordKind.DATA),
    "no kind": with_word(KIND, 9),
    "count": with_word(COUNT, 2),
    "time": with_word(TIME, 1_000),
    "index": with_topic(1, (7).to_bytes(32, "big")),
    "submitter": with_topic(2, bytes(12) + b"\x11" * 20),
    "digest": with_topic(3, b"\x09" * 32),
    "cut": cut(100),
}

OMISSIONS: dict[str, Callable[[list[Any]], Any]] = {
    "nothing": lambda logs: [],
    "all but the first": lambda logs: logs[1:],
    "backwards": lambda logs: logs[::-1],
    "one twice": lambda logs: logs[:1] + logs,
}


def test_honest_node_is_believed(lying: LyingNode, log: ProvenanceLog, cast: Cast) -> None:
    records, tree = log.read()
    assert [one.statement.digest for one in records] == DIGESTS
    assert [one.metadata for one in log.recorded()] == ["honest"] * 3
    assert tree.root() == log.tree_head().root


@pytest.mark.parametrize("what", LIES)
def test_changed_event_is_not_believed(lying: LyingNode, log: ProvenanceLog, what: str) -> None:
    lying.lie = LIES[what]
    for read in (log.recorded, log.read):
        with pytest.raises(NotVerified, match="ask another node"):
            read()


@pytest.mark.parametrize("lie", OMISSIONS.values(), ids=OMISSIONS)
def test_missing_moved_or_doubled_record_is_noticed_in_the_whole_log(
    lying: LyingNode, log: ProvenanceLog, lie: Any
) -> None:
    lying.lie = lie
    with pytest.raises(NotVerified, match="the log's root commits to"):
        log.read()


def test_record_of_another_digest_is_not_an_answer(lying: LyingNode, log: ProvenanceLog) -> None:
    lying.lie = with_topic(3, DIGESTS[1])
    with pytest.raises(NotVerified, match="not asked for"):
        log.recorded(digest=DIGESTS[0])


def test_log_is_read_as_it_was_at_one_moment(
    log: ProvenanceLog, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = log.tree_head()
    log.append(RecordKind.EPOCH, b"\x07" * 32, sender=cast.client)
    monkeypatch.setattr(log, "tree_head", lambda: head)  # a record comes right after it was read
    records, tree = log.read()
    assert (len(records), tree.root()) == (head.size, head.root)


REFUSALS: dict[str, tuple[Callable[[ProvenanceLog, Cast], Any], str]] = {
    "AlreadyRecorded": (
        lambda log, cast: log.append(RecordKind.DATA, DIGESTS[0], sender=cast.client),
        "recorded 0x0101.* before, as record 0 at 20.*: the first time stays",
    ),
    "UnknownRecord": (
        lambda log, cast: log.record(cast.stranger.address, DIGESTS[0]),
        "has no record of 0x0101",
    ),
    "RecordIsNotABatch": (
        lambda log, cast: log.verify_batched(
            cast.client.address, DIGESTS[0], log.recorded()[0].statement, []
        ),
        "is of kind EPOCH, not a BATCH",
    ),
    "KindIsNone": (
        lambda log, cast: log.append(RecordKind.NONE, DIGESTS[0], sender=cast.stranger),
        "has to be of a kind",
    ),
    "DigestIsZero": (
        lambda log, cast: log.append(RecordKind.DATA, bytes(32), sender=cast.client),
        "the digest is zero",
    ),
    "CountOutOfRange": (
        lambda log, cast: log.append(RecordKind.DATA, DIGESTS[0], sender=cast.stranger, count=0),
        "stands for 1 to 1000000 things, not for 0",
    ),
    "TextTooLong": (
        lambda log, cast: log.append(
            RecordKind.DATA, DIGESTS[0], sender=cast.stranger, metadata="x" * 16_385
        ),
        "a text has 16385 bytes",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_is_told_in_a_sentence(log: ProvenanceLog, cast: Cast, name: str) -> None:
    act, sentence = REFUSALS[name]
    with pytest.raises(ContractRefused, match=sentence) as caught:
        act(log, cast)
    assert caught.value.name == name


def test_value_that_has_no_place_in_the_contract_is_refused(log: ProvenanceLog, cast: Cast) -> None:
    with pytest.raises(ModelproofError, match="append cannot take this"):
        log.append(RecordKind.DATA, b"\x01" * 33, sender=cast.client)
