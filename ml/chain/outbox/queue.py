"""One sender's queue: nonces are given out one after the other, and receipts awaited together."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from ml.chain.outbox import fees
from ml.chain.outbox.answers import Answer
from ml.chain.outbox.chain import Prospect
from ml.chain.outbox.entry import OPEN, Call, Entry, State
from ml.chain.outbox.fees import TooDear
from ml.chain.outbox.journal import Journal
from ml.chain.outbox.journal_tables import Prepared
from ml.chain.outbox.keeping import Keeper, replaced
from ml.chain.outbox.locks import Locks
from ml.chain.outbox.rpc import Asking
from ml.chain.outbox.trials import Reverts, Tried
from ml.chain.outbox.watching import NotSent, Signer, Watch, not_sent
from ml.errors import ModelproofError

_FIRST_PAUSE_S = 0.001
_GROWTH = 1.5
_LOOK_AGAIN_S = 2.0
"""So long without news, and the queue asks whether the nodes still have what waits."""


_FOR_GOOD = frozenset({Answer.INSUFFICIENT_FUNDS, Answer.OTHER_CHAIN})
"""Answers of a node that surely has not kept the transaction."""


class NotMined(ModelproofError):
    """A transaction was sent and is in no block yet; it stays in the journal."""


@dataclass(frozen=True, slots=True)
class Order:
    """A call that is to be made once."""

    call: Call
    subject: str | None = None
    """The first indexed value of the events that are about the same thing, as a topic."""


class SenderQueue:
    """Sends one account's transactions; other processes may do so at the same time."""

    def __init__(
        self,
        sender: str,
        journal: Journal,
        locks: Locks,
        keeper: Keeper,
        sign: Signer,
        delivered: set[int],
    ) -> None:
        self.sender = sender
        self._journal = journal
        self._locks = locks
        self._keeper = keeper
        self._chain = keeper.chain
        self._settings = keeper.settings
        self._sign = sign
        self._delivered = delivered
        self._watch = Watch(sender, journal, keeper, sign)

    def put(self, orders: Sequence[Order]) -> list[Entry]:
        """Write calls down, send them, and return without waiting for them.

        Either all are sent or none. They must not depend on each other. What an earlier run was to
        do of them, and nobody got to know the result of, is not done again: one that is in a block
        counts if the contract would refuse the same now, or nothing has happened since; else it is
        meant again.

        Returns:
            for each its entry; what the call returned when it was tried is the payload

        Raises:
            Reverts: a contract would refuse one of them.
            TooDear: gas costs more now than the cap allows.
            NotSent, NoAnswer, JournalError, NotSigned: see there.
        """
        operations = {order.call.operation(self._chain.chain_id) for order in orders}
        with self._locks.hold(self.sender):
            asking = None
            if orders and not any(self._unreported(each) for each in operations):
                asking = self._chain.prospect(self.sender, [order.call for order in orders])
            prospect = self._watch.settle(asking)
            # only now: what reverted in a block that is gone is under way again
            before = self._resume(orders)
            pairs = list(zip(orders, before, strict=True))
            calls = [order.call for order, entry in pairs if entry is None]
            if not calls:
                return [entry for entry in before if entry]
            if prospect is None or len(calls) < len(orders):
                prospect = self._ask(self._chain.prospect(self.sender, calls))
            added = iter(self._add(calls, prospect))
            return [entry or next(added) for entry in before]

    def wait(self, entries: Sequence[Entry]) -> list[Entry]:
        """Wait until each is in a block, and confirmed as the network asks, or refused.

        Raises:
            NotMined: that took longer than the settings say.
            NoAnswer, NotSent: see there.
        """
        settings, pause_s = self._settings, _FIRST_PAUSE_S
        numbers = [entry.id for entry in entries]
        begun = looked = settings.clock()
        stuck_after_s, stuck_since, not_replaced = settings.stuck_after_s, begun, ""
        while True:
            current = self._journal.again(numbers)
            watched = [one for one in current if one.is_open or one.is_in_a_block]
            head = self._keeper.look_for(watched) if watched else 0
            current = self._journal.again(numbers)
            if all(self._is_settled(one, head) for one in current):
                return current
            now = settings.clock()
            if now - begun > settings.timeout_s:
                raise _not_mined(current, settings.timeout_s, not_replaced)
            if now - looked > _LOOK_AGAIN_S:
                looked = now
                with self._locks.hold(self.sender):
                    self._watch.settle()
            if now - stuck_since > stuck_after_s:
                stuck_since, stuck_after_s = now, 2 * stuck_after_s
                not_replaced = self._speed_up(current)
            settings.sleep(pause_s)
            pause_s = min(_GROWTH * pause_s, settings.longest_pause_s)

    def settle(self) -> None:
        """Finish what earlier runs left: find out what became of it, send again what is missing."""
        with self._locks.hold(self.sender):
            self._watch.settle()

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Remember that the results of these have reached whoever asked, and write it down later.

        Later, so that a run that is killed before it could tell anybody finds them again.
        """
        self._delivered.update(entry.id for entry in entries)

    def tell(self, entry: Entry) -> Entry:
        """Count an entry's result as told now: the same done again is then meant again.

        Raises:
            ModelproofError: it did not succeed, or not yet.
        """
        if not entry.has_succeeded:
            self._keeper.look_for([entry])
            entry = self._journal.entry(entry.id)
        if not entry.has_succeeded:
            raise ModelproofError(f"entry {entry.id} is {entry.state}: it has no result to tell.")
        self._journal.report([entry.id])
        return self._journal.entry(entry.id)

    def drop(self, entry: Entry, *, anyway: bool = False) -> Entry:
        """Take an entry back of which the chain has used the nonce for something else.

        Args:
            entry: one of this sender's
            anyway: also one that may still be mined

        Raises:
            ModelproofError: it may still be mined, or is.
        """
        with self._locks.hold(self.sender):
            if self._is_overtaken(entry):
                return self._journal.give_up(entry, State.DROPPED, "its nonce was used up")
            if anyway:
                why = "dropped, although it may still be mined"
                return self._journal.give_up(entry, State.DROPPED, why)
            raise ModelproofError(
                f"entry {entry.id} may still be mined: its nonce, {entry.nonce}, is not used in a"
                " confirmed block, and a node may have it. --cancel uses the nonce for a"
                " transaction that does nothing; --anyway only forgets the entry."
            )

    def cancel(self, entry: Entry) -> Entry:
        """Take an entry back by a transaction with its nonce that does nothing, and wait for it.

        Returns:
            the entry: dropped, or mined if it was quicker

        Raises:
            ModelproofError: it is in a block already.
            TooDear, NotMined, NotSent, NoAnswer: see there.
        """
        with self._locks.hold(self.sender):
            if self._is_overtaken(entry):
                return self._journal.give_up(entry, State.DROPPED, "its nonce was used up")
            standing = self._watch.standing()
            gave_way = entry.id in replaced(self._journal.entries(self.sender, OPEN))
            if gave_way or entry.nonce < standing.mined:
                raise ModelproofError(
                    f"another transaction has got the nonce of entry {entry.id}, {entry.nonce}, and"
                    " is not confirmed: drop the entry once that is."
                )
            instead = self._watch.replace_by_nothing(entry, standing)
        self.wait([instead])
        self._keeper.look_for([entry])
        return self._journal.entry(entry.id)

    def _is_overtaken(self, entry: Entry) -> bool:
        """As `Watch.is_overtaken`, of an entry that is in no block.

        Raises:
            ModelproofError: it is in one, or was given up.
        """
        is_overtaken = self._watch.is_overtaken(self._journal.entry(entry.id))
        entry = self._journal.entry(entry.id)
        if not entry.is_open:
            raise ModelproofError(f"entry {entry.id} is {entry.state}: there is nothing to drop.")
        return is_overtaken

    # New entries

    def _ask(self, asking: Asking[Prospect]) -> Prospect:
        return self._keeper.patiently(lambda: self._chain.learn(asking))

    def _add(self, calls: Sequence[Call], prospect: Prospect) -> list[Entry]:
        """Write new entries down and send them."""
        standing, tried = prospect
        would_do = _not_refused(tried)
        gas = [min(one.gas, standing.gas_limit) for one in would_do]
        offered = fees.offer(standing.market, self._settings.fee_cap)
        cost = sum(gas) * offered.maximum + sum(call.value for call in calls)
        if standing.balance < cost:
            raise _too_poor(self.sender, standing.balance, cost)
        first = self._watch.next_nonce(standing)
        prepared = [
            Prepared(call, self._sign(call, nonce, limit, offered), one.returned)
            for nonce, (call, limit, one) in enumerate(
                zip(calls, gas, would_do, strict=True), first
            )
        ]
        told = set(self._delivered)  # another thread may add to it meanwhile
        entries = self._journal.add(prepared, told)
        self._delivered.difference_update(told)
        self._refuse(entries, self._watch.deliver(entries))
        return entries

    def _refuse(
        self, entries: Sequence[Entry], answers: Sequence[tuple[Answer, str] | None]
    ) -> None:
        """Raise for a new entry that its node refused, and has therefore never been anywhere."""
        refused: list[ModelproofError] = []
        for entry, answer in zip(entries, answers, strict=True):
            if answer is None or answer[0] in {
                Answer.KNOWN,
                Answer.UNDERPRICED,
                Answer.NONCE_TOO_HIGH,
                Answer.NONCE_TOO_LOW,  # another process without a journal was quicker
                Answer.FEE_TOO_LOW,
            }:
                continue  # `settle` sees to those
            self._keeper.look_for([entry])  # some nodes mine what reverts and say that it failed
            if not self._journal.entry(entry.id).is_open:
                continue
            if self._is_known(entry):  # and some fail only after they took it
                self._journal.mark_sent([entry])
                continue
            if answer[0] in _FOR_GOOD:
                self._journal.give_up(entry, State.DROPPED, f"a node refused it: {answer[1]}")
            refused.append(not_sent(entry, *answer))  # else it stays open: a node may have it
        if refused:
            raise refused[0]
        if any(answer is not None for answer in answers):
            self._watch.settle()

    def _is_known(self, entry: Entry) -> bool:
        (known,) = self._keeper.patiently(lambda: self._chain.knows([entry]))
        return known

    # Earlier entries

    def _resume(self, orders: Sequence[Order]) -> list[Entry | None]:
        """For each order the entry that was to do it, the n-th of the same the n-th one's."""
        wanted = [order.call.operation(self._chain.chain_id) for order in orders]
        left = {operation: self._unreported(operation) for operation in set(wanted)}
        ours = {one.hash for entries in left.values() for each in entries for one in each.attempts}
        before = [left[operation].pop(0) if left[operation] else None for operation in wanted]
        same = [
            entry if entry is not None and self._is_the_same(entry, order, ours) else None
            for order, entry in zip(orders, before, strict=True)
        ]
        done = [one for one, kept in zip(before, same, strict=True) if one and not kept]
        if self._have_moved(done):  # what happened may not have happened after them
            self._watch.settle()
            return self._resume(orders)
        return same

    def _have_moved(self, entries: Sequence[Entry]) -> bool:
        """Whether a reorganisation has just taken any of these out of its block."""
        watched = [one for one in entries if one.state is State.MINED]
        if not watched:
            return False
        self._keeper.look_for(watched)
        now = self._journal.again([one.id for one in watched])
        return [one.inclusion for one in now] != [one.inclusion for one in watched]

    def _unreported(self, operation: bytes) -> list[Entry]:
        """What does this, and has not failed, and of whose result nobody was told."""
        found = self._journal.unreported_of(operation)
        told = [place for place, one in enumerate(found, 1) if one.id in self._delivered]
        since = found[max(told, default=0) :]
        return [one for one in since if one.is_open or one.has_succeeded]

    def _is_the_same(self, entry: Entry, order: Order, ours: Container[str]) -> bool:
        """Whether an entry is what is meant, and not done before and meant again.

        Args:
            entry: does what is ordered
            order: what is meant
            ours: the hashes of what nobody was told of either

        Raises:
            Reverts: it is in no block, and the contract would refuse it now.
        """
        if entry.is_held:
            raise Reverts(entry.failure, "0x" + entry.reverted_with.hex())
        found = entry.inclusion
        if found is None or self._keeper.refusal(entry) is not None:
            return True
        return not self._keeper.patiently(
            lambda: self._chain.happened_since(found, order.call.to, order.subject, ours)
        )

    # Waiting

    def _is_settled(self, entry: Entry, head: int) -> bool:
        if entry.inclusion is not None:  # also of one that failed there: that may be undone too
            return head - entry.inclusion.block >= self._settings.confirmations
        return not entry.is_open

    def _speed_up(self, entries: Sequence[Entry]) -> str:
        """Have what waits pay more; returns why not, if so: then it waits as it is."""
        with self._locks.hold(self.sender):
            current = self._journal.again([entry.id for entry in entries])
            waiting = [one for one in current if one.is_open and not one.is_held]
            try:
                for entry in waiting:
                    self._watch.speed_up(entry)
            except (TooDear, NotSent) as error:
                return str(error)
        return ""


