"""What sending costs a node: how many requests, and how many questions in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import ape
import pytest

from ml.chain.anvil import AnvilNode
from ml.chain.log_records import RecordKind
from ml.chain.outbox.entry import Entry
from ml.chain.outbox.queue import SenderQueue
from ml.chain.outbox.rpc import Question, Rpc
from ml.chain.provenance_log import ProvenanceLog

PUBLIC_NODES_TAKE = 10
"""Questions in one request, of those that take least."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    """The methods of each request since the list was last emptied."""
    requests: list[list[str]] = []
    ask_all = Rpc.ask_all

    def counted(self: Rpc, questions: Sequence[Question]) -> list[Any]:
        requests.append([method for method, _ in questions])
        return ask_all(self, questions)

    monkeypatch.setattr(Rpc, "ask_all", counted)
    return requests


@pytest.fixture
def record(queue: SenderQueue, append: Any, asked: list[list[str]], node: AnvilNode) -> Any:
    """Record a number in a block of its own, with so many empty ones before it."""
    node.rpc("evm_setAutomine", False)

    def record(number: int, empty: int = 0) -> Entry:
        node.rpc("anvil_mine", hex(empty))
        asked.clear()
        entries = queue.put([append(number)])
        node.rpc("anvil_mine", "0x1")
        (mined,) = queue.wait(entries)
        return mined

    return record


def test_call_takes_three_requests(record: Any, asked: list[list[str]]) -> None:
    for number in (1, 2, 3):
        record(number)
        assert len(asked) == 3
        before, sent, after = asked
        assert {"eth_call", "eth_estimateGas", "eth_getTransactionCount"} < set(before)
        assert sent == ["eth_sendRawTransaction"]
        assert after == ["eth_getBlockByNumber", "eth_getTransactionReceipt"]
        # the latest, the first, and the last that is known of
        assert before.count("eth_getBlockByNumber") == (2 if number == 1 else 3)
        assert len(before) <= PUBLIC_NODES_TAKE


def test_request_is_divided_where_a_node_may_not_take_it(
    record: Any, asked: list[list[str]]
) -> None:
    for number in (1, 2):
        record(number, empty=2)
    record(3)
    still_there, before, *_ = asked
    assert still_there == ["eth_blockNumber", "eth_getBlockByNumber", "eth_getBlockByNumber"]
    assert "eth_call" in before
    assert max(map(len, asked)) <= PUBLIC_NODES_TAKE


def test_call_is_encoded_without_a_class_for_each_error_of_the_contract(
    log: ProvenanceLog, sender: Any, append: Any
) -> None:
    contract = ape.project.ProvenanceLog.at(log.address, fetch_from_explorer=False)
    arguments = (RecordKind.DATA, (1).to_bytes(32, "big"), 1, "")
    order = ProvenanceLog(contract)._order("append", arguments, sender)
    assert order.call.data == append(1).call.data  # as Ape's own way has it
    assert "_errors_" not in vars(contract)
