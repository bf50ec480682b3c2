"""What a reorganisation removed and the contract does not take yet is held, and not given up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

import ape
import pytest

from ml.chain.anvil import AnvilNode
from ml.chain.commitment import details_fields, details_hash
from ml.chain.outbox.chain import Chain
from ml.chain.outbox.entry import Entry, State
from ml.chain.outbox.fees import Fees
from ml.chain.outbox.locks import StillHeld
from ml.chain.outbox.opening import Outbox
from ml.chain.outbox.queue import Order
from ml.chain.outbox.signing import sign
from ml.chain.outbox.trials import Reverts
from ml.chain.refusals import refusal, reverted_with
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session
from tests.contracts.story import Cast, Story, weights_of

from .conftest import at_once


@dataclass(frozen=True)
class Removed:
    """A registration and its validation, of one machine each, after their blocks are gone."""

    story: Story
    trainer: Outbox
    validator: Outbox
    registered: Entry
    validated: Entry
    validation: Order


@pytest.fixture(autouse=True)
def _untouched(node: AnvilNode) -> Iterator[None]:
    """Anvil cannot go back to before what it undid."""
    yield
    node.rpc("anvil_dropAllTransactions")
    node.rpc("evm_setAutomine", True)


@pytest.fixture(scope="module")
def registry(connected: Session) -> ModelRegistry:
    return ModelRegistry(ape.accounts.test_accounts[0].deploy(ape.project.ModelRegistry))


@pytest.fixture
def story(registry: ModelRegistry, cast: Cast) -> Story:
    return Story.begin(registry, cast)


@pytest.fixture
def removed(story: Story, cast: Cast, open_outbox: Any, node: AnvilNode) -> Removed:
    begun = int(node.rpc("eth_blockNumber"), 16)
    trainer, validator = open_outbox("trainer"), open_outbox("validator")
    registration, validation = orders(story)
    (registered,) = put(trainer, cast.trainer, registration)
    (validated,) = put(validator, cast.validator, validation)
    node.rpc("anvil_reorg", int(node.rpc("eth_blockNumber"), 16) - begun, [])
    assert story.state.latest == 0
    return Removed(story, trainer, validator, registered, validated, validation)


def orders(story: Story) -> tuple[Order, Order]:
    """To register the first version, and to validate it."""
    details = story.due()
    hashed = details_hash(story.id, 1, story.cast.trainer.address, details, "")
    story.said[1] = (weights_of(1), hashed)
    arguments = (story.id, 1, weights_of(1), details_fields(details), "")
    evaluated = (story.id, astuple(story.evaluation()), "")
    return (
        story.registry._order("register", arguments, story.cast.trainer),
        story.registry._order("validate", evaluated, story.cast.validator),
    )


def put(outbox: Outbox, sender: Any, order: Order) -> list[Entry]:
    queue = outbox.queue(sender)
    return queue.wait(queue.put([order]))


def now(outbox: Outbox, entry: Entry) -> Entry:
    return outbox.journal.entry(entry.id)


def test_entry_that_follows_from_what_is_not_back_is_held_and_sent_again_when_it_is(
    removed: Removed,
) -> None:
    removed.validator.keeper.restore()
    held = now(removed.validator, removed.validated)
    assert held.is_held
    assert "removed it, and the contract would refuse it now" in held.failure
    removed.trainer.keeper.restore()
    removed.validator.keeper.restore()
    queue = removed.validator.keyless_queue(removed.validated.call.sender)
    (again,) = queue.wait([held])
    assert (again.state, again.latest, again.failure) == (State.MINED, held.latest, "")
    assert removed.story.state.current == 1


def test_same_call_as_what_is_held_is_refused_with_the_contracts_reason(
    removed: Removed, cast: Cast
) -> None:
    queue = removed.validator.queue(cast.validator)
    with pytest.raises(Reverts) as caught:
        queue.put([removed.validation])
    errors = removed.story.registry.contract.contract_type.errors
    assert refusal(reverted_with(caught.value), errors).name == "VersionIsNotPending"
    assert len(removed.validator.journal.entries()) == 1


def test_held_entry_gives_its_nonce_to_what_can_be_sent_and_gets_another(
    removed: Removed, cast: Cast, append: Any, recorded: Any
) -> None:
    queue = removed.validator.queue(cast.validator)
    (other,) = queue.wait(queue.put([append(7_001, cast.validator)]))
    assert (other.nonce, other.state) == (removed.validated.nonce, State.MINED)
    removed.trainer.keeper.restore()
    queue.settle()
    (again,) = queue.wait([removed.validated])
    assert (again.nonce, again.state) == (other.nonce + 1, State.MINED)
    assert removed.story.state.current == 1
    assert recorded()[-1] == 7_001


def test_held_entry_whose_nonce_was_used_and_that_will_never_do_is_refused(
    removed: Removed, cast: Cast, append: Any
) -> None:
    queue = removed.validator.queue(cast.validator)
    queue.wait(queue.put([append(7_002, cast.validator)]))
    queue.settle()
    refused = now(removed.validator, removed.validated)
    assert refused.state is State.REFUSED
    assert refused.failure.startswith("its nonce was used up, and the contract would refuse it")


def test_restoring_that_was_interrupted_is_finished_by_the_next(
    story: Story, cast: Cast, open_outbox: Any, node: AnvilNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = int(node.rpc("eth_blockNumber"), 16)
    outbox = open_outbox()
    for sender, order in zip((cast.trainer, cast.validator), orders(story), strict=True):
        put(outbox, sender, order)
    node.rpc("anvil_reorg", int(node.rpc("eth_blockNumber"), 16) - begun, [])

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Chain, "send", interrupted)
        with pytest.raises(KeyboardInterrupt):
            outbox.keeper.restore()
    open_outbox().keeper.restore()
    entries = outbox.journal.entries()
    assert outbox.keeper.chain.knows(entries) == [True, True]
    for entry in entries:
        outbox.keyless_queue(entry.call.sender).wait([entry])
    assert story.state.current == 1


def test_refusal_in_a_block_that_is_gone_is_undone_and_the_entry_sent_again(
    story: Story, cast: Cast, open_outbox: Any, node: AnvilNode
) -> None:
    story.register()
    evaluated = (story.id, astuple(story.evaluation()), "")
    validation = story.registry._order("validate", evaluated, cast.validator)
    discard = story.registry._order("discard", (story.id, 1, "too late"), cast.operator)
    outbox = open_outbox()
    node.rpc("evm_setAutomine", False)
    (validated,) = outbox.queue(cast.validator).put([validation])
    node.rpc("eth_sendTransaction", at_once(discard.call))
    node.rpc("anvil_mine", "0x1")
    (refused,) = outbox.queue(cast.validator).wait([validated])
    assert (refused.state, refused.is_in_a_block) == (State.REFUSED, True)
    node.rpc("anvil_reorg", 1, [])
    outbox.keeper.restore()
    node.rpc("anvil_mine", "0x1")
    (again,) = outbox.queue(cast.validator).wait([validated])
    assert (again.state, again.latest) == (State.MINED, refused.latest)
    assert story.state.current == 1


def test_attempt_that_was_mined_is_sent_again_rather_than_a_later_one(
    connected: Session, open_outbox: Any, append: Any, sender: Any, node: AnvilNode
) -> None:
    outbox = open_outbox()
    queue = outbox.queue(sender)
    node.rpc("evm_setAutomine", False)
    (entry,) = queue.put([append(7_003)])
    last = entry.latest
    dearer = Fees(2 * last.max_fee, 2 * last.priority_fee)
    later = sign(connected.provider, sender, entry.call, entry.nonce, last.gas, dearer)
    outbox.journal.add_attempt(entry, later)  # and its process was killed before it sent it
    node.rpc("anvil_mine", "0x1")
    queue.wait([entry])
    node.rpc("anvil_reorg", 1, [])
    outbox.keeper.restore()
    node.rpc("anvil_mine", "0x1")
    (again,) = queue.wait([entry])
    assert (again.state, again.mined) == (State.MINED, entry.latest)


def test_removed_entry_that_was_signed_above_the_cap_is_held(
    removed: Removed, open_outbox: Any, node: AnvilNode
) -> None:
    entry = removed.registered
    thrifty = open_outbox("trainer", fee_cap=entry.latest.max_fee - 1)
    thrifty.keeper.restore()
    assert (
        f"removed it, and entry {entry.id} was signed to pay up to" in now(thrifty, entry).failure
    )
    assert removed.story.state.latest == 0
    removed.trainer.keeper.restore()
    removed.trainer.keyless_queue(entry.call.sender).wait([entry])
    assert removed.story.state.latest == 1


def test_one_at_a_time_sends_again_what_was_removed(removed: Removed, open_outbox: Any) -> None:
    other = open_outbox("trainer")
    other._locks._patience_s = 0.05
    with (
        removed.trainer._locks.hold("restoring"),
        pytest.raises(StillHeld, match=r"another process has held .*restoring\.lock"),
    ):
        other.keeper.restore()
    assert now(other, removed.registered).state is State.MINED  # as it was