def _not_refused(tried: Sequence[Tried | Reverts]) -> list[Tried]:
    """What calls come to that would all do; raises the first `Reverts` if one would not."""
    would_do = []
    for one in tried:
        if isinstance(one, Reverts):
            raise one
        would_do.append(one)
    return would_do


def _too_poor(sender: str, balance: int, cost: int) -> ModelproofError:
    if not balance:
        return ModelproofError(f"{sender} has no ether on this chain to pay for gas with: fund it.")
    return ModelproofError(
        f"{sender} has {balance / 10**18:.6f} ether on this chain, and this takes up to"
        f" {cost / 10**18:.6f}: fund it."
    )


def _not_mined(entries: Sequence[Entry], timeout_s: float, not_replaced: str) -> NotMined:
    waiting = [one for one in entries if one.is_open]
    held = next((one for one in waiting if one.is_held), None)
    if held is not None:
        return NotMined(
            f"{held.call.label or 'the transaction'} is in no block after {timeout_s:g} seconds,"
            f" and not sent for now ({held.failure}): `ape run outbox` shows it."
        )
    if not waiting:
        return NotMined(
            f"the transactions are in blocks, but not confirmed after {timeout_s:g} seconds: run"
            " this again to go on waiting."
        )
    return NotMined(
        f"{waiting[0].call.label or 'the transaction'} was sent as {waiting[0].latest.hash} and is"
        f" in no block after {timeout_s:g} seconds: run this again to go on waiting;"
        " `ape run outbox` shows it."
        + (f" It was not replaced by one that pays more: {not_replaced}" if not_replaced else "")
    )
