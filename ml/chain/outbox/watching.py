"""Getting what a sender wants to do into a block, whatever its nodes and its nonces do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from ml.chain.outbox import fees
from ml.chain.outbox.answers import TAKEN, Answer
from ml.chain.outbox.chain import OtherChain, Prospect, Standing
from ml.chain.outbox.entry import OPEN, Attempt, Call, Entry, State
from ml.chain.outbox.fees import Fees, TooDear
from ml.chain.outbox.journal import Journal
from ml.chain.outbox.journal_tables import Prepared
from ml.chain.outbox.keeping import Keeper, replaced
from ml.chain.outbox.rpc import Asking
from ml.chain.refusals import reverted_with
from ml.errors import ModelproofError

Signer: TypeAlias = Callable[[Call, int, int, Fees], Attempt]
"""Signs a call with a nonce, a gas limit and fees."""

_ROUNDS: Final = 8
"""In which nonces that others have used up meanwhile are sorted out, at most."""
_FILLING_GAS: Final = 21_000
_FILLING: Final = "fills a nonce that nothing else will use"
_CANCELLING: Final = "takes the place of what was cancelled"
_NOTHINGS: Final = (_FILLING, _CANCELLING)
"""What transactions that do nothing are called."""


class NotSent(ModelproofError):
    """A node does not take a transaction, for a reason that waiting does not change."""


class Watch:
    """What one sender has under way. Whoever calls it holds the sender's lock."""

    def __init__(self, sender: str, journal: Journal, keeper: Keeper, sign: Signer) -> None:
        self.sender = sender
        self._journal = journal
        self._keeper = keeper
        self._chain = keeper.chain
        self._settings = keeper.settings
        self._sign = sign

    def settle(self, besides: Asking[Prospect] | None = None) -> Prospect | None:
        """Find out what became of everything, and send again what the chain does not have.

        Args:
            besides: what is to be asked as well, where there is nothing to do

        Returns:
            the answer to that, unless it has to be asked by itself

        Raises:
            NotSent: a node refuses one of them for good.
            NoAnswer: no node answered for as long as the settings say.
        """
        if besides and self._journal.entries(self.sender, OPEN):
            besides = None
        prospect = self._keeper.restore(besides)
        for _ in range(_ROUNDS):
            waiting = self._journal.entries(self.sender, OPEN)
            if not waiting:
                return prospect
            prospect = None
            self._keeper.look_for(waiting)
            if self._send_again():
                break
        return None

    def standing(self) -> Standing:
        """How the sender stands on the chain now."""
        return self._keeper.patiently(lambda: self._chain.standing(self.sender))

    def deliver(self, entries: Sequence[Entry]) -> list[tuple[Answer, str] | None]:
        """Send what stands in the journal, in the order of nonces, and note that it was sent.

        Raises:
            TooDear: one was signed to pay more than the cap is now; those before it are sent.
        """
        dear = next((place for place, one in enumerate(entries) if self._is_too_dear(one)), None)
        if dear:
            self.deliver(entries[:dear])
        attempts = [self._keeper.to_send(one) for one in entries]
        answers = self._keeper.patiently(lambda: self._chain.send(attempts))
        pairs = list(zip(entries, answers, strict=True))
        self._journal.mark_sent(entry for entry, answer in pairs if (answer and answer[0]) in TAKEN)
        return answers

    def speed_up(self, entry: Entry) -> None:
        """Replace a transaction that waits by the same one with higher fees.

        Raises:
            TooDear: that would be above the cap.
            NotSent: the sender cannot pay that much.
        """
        last = entry.latest
        standing = self.standing()
        offered = Fees(last.max_fee, last.priority_fee, standing.market.base_fee is None)
        more = fees.replace(offered, standing.market, self._settings.fee_cap)
        cost = last.gas * more.maximum + entry.call.value
        if standing.balance < cost:
            raise NotSent(
                f"{self.sender} has {standing.balance / 10**18:.6f} ether on this chain, and one"
                f" that pays more takes up to {cost / 10**18:.6f}: fund it."
            )
        attempt = self._sign(entry.call, entry.nonce, last.gas, more)
        (answer,) = self.deliver([self._journal.add_attempt(entry, attempt)])
        if answer and answer[0] is Answer.INSUFFICIENT_FUNDS:  # for all that waits together
            raise not_sent(entry, *answer)

    def replace_by_nothing(self, entry: Entry, standing: Standing) -> Entry:
        """Send a transaction with an entry's nonce that does nothing, and give the entry up.

        Raises:
            TooDear: it would take more than the cap.
        """
        nothing = Call(self.sender, self.sender, b"", label=_CANCELLING)
        offered = self._instead_of(entry, standing)
        attempt = self._sign(nothing, entry.nonce, _FILLING_GAS, offered)
        prepared = Prepared(nothing, attempt, for_nobody=True)
        instead = self._journal.replace(entry, prepared, f"cancelled by {attempt.hash}")
        self.deliver([instead])
        return instead

    def _instead_of(self, entry: Entry, standing: Standing) -> Fees:
        """What to offer for another transaction with an entry's nonce."""
        last, cap = entry.latest, self._settings.fee_cap
        offered = Fees(last.max_fee, last.priority_fee, standing.market.base_fee is None)
        try:
            return fees.replace(offered, standing.market, cap)
        except TooDear:
            (is_known,) = self._keeper.patiently(lambda: self._chain.knows([entry]))
            if is_known:
                raise
        return fees.offer(standing.market, cap)  # there is nothing to replace

    def _is_too_dear(self, entry: Entry) -> bool:
        return entry.within(self._settings.fee_cap) is None

    def next_nonce(self, standing: Standing) -> int:
        """The first nonce that neither the chain, nor the node, nor the journal has a use for.

        What is held has none for now.
        """
        return max(standing.pending, self._journal.last_nonce(self.sender) + 1)

    # What is in no block

    def _send_again(self) -> bool:
        """Send what is in no block; whether that is all that can be done now."""
        waiting = sorted(self._journal.entries(self.sender, OPEN), key=lambda one: one.nonce)
        if not waiting:
            return True
        standing = self.standing()
        overtaken = [one for one in waiting if one.nonce < standing.mined]
        if overtaken and self._sign_again(overtaken):
            return False
        instead = replaced(waiting)
        waiting = [one for one in waiting if one.nonce >= standing.mined and one.id not in instead]
        known = self._keeper.patiently(lambda: self._chain.knows(waiting))
        pairs = list(zip(waiting, known, strict=True))
        self._journal.mark_sent(
            one
            for one, is_known in pairs
            if is_known and (one.state is State.PREPARED or one.is_held)
        )
        lost = [one for one, is_known in pairs if not is_known]
        held = self._hold_the_first(lost, standing)
        lost = lost[len(held) :]
        self._fill_gaps([one for one in waiting if one not in held], standing)
        if not lost:
            return True
        answers = self.deliver(lost)
        return self._understand(lost, answers)

    def _hold_the_first(self, lost: Sequence[Entry], standing: Standing) -> list[Entry]:
        """Hold those that would be next and that the contract would refuse now; return them."""
        held: list[Entry] = []
        for one in lost:
            refusal = self._keeper.refusal(one) if one.nonce == standing.mined + len(held) else None
            if refusal is None:
                break
            why = f"the contract would refuse it now: {refusal}"
            self._journal.hold(one, why, reverted_with(refusal))
            held.append(one)
        return held

    def is_overtaken(self, entry: Entry) -> bool:
        """Whether a confirmed transaction that is none of the entry's own has its nonce.

        What became of the entry is noted. Until then it may still be mined, after a reorganisation.
        """
        depth = self._settings.confirmations
        used = self._keeper.patiently(lambda: self._chain.count(self.sender, depth))
        (is_known,) = self._keeper.patiently(lambda: self._chain.knows([entry]))
        # last: it may have come into a block just now, or one that was given up
        self._keeper.look_for([entry, *self._given_up(entry.nonce)])
        return entry.nonce < used and not is_known and self._journal.entry(entry.id).is_open

    def _sign_again(self, overtaken: Iterable[Entry]) -> bool:
        """Give new nonces to entries whose own were used up by transactions that are not theirs.

        Returns:
            whether anything is otherwise than before
        """
        changed = False
        for entry in overtaken:
            if not self.is_overtaken(entry):
                changed |= not self._journal.entry(entry.id).is_open
                continue
            changed = True
            if entry.call.label in _NOTHINGS:
                self._journal.give_up(entry, State.DROPPED, "its nonce was used up")
                continue
            refusal = self._keeper.refusal(entry)
            if refusal is not None:
                why = f"its nonce was used up, and the contract would refuse it now: {refusal}"
                self._journal.give_up(entry, State.REFUSED, why, reverted_with(refusal))
                continue
            standing = self.standing()
            last = entry.latest
            now = fees.offer(standing.market, self._settings.fee_cap)
            attempt = self._sign(entry.call, self.next_nonce(standing), last.gas, now)
            self.deliver([self._journal.add_attempt(entry, attempt)])
        return changed

    def _given_up(self, nonce: int) -> list[Entry]:
        given_up = self._journal.entries(self.sender, (State.REFUSED, State.DROPPED))
        return [one for one in given_up if one.nonce == nonce and one.inclusion is None]

    def _fill_gaps(self, waiting: Sequence[Entry], standing: Standing) -> None:
        """Use the nonces up that keep later ones waiting and that nobody will use."""
        ours = {one.nonce for one in waiting}
        if not ours:
            return
        gaps = [n for n in range(standing.pending, max(ours)) if n not in ours]
        if not gaps:
            return
        offered = fees.offer(standing.market, self._settings.fee_cap)
        nothing = Call(self.sender, self.sender, b"", label=_FILLING)
        signed = [self._sign(nothing, n, _FILLING_GAS, offered) for n in gaps]
        self.deliver(self._journal.add([Prepared(nothing, one, for_nobody=True) for one in signed]))

    def _understand(
        self, entries: Sequence[Entry], answers: Sequence[tuple[Answer, str] | None]
    ) -> bool:
        """Act on what a node said of entries sent again; whether nothing is left to do."""
        is_done = True
        for entry, answer in zip(entries, answers, strict=True):
            meaning, words = answer or (None, "")
            if meaning is Answer.FEE_TOO_LOW:
                self.speed_up(entry)
            elif meaning is Answer.NONCE_TOO_LOW:
                is_done = False
            elif meaning not in TAKEN:
                raise not_sent(entry, meaning or Answer.UNKNOWN, words)
        return is_done


def not_sent(entry: Entry, meaning: Answer, words: str) -> ModelproofError:
    """The error for a transaction that a node refuses for good."""
    if meaning is Answer.OTHER_CHAIN:
        return OtherChain(
            f"the node is of another chain than the transaction was signed for ({words}): connect"
            " to the right one."
        )
    if meaning is Answer.INSUFFICIENT_FUNDS:
        return NotSent(
            f"{entry.call.sender} has too little ether on this chain to pay for"
            f" {entry.call.label or 'the transaction'} ({words}): fund it."
        )
    return NotSent(
        f"the node does not take {entry.call.label or 'the transaction'} ({words}):"
        " `ape run outbox` shows it."
    )
