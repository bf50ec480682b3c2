"""The queue: explicit nonces, many in flight, one transaction for one thing that is meant."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ape
import pytest

from ml.chain.anvil import AnvilNode
from ml.chain.outbox.answers import Answer
from ml.chain.outbox.chain import Chain
from ml.chain.outbox.entry import State
from ml.chain.outbox.fees import TooDear
from ml.chain.outbox.journal import Journal
from ml.chain.outbox.queue import NotMined, Order, SenderQueue
from ml.chain.outbox.trials import Reverts
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.refusals import refusal
from ml.errors import ModelproofError
from tests.contracts.story import Cast


def nonce(node: AnvilNode, account: Any, block: str = "latest") -> int:
    return int(node.rpc("eth_getTransactionCount", str(account.address), block), 16)


def test_many_are_in_flight_at_once(
    queue: SenderQueue, append: Any, recorded: Any, node: AnvilNode
) -> None:
    node.rpc("evm_setAutomine", False)
    entries = queue.put([append(number) for number in range(1, 31)])
    assert [one.nonce for one in entries] == list(range(entries[0].nonce, entries[0].nonce + 30))
    node.rpc("anvil_mine", "0x1")
    mined = queue.wait(entries)
    assert len({one.inclusion.block for one in mined if one.inclusion}) == 1
    assert recorded() == list(range(1, 31))


def test_pipeline_of_which_one_would_be_refused_sends_nothing(
    queue: SenderQueue, append: Any, recorded: Any, sender: Any, node: AnvilNode
) -> None:
    queue.wait(queue.put([append(1)]))
    before = nonce(node, sender)
    queue.deliver(queue.put([]))
    with pytest.raises(Reverts):
        queue.put([append(2), append(0), append(3)])  # a digest of zeros was never computed
    assert (recorded(), nonce(node, sender, "pending")) == ([1], before)


def test_transaction_that_reverts_in_a_block_is_refused_with_the_contracts_reason(
    queue: SenderQueue, append: Any, log: ProvenanceLog, node: AnvilNode
) -> None:
    node.rpc("evm_setAutomine", False)
    entries = queue.put([append(1), append(1)])  # each would do alone
    node.rpc("anvil_mine", "0x1")
    mined, refused = queue.wait(entries)
    assert (mined.state, refused.state) == (State.MINED, State.REFUSED)
    told = refusal(refused.reverted_with, log.contract.contract_type.errors)
    assert (told.name, told.values["index"]) == ("AlreadyRecorded", 0)


def test_refusal_in_a_block_is_told_once_it_is_confirmed(
    open_outbox: Any, append: Any, sender: Any, node: AnvilNode
) -> None:
    clock = iter(range(10_000))
    queue = open_outbox(confirmations=2, timeout_s=5, clock=lambda: next(clock)).queue(sender)
    node.rpc("evm_setAutomine", False)
    entries = queue.put([append(1), append(1)])
    node.rpc("anvil_mine", "0x2")
    with pytest.raises(NotMined, match="are in blocks, but not confirmed after 5 seconds"):
        queue.wait(entries[1:])
    node.rpc("anvil_mine", "0x1")
    (refused,) = queue.wait(entries[1:])
    assert refused.state is State.REFUSED


def test_same_call_is_sent_once_until_its_result_has_arrived(
    queue: SenderQueue, append: Any, sender: Any, open_outbox: Any, node: AnvilNode
) -> None:
    node.rpc("evm_setAutomine", False)
    (entry,) = queue.put([append(1)])
    other = open_outbox().queue(sender)
    for each in (other, queue):
        (same,) = each.put([append(1)])
        assert (same.id, same.nonce) == (entry.id, entry.nonce)
    assert nonce(node, sender, "pending") == entry.nonce + 1


@pytest.mark.parametrize("killed", ["before it was sent", "after it was mined"])
def test_same_call_meant_twice_at_once_is_made_twice_though_its_process_is_killed(
    repeatable: Order,
    open_outbox: Any,
    cast: Cast,
    node: AnvilNode,
    monkeypatch: pytest.MonkeyPatch,
    killed: str,
) -> None:
    first, before = open_outbox().queue(cast.admin), nonce(node, cast.admin)
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        if killed == "before it was sent":
            patch.setattr(Chain, "send", raises(KeyboardInterrupt))
        first.wait(first.put([repeatable, repeatable]))
    outbox = open_outbox()
    queue = outbox.queue(cast.admin)
    queue.deliver(queue.wait(queue.put([repeatable, repeatable])))
    assert [one.state for one in outbox.journal.entries()] == [State.MINED] * 2
    assert nonce(node, cast.admin, "pending") == before + 2
    queue.wait(queue.put([repeatable]))  # meant again, now that the result is known
    assert nonce(node, cast.admin) == before + 3


def raises(error: type[BaseException]) -> Callable[..., Any]:
    def function(*_: object) -> None:
        raise error

    return function


def test_call_whose_result_was_told_otherwise_is_made_again(
    repeatable: Order, open_outbox: Any, cast: Cast, node: AnvilNode
) -> None:
    queue = open_outbox().queue(cast.admin)
    node.rpc("evm_setAutomine", False)
    (entry,) = queue.put([repeatable])
    with pytest.raises(ModelproofError, match="is sent: it has no result to tell"):
        queue.tell(entry)
    node.rpc("anvil_mine", "0x1")
    assert queue.tell(entry).reported
    (again,) = open_outbox().queue(cast.admin).put([repeatable])
    assert (again.id, again.occurrence) == (entry.id + 1, 1)


def test_result_that_arrives_while_others_are_written_down_is_told_with_the_next(
    open_outbox: Any, append: Any, sender: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from another thread, which sends from an account of its own."""
    outbox = open_outbox()
    queue, add = outbox.queue(sender), Journal.add
    first, second = queue.wait(queue.put([append(1), append(2)]))
    queue.deliver([first])

    def meanwhile(*arguments: Any) -> Any:
        added = add(*arguments)
        queue.deliver([second])
        return added

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", meanwhile)
        queue.put([append(3)])
    assert [one.reported for one in outbox.journal.again([first.id, second.id])] == [True, False]
    queue.put([append(4)])
    assert outbox.journal.entry(second.id).reported


