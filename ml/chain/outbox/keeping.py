"""What to do when blocks are gone: send again what was in them, in the order in which it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, TypeVar

from ml.chain.outbox.answers import TAKEN
from ml.chain.outbox.chain import Chain, Prospect
from ml.chain.outbox.entry import OPEN, Attempt, Entry, Inclusion, State
from ml.chain.outbox.fees import TooDear, above_cap
from ml.chain.outbox.journal import Journal
from ml.chain.outbox.locks import Locks
from ml.chain.outbox.rpc import Asking, NoAnswer, both
from ml.chain.outbox.settings import Settings
from ml.chain.outbox.trials import Reverts
from ml.chain.refusals import reverted_with

T = TypeVar("T")

_FIRST_PAUSE_S: Final = 0.002
_LONGEST_PAUSE_S: Final = 1.0
_FEW: Final = 16
"""So many entries are looked at together for the last time, rather than each by itself."""
_QUESTIONS: Final = 10
"""So many are asked at once, at most, where that may as well be done twice: some public nodes take
no more in one request."""
_RESTORING: Final = "restoring"
_REMOVED: Final = "a reorganisation removed it"


@dataclass(frozen=True, slots=True)
class _Missing:
    """An entry that neither the chain nor the node has."""

    entry: Entry
    attempt: Attempt
    """Which of its transactions: the one that was mined, if one was."""
    is_removed: bool
    """Whether it was in a block; else it is new, and the queue of its sender looks after it."""
    has_reverted: bool
    """Whether it did nothing there: it is sent as it was, as later ones need its nonce used."""


class Keeper:
    """Keeps the journal true to the chain, whoever sent what.

    A transaction is bound to its nonce, so that sending its bytes again never makes a second one.
    It needs no key. One at a time sends again what was removed, among all processes that use a
    journal: else one would be refused what another is about to bring back.
    """

    def __init__(self, journal: Journal, chain: Chain, settings: Settings, locks: Locks) -> None:
        self._journal = journal
        self._locks = locks
        self.chain = chain
        self.settings = settings

    def restore(self, besides: Asking[Prospect] | None = None) -> Prospect | None:
        """Send again what a reorganisation removed, and note what none can remove any more.

        What the contract does not take yet is held: what it followed from may come back, from here
        or from elsewhere, so that it is tried again the next time.

        Args:
            besides: what is to be asked as well, of a chain that has all that it should

        Returns:
            the answer to that, unless it has to be asked by itself

        Raises:
            NoAnswer: no node answered for as long as the settings say.
            OtherChain: see the chain.
        """
        kept = self._journal.kept(self.settings.final_depth)
        if not kept:
            return None
        prospect = None
        are_there = not any(one.is_held for one in kept)
        if are_there:
            # the newest is not enough: it may have been found on a branch that lacks an older one
            holds = self.chain.still_holds({one.place for one in kept if one.place})
            if besides and len(besides.questions) + len(holds.questions) <= _QUESTIONS:
                asking = both(besides, holds)
                prospect, are_there = self.patiently(lambda: self.chain.learn(asking))
                head = prospect[0].head
            else:
                head, are_there = self.patiently(
                    lambda: self.chain.learn(both(self.chain.head(), holds))
                )
        if not are_there:
            with self._locks.hold(_RESTORING):
                self._send_in_order(*self._look())
            return None
        mined = [(one.id, one.place) for one in kept if one.state is State.MINED and one.place]
        deep = [number for number, (at, _) in mined if head - at >= self.settings.final_depth]
        if len(deep) >= _FEW:
            self.look_for(self._journal.again(deep))
        return prospect

    def look_for(self, entries: Sequence[Entry]) -> int:
        """Note which of these are in a block by now; returns the number of the latest block."""
        head, found = self.patiently(lambda: self.chain.find(entries))
        self._journal.include_all(
            noted
            for entry in entries
            if entry.id in found and (noted := self._outcome(entry, found[entry.id], head))
        )
        self._journal.mark_removed(
            (one for one in entries if one.id not in found and one.is_in_a_block), _REMOVED
        )
        return head

    def patiently(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer.

        Raises:
            NoAnswer: there was none for as long as the settings say.
        """
        settings, pause_s = self.settings, _FIRST_PAUSE_S
        deadline = settings.clock() + settings.timeout_s
        while True:
            try:
                return ask()
            except NoAnswer:
                if settings.clock() > deadline:
                    raise
                settings.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    # What was removed

    def _to_restore(self) -> list[Entry]:
        return self._journal.to_restore(self.settings.final_depth)

    def _look(self) -> tuple[list[_Missing], list[Entry]]:
        """What is in no block any more, in the order in which it was, and what waits for a block.

        The latter only if it is new that something is missing: what was tried before is tried once.
        """
        before = {one.id: one for one in self._to_restore()}
        self.look_for(list(before.values()))
        waiting = self._journal.entries(states=OPEN)
        is_new = any(one.id in before and before[one.id].inclusion for one in waiting)
        known = self.patiently(lambda: self.chain.knows(waiting))
        pairs = list(zip(waiting, known, strict=True))
        self._journal.mark_sent(one for one, is_known in pairs if is_known and one.is_held)
        instead = replaced(waiting)
        lost = [one for one, is_known in pairs if not is_known and one.id not in instead]
        under_way = [one for one, is_known in pairs if is_known]
        removed = [_missing(one, before.get(one.id, one)) for one in _in_order(lost, before)]
        return removed, under_way if is_new else []

    def _send_in_order(self, removed: Sequence[_Missing], under_way: Sequence[Entry]) -> None:
        """Send these again; what follows from something else, after that is mined."""
        deadline = self.settings.clock() + self.settings.timeout_s
        left, waiting = list(removed), [one.id for one in under_way]
        while left:
            refused = self._send_each(left, waiting, deadline)
            if len(refused) == len(left):
                return
            left = refused  # what came after one of them may be what it followed from

    def _send_each(
        self, removed: Sequence[_Missing], waiting: list[int], deadline: float
    ) -> list[_Missing]:
        """Send these in their order, as far as the contract takes them; return the others.

        Args:
            removed: them
            waiting: the numbers of what may come into a block first; what is sent joins them
            deadline: until when to wait for those
        """
        refused: list[_Missing] = []
        for one in removed:
            sender = one.entry.call.sender
            if any(other.entry.call.sender == sender for other in refused):
                self._hold(one, "an earlier one of its sender is not sent yet")
                refused.append(one)
            elif self._is_taken(one, waiting, deadline):
                waiting.append(one.entry.id)
            else:
                refused.append(one)
        return refused

    def _is_taken(self, one: _Missing, waiting: Sequence[int], deadline: float) -> bool:
        """Send one as soon as the contract would take it; False if it does not, and is held."""
        pause_s = _FIRST_PAUSE_S
        while not one.has_reverted and (refusal := self.refusal(one.entry)) is not None:
            under_way = [other for other in self._journal.again(waiting) if other.is_open]
            if not one.is_removed or not under_way or self.settings.clock() > deadline:
                self._hold(one, f"the contract would refuse it now: {refusal}", refusal)
                return False
            self.look_for(under_way)
            self.settings.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        try:
            attempt = one.attempt if self._may_pay(one.attempt) else self.to_send(one.entry)
        except TooDear as error:
            self._hold(one, str(error).removesuffix("."))
            return False
        (answer,) = self.patiently(lambda: self.chain.send([attempt]))
        if (answer and answer[0]) in TAKEN:
            self._journal.mark_sent([one.entry])
            return True
        self._hold(one, f"a node does not take it: {answer[1] if answer else answer}")
        return False

    def _may_pay(self, attempt: Attempt) -> bool:
        return self.settings.fee_cap is None or attempt.max_fee <= self.settings.fee_cap

    def _hold(self, one: _Missing, why: str, refusal: Reverts | None = None) -> None:
        if one.is_removed:
            reverted = reverted_with(refusal) if refusal else b""
            self._journal.hold(one.entry, f"{_REMOVED}, and {why}", reverted)

    def to_send(self, entry: Entry) -> Attempt:
        """The attempt to send of an entry.

        Raises:
            TooDear: all with its nonce were signed to pay more than the cap is now.
        """
        cap = self.settings.fee_cap
        attempt = entry.within(cap)
        if attempt is None:
            raise above_cap(entry.id, entry.latest.max_fee, cap or 0)
        return attempt

    def refusal(self, entry: Entry) -> Reverts | None:
        """Why the contract would not take it now, if so."""
        try:
            self.patiently(lambda: self.chain.trial(entry.call))
        except Reverts as reverts:
            return reverts
        return None

    # What is in a block

    def _outcome(
        self, entry: Entry, found: Inclusion, head: int
    ) -> tuple[Entry, State, Inclusion, bytes] | None:
        """What is to be written down of an entry that is in a block; None if it is already."""
        is_final = head - found.block >= self.settings.final_depth
        state = State.FINAL if is_final else State.MINED
        if not found.succeeded:
            state = State.REFUSED
        if (entry.state, entry.inclusion) == (state, found):
            return None
        return entry, state, found, b"" if found.succeeded else self._reason(entry, found)

    def _reason(self, entry: Entry, found: Inclusion) -> bytes:
        """What the contract gave as its reason: on the state that its block left behind."""
        try:
            self.patiently(lambda: self.chain.trial(entry.call, found.block))
        except Reverts as reverts:
            return reverted_with(reverts)
        return b""


def replaced(waiting: Sequence[Entry]) -> set[int]:
    """The numbers of those whose nonce a later one has got: once that is mined they need another.

    Args:
        waiting: entries in no block
    """
    last = {(one.call.sender, one.nonce): one.id for one in sorted(waiting, key=lambda one: one.id)}
    return {one.id for one in waiting if last[one.call.sender, one.nonce] != one.id}


def _missing(entry: Entry, before: Entry) -> _Missing:
    was = before.inclusion
    reverted = was is not None and not was.succeeded
    return _Missing(entry, before.mined or entry.latest, entry.is_held, reverted)


def _in_order(lost: Sequence[Entry], before: Mapping[int, Entry]) -> list[Entry]:
    """In the order in which they were in blocks; the others before what was written down later."""
    blocks = {number: _block(one) for number, one in before.items() if one.inclusion}

    def place(one: Entry) -> tuple[float, int]:
        own = blocks.get(one.id)
        later = min((blocks[number] for number in blocks if number > one.id), default=inf)
        return (later if own is None else own, one.id)

    return sorted(lost, key=place)


def _block(entry: Entry) -> int:
    return entry.inclusion.block if entry.inclusion else -1
