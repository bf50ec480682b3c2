"""A node that is stopped and started again, as itself or as another chain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ape
import pytest

from ml.chain.anvil import AnvilNode, free_port
from ml.chain.log_records import RecordKind
from ml.chain.node import PersistentNode
from ml.chain.outbox.chain import OtherChain
from ml.chain.outbox.entry import Call, State
from ml.chain.outbox.queue import NotMined, Order
from ml.chain.outbox.rpc import NoAnswer
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.session import connect
from tests.chain.places import kept_apart, network_at

from .agreement import disagreements

DIGEST = b"\x01" * 32


@pytest.fixture(autouse=True)
def _untouched() -> None:
    """Each test has nodes of its own."""


def test_what_a_stopped_node_forgot_is_sent_to_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = PersistentNode(tmp_path / "node", free_port())
    sender = ape.accounts.test_accounts[6]
    monkeypatch.setenv("MODELPROOF_TIMEOUT_S", "1")
    with kept_apart(tmp_path):
        with kept.running() as node, connect(network_at(node)):
            contract = ape.accounts.test_accounts[0].deploy(ape.project.ProvenanceLog)
            node.rpc("evm_setAutomine", False)
            with pytest.raises(NotMined, match=r"ProvenanceLog\.append was sent as 0x"):
                ProvenanceLog(contract).append(RecordKind.DATA, DIGEST, sender=sender)
        monkeypatch.delenv("MODELPROOF_TIMEOUT_S")
        with kept.running() as node, connect(network_at(node)) as session:
            record, _ = ProvenanceLog(contract).append(RecordKind.DATA, DIGEST, sender=sender)
            (entry,) = session.outbox.journal.entries()
            assert (record.index, entry.state, len(entry.attempts)) == (0, State.MINED, 1)
            assert sender.nonce == 1
            assert not disagreements(session.outbox, ProvenanceLog(contract))


def test_node_that_is_gone_leaves_the_entry_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELPROOF_TIMEOUT_S", "0.2")
    with (
        kept_apart(tmp_path),
        AnvilNode("--no-mining") as node,
        connect(network_at(node)) as session,
    ):
        queue = session.outbox.queue(ape.accounts.test_accounts[6])
        node.stop()
        with pytest.raises(NoAnswer, match="no answer from the node"):
            queue.put([_anything(ape.accounts.test_accounts[6])])
        assert session.outbox.journal.entries() == []


def test_node_that_became_another_chain_is_sent_nothing(tmp_path: Path) -> None:
    port = free_port()
    sender = ape.accounts.test_accounts[6]
    with kept_apart(tmp_path):
        with AnvilNode(port=port) as node:
            context = connect(network_at(node))
            session = context.__enter__()
            queue = session.outbox.queue(sender)
        with AnvilNode("--timestamp", "1", port=port) as other:
            with pytest.raises(OtherChain, match=r"the node began with block 0x.*connect again"):
                queue.put([_anything(sender)])
            assert (
                int(other.rpc("eth_getTransactionCount", str(sender.address), "pending"), 16) == 0
            )
        context.__exit__(None, None, None)


def _anything(sender: Any) -> Order:
    return Order(Call(str(sender.address), str(sender.address), b""))