def test_transaction_that_a_node_may_have_taken_is_finished_and_not_made_again(
    queue: SenderQueue, append: Any, recorded: Any, node: AnvilNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where it answers with an error of its own after it took it, and does not say so."""
    node.rpc("evm_setAutomine", False)
    take = Chain.send
    with monkeypatch.context() as patch:
        patch.setattr(
            Chain,
            "send",
            lambda chain, attempts: take(chain, attempts) and [(Answer.UNKNOWN, "internal error")],
        )
        patch.setattr(Chain, "knows", lambda _, entries: [False] * len(entries))
        with pytest.raises(ModelproofError, match="internal error"):
            queue.put([append(1)])
    (entry,) = queue.put([append(1)])
    node.rpc("anvil_mine", "0x1")
    (mined,) = queue.wait([entry])
    assert mined.state is State.MINED
    assert recorded() == [1]


def test_stuck_transaction_is_replaced_by_one_that_pays_an_eighth_more(
    open_outbox: Any, append: Any, recorded: Any, sender: Any, node: AnvilNode
) -> None:
    node.rpc("evm_setAutomine", False)
    clock = iter(range(0, 10_000, 10))
    queue = open_outbox(stuck_after_s=15, timeout_s=100, clock=lambda: next(clock)).queue(sender)
    (entry,) = queue.put([append(1)])
    with pytest.raises(NotMined, match="append 1 was sent as 0x"):
        queue.wait([entry])
    outbox = open_outbox()
    (waiting,) = outbox.journal.entries()
    assert len(waiting.attempts) > 1
    for before, after in zip(waiting.attempts, waiting.attempts[1:], strict=False):
        assert after.nonce == before.nonce
        assert after.max_fee * 8 > before.max_fee * 9
        assert after.priority_fee * 8 > before.priority_fee * 9
    node.rpc("anvil_mine", "0x1")
    (mined,) = outbox.queue(sender).wait([waiting])
    assert mined.inclusion
    assert mined.inclusion.transaction == waiting.latest.hash
    assert recorded() == [1]


def test_sender_that_cannot_pay_for_a_replacement_is_told_so(
    open_outbox: Any, append: Any, sender: Any, node: AnvilNode
) -> None:
    node.rpc("evm_setAutomine", False)
    clock = iter(range(0, 10_000, 10))
    queue = open_outbox(stuck_after_s=15, timeout_s=100, clock=lambda: next(clock)).queue(sender)
    (entry,) = queue.put([append(1)])
    cost = entry.latest.gas * entry.latest.max_fee
    node.rpc("anvil_setBalance", str(sender.address), hex(cost))
    with pytest.raises(NotMined, match=r"pays more: 0x.* one that pays more takes up to .* fund"):
        queue.wait([entry])
    (waiting,) = open_outbox().journal.entries()
    assert waiting.attempts == entry.attempts


def test_fees_stay_below_the_users_cap(
    open_outbox: Any, append: Any, sender: Any, node: AnvilNode
) -> None:
    node.rpc("evm_setAutomine", False)
    with pytest.raises(TooDear, match=r"above the cap of 0\.000000001: wait, or raise MODELPROOF"):
        open_outbox(fee_cap=1).queue(sender).put([append(1)])
    cap = int(node.rpc("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16) + 2
    (entry,) = open_outbox(fee_cap=cap).queue(sender).put([append(1)])
    assert entry.latest.max_fee == cap


def test_what_was_signed_under_a_higher_cap_is_not_sent_again_unsaid(
    open_outbox: Any, append: Any, recorded: Any, sender: Any, node: AnvilNode
) -> None:
    node.rpc("evm_setAutomine", False)
    first, second = open_outbox().queue(sender).put([append(1), append(2)])
    node.rpc("anvil_dropAllTransactions")
    thrifty = open_outbox(fee_cap=first.latest.max_fee - 1)
    with pytest.raises(TooDear, match=rf"^entry {first.id} was signed to pay up to .* not sent"):
        thrifty.queue(sender).settle()
    assert thrifty.keeper.chain.knows([first, second]) == [False, False]
    assert {one.state for one in thrifty.journal.entries()} == {State.SENT}
    node.rpc("evm_setAutomine", True)
    assert thrifty.queue(sender).cancel(first).state is State.DROPPED
    open_outbox().queue(sender).settle()
    open_outbox().queue(sender).wait([second])
    assert recorded() == [2]


def test_nonce_that_another_program_used_is_not_waited_for(
    open_outbox: Any, append: Any, recorded: Any, sender: Any, node: AnvilNode
) -> None:
    node.rpc("evm_setAutomine", False)
    (entry,) = open_outbox().queue(sender).put([append(1)])
    node.rpc("anvil_dropTransaction", entry.latest.hash)
    node.rpc("evm_setAutomine", True)
    sender.transfer(ape.accounts.test_accounts[0], 1)  # with the same nonce, unknown to the journal
    queue = open_outbox().queue(sender)
    queue.settle()
    (mined,) = queue.wait([entry])
    assert mined.nonce == entry.nonce + 1
    assert recorded() == [1]


def test_gap_before_a_transaction_is_filled(
    open_outbox: Any, append: Any, recorded: Any, sender: Any, node: AnvilNode
) -> None:
    node.rpc("evm_setAutomine", False)
    outbox = open_outbox()
    first, second = outbox.queue(sender).put([append(1), append(2)])
    node.rpc("anvil_dropAllTransactions")
    outbox.journal.give_up(first, State.DROPPED, "forgotten")
    node.rpc("evm_setAutomine", True)
    queue = open_outbox().queue(sender)
    queue.settle()
    (mined,) = queue.wait([second])
    assert mined.state is State.MINED
    assert recorded() == [2]
    assert nonce(node, sender) == second.nonce + 1


def test_transaction_that_the_node_lost_is_sent_again_as_it_was(
    open_outbox: Any, append: Any, recorded: Any, sender: Any, node: AnvilNode
) -> None:
    node.rpc("evm_setAutomine", False)
    (entry,) = open_outbox().queue(sender).put([append(1)])
    node.rpc("anvil_dropAllTransactions")
    node.rpc("evm_setAutomine", True)
    queue = open_outbox().keyless_queue(str(sender.address))
    queue.settle()
    (mined,) = queue.wait([entry])
    assert mined.attempts == entry.attempts
    assert recorded() == [1]


def test_sender_with_nothing_to_pay_with_is_told_before_anything_is_written_down(
    open_outbox: Any, append: Any, sender: Any, node: AnvilNode
) -> None:
    node.rpc("anvil_setBalance", str(sender.address), "0x1")
    outbox = open_outbox()
    with pytest.raises(ModelproofError, match=r"has 0\.000000 ether on this chain, and this takes"):
        outbox.queue(sender).put([append(1)])
    assert outbox.journal.entries() == []


def test_jumping_time_of_day_changes_nothing(
    queue: SenderQueue, append: Any, recorded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = iter([0.0, 4e9, 1.0, 2e9, 5.0] * 1000)
    monkeypatch.setattr("time.time", lambda: next(jumps))
    queue.wait(queue.put([append(1)]))
    assert recorded() == [1]


def test_dropped_entry_is_not_sent_again(
    open_outbox: Any, append: Any, recorded: Any, sender: Any, node: AnvilNode
) -> None:
    node.rpc("evm_setAutomine", False)
    outbox = open_outbox()
    queue = outbox.queue(sender)
    (entry,) = queue.put([append(1)])
    with pytest.raises(ModelproofError, match=rf"entry {entry.id} may still be mined: its nonce"):
        queue.drop(entry)
    node.rpc("anvil_dropAllTransactions")
    assert queue.drop(entry, anyway=True).state is State.DROPPED
    node.rpc("evm_setAutomine", True)
    open_outbox().queue(sender).settle()
    assert recorded() == []


def test_cancelled_entry_makes_way_for_a_transaction_that_does_nothing(
    open_outbox: Any, append: Any, recorded: Any, sender: Any, node: AnvilNode
) -> None:
    node.rpc("evm_setAutomine", False)
    queue = open_outbox(sleep=lambda _: node.rpc("anvil_mine", "0x1")).queue(sender)
    (entry,) = queue.put([append(1)])
    cancelled = queue.cancel(entry)
    assert (cancelled.state, recorded()) == (State.DROPPED, [])
    assert nonce(node, sender) == entry.nonce + 1
