"""What to do when blocks are gone: send again what was in them, in the order in which it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from ml.chain.outbox.chain import Chain, Reverts
from ml.chain.outbox.entry import Entry, Inclusion, State
from ml.chain.outbox.journal import Journal
from ml.chain.outbox.rpc import NoAnswer
from ml.chain.outbox.settings import Settings
from ml.chain.refusals import reverted_with

T = TypeVar("T")

_FIRST_PAUSE_S: Final = 0.002
_LONGEST_PAUSE_S: Final = 1.0
_FEW: Final = 16
"""So many entries are looked at together for the last time, rather than each by itself."""


class Keeper:
    """Keeps the journal true to the chain, whoever sent what.

    A transaction is bound to its nonce, so that sending its bytes again never makes a second one.
    It needs no key, and no lock.
    """

    def __init__(self, journal: Journal, chain: Chain, settings: Settings) -> None:
        self._journal = journal
        self.chain = chain
        self.settings = settings

    def restore(self) -> None:
        """Send again what a reorganisation removed, and note what none can remove any more.

        Raises:
            NoAnswer: no node answered for as long as the settings say.
        """
        mined = self._journal.entries(states=(State.MINED,))
        # the newest is not enough: it may have been found on a branch that lacks an older one
        found = [one.inclusion for one in mined if one.inclusion]
        if not found:
            return
        head, are_there = self.patiently(lambda: self.chain.still_holds(found))
        if not are_there:
            self._send_in_order(self._missing(mined))
            return
        deep = [one for one in mined if head - _place(one)[0] >= self.settings.final_depth]
        if len(deep) >= _FEW:
            self.look_for(deep)

    def look_for(self, entries: Sequence[Entry]) -> int:
        """Note which of these are in a block by now; returns the number of the latest block."""
        head, found = self.patiently(lambda: self.chain.find(entries))
        self._journal.include_all(
            noted
            for entry in entries
            if entry.id in found and (noted := self._outcome(entry, found[entry.id], head))
        )
        self._journal.mark_sent(
            entry for entry in entries if entry.id not in found and entry.state is State.MINED
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

    def _missing(self, mined: Sequence[Entry]) -> list[Entry]:
        """Those that are in no block any more, in the order in which they were."""
        in_order = sorted(mined, key=_place)
        self.look_for(in_order)
        return [one for one in self._journal.again([one.id for one in in_order]) if one.is_open]

    def _send_in_order(self, removed: Sequence[Entry]) -> None:
        """Send what was removed again; what follows from something else, after that is mined."""
        settings, pause_s = self.settings, _FIRST_PAUSE_S
        deadline = settings.clock() + settings.timeout_s
        waiting, sent = list(removed), list[Entry]()
        while waiting:
            entry = waiting[0]
            refusal = self._refusal(entry)
            if refusal is None:
                self.patiently(lambda: self.chain.send([waiting[0].latest]))
                sent.append(waiting.pop(0))
                continue
            now = self._journal.again([one.id for one in sent])
            under_way = [one for one in now if one.is_open]
            if under_way and settings.clock() < deadline:
                self.look_for(under_way)
                settings.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            self._journal.give_up(
                entry,
                State.REFUSED,
                f"a reorganisation removed it, and now the contract would refuse it: {refusal}",
                reverted_with(refusal),
            )
            waiting.pop(0)

    def _refusal(self, entry: Entry) -> Reverts | None:
        """Why the contract would not take it now, if so."""
        try:
            self.patiently(lambda: self.chain.trial(entry.call))
        except Reverts as reverts:
            return reverts
        return None

    def _outcome(
        self, entry: Entry, found: Inclusion, head: int
    ) -> tuple[Entry, State, Inclusion, bytes] | None:
        """What is to be written down of an entry that is in a block; None if it is already."""
        if not found.succeeded:
            return entry, State.REFUSED, found, self._reason(entry, found)
        is_final = head - found.block >= self.settings.final_depth
        state = State.FINAL if is_final else State.MINED
        if (entry.state, entry.inclusion) == (state, found):
            return None
        return entry, state, found, b""

    def _reason(self, entry: Entry, found: Inclusion) -> bytes:
        """What the contract gave as its reason: on the state that its block left behind."""
        try:
            self.patiently(lambda: self.chain.trial(entry.call, found.block))
        except Reverts as reverts:
            return reverted_with(reverts)
        return b""


def _place(entry: Entry) -> tuple[int, int]:
    return (entry.inclusion.block if entry.inclusion else -1, entry.id)
