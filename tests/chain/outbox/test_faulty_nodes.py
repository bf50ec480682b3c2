"""Whatever a node answers, what is meant once is on record once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from ml.artifact.keccak import keccak256
from ml.chain.anvil import AnvilNode
from ml.chain.log_records import Recorded, RecordKind
from ml.chain.outbox.entry import Entry, State
from ml.chain.outbox.queue import Order
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.refusals import ContractRefused
from ml.chain.session import Session, connect
from tests.chain.places import kept_apart
from tests.contracts.story import Cast

from .agreement import disagreements
from .conftest import at_once
from .faulty_node import (
    Fault,
    FaultyNode,
    delays,
    drops_the_answer,
    drops_the_request,
    falsifies,
    refuses,
    repeats,
    searches_no_more_than,
    truncates,
)

DIGESTS = (number.to_bytes(32, "big") for number in itertools.count(1))
METHODS = (
    "eth_getTransactionCount",
    "eth_sendRawTransaction",
    "eth_getTransactionReceipt",
)
FAULTS = (drops_the_request, drops_the_answer, delays, repeats, truncates)
LIES = {
    "a hash of something else": ("eth_sendRawTransaction", falsifies(lambda _: "0x" + "ab" * 32)),
    "that it has it already": ("eth_sendRawTransaction", refuses("already known")),
    "that the nonce is used": ("eth_sendRawTransaction", refuses("nonce too low")),
    "that it pays too little": (
        "eth_sendRawTransaction",
        refuses("max fee per gas less than block base fee"),
    ),
    "that nothing was mined": ("eth_getTransactionReceipt", falsifies(lambda _: None)),
    "another's receipt": (
        "eth_getTransactionReceipt",
        falsifies(lambda told: told and {**told, "transactionHash": "0x" + "ab" * 32}),
    ),
    "another block": (
        "eth_getTransactionReceipt",
        falsifies(lambda told: told and {**told, "blockHash": "0x" + "ab" * 32}),
    ),
    "that it is too busy to estimate": ("eth_estimateGas", refuses("rate limit exceeded")),
    "that it is too busy for receipts": (
        "eth_getTransactionReceipt",
        refuses("transaction indexing is in progress"),
    ),
    "that it failed to take what it took": ("eth_sendRawTransaction", refuses("internal error")),
    "no number": ("eth_getTransactionCount", falsifies(lambda _: "many")),
    "a nonce to come": ("eth_getTransactionCount", falsifies(lambda told: hex(int(told, 16) + 3))),
}


@pytest.fixture(scope="module")
def faulty(node: AnvilNode) -> Iterator[FaultyNode]:
    with FaultyNode(node.port) as between:
        yield between


@pytest.fixture(scope="module")
def through(
    faulty: FaultyNode, log: ProvenanceLog, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Session]:
    """Connected through the faulty node, which is honest so far."""
    with (
        kept_apart(tmp_path_factory.mktemp("through")),
        connect(f"ethereum:dev:{faulty.url}") as session,
    ):
        yield session


@pytest.fixture(autouse=True)
def _untouched() -> None:
    """The tests share a journal, which would not have anything taken back."""


@pytest.fixture(autouse=True)
def _agreed(faulty: FaultyNode, through: Session, log: ProvenanceLog) -> Iterator[None]:
    yield
    faulty.left = 0
    assert not disagreements(through.outbox, log)


@pytest.fixture
def send_once(faulty: FaultyNode, through: Session, log: ProvenanceLog, sender: Any) -> Any:
    """Record a digest of the test's own as a script does; returns what became of it."""

    def send_once(fault: Fault, method: str) -> tuple[list[Recorded], list[Entry]]:
        digest = next(DIGESTS)
        known = through.outbox.journal.entries()
        faulty.plan(fault, method)
        ProvenanceLog(log.contract).append(RecordKind.DATA, digest, sender=sender)
        assert faulty.struck
        entries = through.outbox.journal.entries()[len(known) :]
        return log.recorded(digest=digest), [one for one in entries if one.call.to == log.address]

    return send_once


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fault", FAULTS)
def test_record_is_made_once_whatever_happens_on_the_way(
    send_once: Any, method: str, fault: Fault
) -> None:
    records, (entry,) = send_once(fault, method)
    assert [one.transaction for one in records] == [entry.latest.hash]
    assert entry.state is State.MINED


@pytest.mark.parametrize("lie", LIES)
def test_record_is_made_once_whatever_a_node_says(send_once: Any, lie: str) -> None:
    method, fault = LIES[lie]
    records, (entry,) = send_once(fault, method)
    assert len(records) == 1
    assert entry.state is State.MINED


@pytest.mark.parametrize("method", ["eth_call", "eth_estimateGas"])
def test_refusal_that_one_answer_alone_tells_is_told_and_nothing_written_down(
    faulty: FaultyNode, through: Session, log: ProvenanceLog, sender: Any, method: str
) -> None:
    known = through.outbox.journal.entries()
    data = keccak256(b"DigestIsZero(uint8)")[:4] + bytes([0] * 31 + [RecordKind.DATA])
    error = {"code": 3, "message": "execution reverted", "data": "0x" + data.hex()}
    faulty.plan(falsifies(lambda _: {"error": error}), method)
    with pytest.raises(ContractRefused) as caught:
        ProvenanceLog(log.contract).append(RecordKind.DATA, next(DIGESTS), sender=sender)
    assert caught.value.name == "DigestIsZero"
    assert faulty.struck == 1
    assert through.outbox.journal.entries() == known


def test_what_happened_since_is_asked_for_in_portions(
    faulty: FaultyNode, through: Session, repeatable: Order, cast: Cast, node: AnvilNode
) -> None:
    outbox = through.outbox
    queue = outbox.queue(cast.admin)
    (entry,) = queue.wait(queue.put([repeatable]))
    node.rpc("anvil_mine", "0x20")
    faulty.plan(searches_no_more_than(5), "eth_getLogs", times=1_000)
    (again,) = queue.put([repeatable])
    assert again.id == entry.id
    assert faulty.struck > 32 / 5
    node.rpc("eth_sendTransaction", at_once(repeatable.call))
    node.rpc("anvil_mine", "0x20")
    (another,) = queue.wait(queue.put([repeatable]))
    assert another.id == entry.id + 1
