"""What a reorganisation removes is sent again: the same bytes, in the same order."""

from __future__ import annotations

from typing import Any

import ape
import pytest

from ml.chain.anvil import AnvilNode
from ml.chain.outbox.entry import State
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session
from tests.contracts.story import Cast, Story

DEEPEST = 30


@pytest.fixture(autouse=True)
def _untouched(node: AnvilNode, log: ProvenanceLog) -> None:
    """Nothing that earlier tests did is in reach; Anvil cannot go back to before what it undid."""
    node.rpc("anvil_mine", hex(DEEPEST + 1))


@pytest.mark.parametrize("depth", range(1, DEEPEST + 1))
def test_fresh_records_survive_a_reorganisation(
    open_outbox: Any, append: Any, recorded: Any, sender: Any, node: AnvilNode, depth: int
) -> None:
    queue = open_outbox().queue(sender)
    numbers = [100 * depth + number for number in range(1, 6)]
    entries = queue.wait(queue.put([append(number) for number in numbers]))
    before = {one.id: one.latest.hash for one in entries}
    node.rpc("anvil_reorg", depth, [])
    outbox = open_outbox()
    outbox.keeper.restore()
    again = outbox.queue(sender).wait([outbox.journal.entry(one.id) for one in entries])
    assert {one.state for one in again} == {State.MINED}
    assert {one.id: one.inclusion.transaction for one in again if one.inclusion} == before
    assert [number for number in recorded() if number in numbers] == numbers


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
