"""What a reorganisation removes is sent again: the same bytes, in the same order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple
from typing import Any

import ape
import pytest

from ml.chain.anvil import AnvilNode
from ml.chain.outbox.entry import Entry, State
from ml.chain.outbox.keeping import Keeper
from ml.chain.outbox.queue import Order
from ml.chain.outbox.trials import Reverts
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session
from tests.contracts.story import Cast, Story

from .agreement import disagreements
from .conftest import at_once

FIVE = range(1, 6)


@pytest.fixture(autouse=True)
def _untouched(node: AnvilNode) -> Iterator[None]:
    """Anvil cannot go back to before what it undid, so that all tests share a chain and a journal.

    It also loses code after some hundred blocks: few are made.
    """
    yield
    node.rpc("evm_setAutomine", True)


@pytest.fixture(autouse=True)
def _agreed(_untouched: None, connected: Session, log: ProvenanceLog) -> Iterator[None]:
    yield
    assert not disagreements(connected.outbox, log)


@pytest.mark.parametrize("depth", range(1, 31))
def test_fresh_records_survive_a_reorganisation(
    connected: Session, append: Any, recorded: Any, sender: Any, node: AnvilNode, depth: int
) -> None:
    queue = connected.outbox.queue(sender)
    numbers = [100 * depth + number for number in FIVE]
    node.rpc("evm_setAutomine", False)
    entries = queue.put([append(number) for number in numbers])
    node.rpc("anvil_mine", "0x1")
    before = {one.id: one.inclusion.transaction for one in queue.wait(entries) if one.inclusion}
    node.rpc("anvil_reorg", depth, [])
    assert not set(numbers) & set(recorded())
    connected.restore()
    node.rpc("anvil_mine", "0x1")
    again = queue.wait(entries)
    assert {one.state for one in again} == {State.MINED}
    assert {one.id: one.inclusion.transaction for one in again if one.inclusion} == before
    assert recorded() == [100 * each + number for each in range(1, depth + 1) for number in FIVE]


def test_older_record_that_alone_is_gone_is_sent_again(
    connected: Session, append: Any, recorded: Any, sender: Any, node: AnvilNode
) -> None:
    """The newest one that is known of may have been found on the branch that lacks it."""
    queue, other = connected.outbox.queue(sender), ape.accounts.test_accounts[5]
    node.rpc("evm_setAutomine", False)
    older = queue.put([append(5_001)])
    node.rpc("anvil_mine", "0x1")
    queue.wait(older)
    newer = connected.outbox.queue(other).put([append(5_002, other)])
    node.rpc("anvil_reorg", 1, [])
    node.rpc("anvil_mine", "0x1")
    connected.outbox.queue(other).wait(newer)
    assert 5_001 not in recorded()
    connected.restore()
    node.rpc("anvil_mine", "0x1")
    queue.wait(older)
    assert recorded()[-2:] == [5_002, 5_001]


def test_call_is_prepared_after_what_is_gone_was_sent_again(
    connected: Session, append: Any, recorded: Any, sender: Any, node: AnvilNode
) -> None:
    """Both are asked about in one request, and else it would have the other's nonce."""
    queue = connected.outbox.queue(sender)
    node.rpc("evm_setAutomine", False)
    (gone,) = queue.put([append(6_001)])
    node.rpc("anvil_mine", "0x1")
    queue.wait([gone])
    node.rpc("anvil_reorg", 1, [])
    (put,) = queue.put([append(6_002)])
    node.rpc("anvil_mine", "0x1")
    again, mined = queue.wait([gone, put])
    assert (again.mined, mined.nonce) == (gone.latest, gone.nonce + 1)
    assert recorded()[-2:] == [6_001, 6_002]


def entries_of(connected: Session, order: Order) -> list[Entry]:
    """All that the journal has of what nobody was told the result of."""
    return connected.outbox.journal.unreported_of(order.call.operation(connected.chain_id))


def test_call_that_reverted_in_a_block_that_is_gone_is_not_made_twice(
    connected: Session, node: AnvilNode, cast: Cast
) -> None:
    """It may do now, as its bytes are sent again."""
    story = Story.begin(ModelRegistry(cast.deployer.deploy(ape.project.ModelRegistry)), cast)
    story.register()
    evaluated = (story.id, astuple(story.evaluation()), "")
    validation = story.registry._order("validate", evaluated, cast.validator)
    discard = story.registry._order("discard", (story.id, 1, "too late"), cast.operator)
    queue = connected.outbox.queue(cast.validator)
    node.rpc("evm_setAutomine", False)
    put = queue.put([validation])
    node.rpc("eth_sendTransaction", at_once(discard.call))
    node.rpc("anvil_mine", "0x1")
    (refused,) = queue.wait(put)
    assert refused.state is State.REFUSED
    node.rpc("anvil_reorg", 1, [])
    again = queue.put([validation])
    assert entries_of(connected, validation) == again
    node.rpc("anvil_mine", "0x1")
    (mined,) = queue.wait(again)
    assert (mined.id, mined.state, mined.attempts) == (refused.id, State.MINED, refused.attempts)
    assert cast.validator.nonce == mined.nonce + 1
    assert story.state.current == 1


def test_call_whose_block_goes_while_it_is_looked_at_is_not_made_twice(
    connected: Session,
    append: Any,
    recorded: Any,
    sender: Any,
    node: AnvilNode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What happened on the branch without it did not happen after it."""
    queue, order = connected.outbox.queue(sender), append(8_001)
    refusal, times = Keeper.refusal, iter(["first"])

    def meanwhile(keeper: Keeper, entry: Entry) -> Reverts | None:
        if next(times, None):
            node.rpc("anvil_reorg", 1, [])
            other = append(8_002, ape.accounts.test_accounts[5])
            node.rpc("eth_sendTransaction", at_once(other.call))
            node.rpc("anvil_mine", "0x1")
        return refusal(keeper, entry)

    node.rpc("evm_setAutomine", False)
    put = queue.put([order])
    node.rpc("anvil_mine", "0x1")
    (before,) = queue.wait(put)
    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "refusal", meanwhile)
        again = queue.put([order])
    assert entries_of(connected, order) == again
    node.rpc("anvil_mine", "0x1")
    (mined,) = queue.wait(again)
    assert (mined.id, mined.attempts) == (before.id, before.attempts)
    assert recorded()[-2:] == [8_002, 8_001]


def test_records_that_follow_from_each_other_are_sent_again_in_their_order(
    connected: Session, node: AnvilNode, cast: Cast
) -> None:
    story = Story.begin(ModelRegistry(cast.deployer.deploy(ape.project.ModelRegistry)), cast)
    begun = int(node.rpc("eth_blockNumber"), 16)
    story.play(90, 91)
    story.rollback(1, "poisoned")
    before = story.history
    node.rpc("anvil_reorg", int(node.rpc("eth_blockNumber"), 16) - begun, [])
    assert len(story.history) < len(before)
    connected.restore()
    for account in cast:
        connected.outbox.queue(account).settle()
    assert story.history == before
    assert not disagreements(connected.outbox, story.registry)
