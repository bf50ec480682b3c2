"""An entry gets another nonce only once nothing can bring it into a block with its own."""

from __future__ import annotations

from typing import Any

import ape
import pytest

from ml.chain.anvil import AnvilNode
from ml.chain.outbox.chain import Chain
from ml.chain.outbox.entry import Entry, State
from ml.chain.outbox.opening import Outbox
from ml.chain.outbox.queue import SenderQueue
from ml.errors import ModelproofError


def overtake(entry: Entry, sender: Any, node: AnvilNode) -> None:
    """Use an entry's nonce for something that no journal knows of; the node forgets the entry."""
    node.rpc("anvil_dropTransaction", entry.latest.hash)
    node.rpc("evm_setAutomine", True)
    sender.transfer(ape.accounts.test_accounts[0], 1)
    node.rpc("evm_setAutomine", False)


@pytest.fixture
def outbox(open_outbox: Any) -> Outbox:
    return open_outbox(confirmations=2)


@pytest.fixture
def waiting(outbox: Outbox, append: Any, sender: Any, node: AnvilNode) -> Entry:
    node.rpc("evm_setAutomine", False)
    return outbox.queue(sender).put([append(1)])[0]


def test_nonce_that_is_used_up_is_replaced_once_that_is_confirmed(
    outbox: Outbox, waiting: Entry, sender: Any, recorded: Any, node: AnvilNode
) -> None:
    overtake(waiting, sender, node)
    node.rpc("anvil_mine", "0x1")
    queue = outbox.queue(sender)
    queue.settle()
    assert outbox.journal.entry(waiting.id).attempts == waiting.attempts
    with pytest.raises(ModelproofError, match="is not used in a confirmed block"):
        queue.drop(waiting)
    with pytest.raises(ModelproofError, match="is not confirmed: drop the entry once that is"):
        queue.cancel(waiting)
    node.rpc("anvil_mine", "0x1")
    queue.settle()
    node.rpc("anvil_mine", "0x3")
    (mined,) = queue.wait([waiting])
    assert (mined.nonce, mined.state) == (waiting.nonce + 1, State.MINED)
    assert recorded() == [1]


def test_transaction_that_the_node_knows_of_is_not_given_another_nonce(
    queue: SenderQueue,
    append: Any,
    sender: Any,
    node: AnvilNode,
    open_outbox: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where it has not got round to the receipt of what it mined."""
    (entry,) = queue.put([append(1)])
    with monkeypatch.context() as patch:
        patch.setattr(Chain, "find_all", lambda *_: (0, {}))
        node.rpc("anvil_mine", "0x1")
        queue.settle()
        queue.settle()
    outbox = open_outbox()
    assert outbox.journal.entry(entry.id).attempts == entry.attempts
    (mined,) = outbox.queue(sender).wait([entry])
    assert mined.state is State.MINED
