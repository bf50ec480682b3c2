"""The journal of what was sent against the chain that it was sent to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ml.chain.fsck.disagreement import Disagreement, Place
from ml.chain.outbox.chain import Chain
from ml.chain.outbox.entry import Entry, Inclusion, State


def check_journal(entries: Sequence[Entry], chain: Chain) -> Iterator[Disagreement]:
    """See that each entry is in the block that the journal says, or in none if it says so.

    What is prepared or sent and in no block yet is under way, and no disagreement.

    Raises:
        NoAnswer: the node does not answer.
    """
    _, found = chain.find(entries)
    for entry in entries:
        reason = _wrong(entry, found.get(entry.id))
        if reason is not None:
            what, why = reason
            label = f"entry {entry.id}, {entry.call.label}"
            yield Disagreement(Place.JOURNAL, what, label, why)


def _wrong(entry: Entry, found: Inclusion | None) -> tuple[str, str] | None:
    """What is wrong with an entry, in kind and in words."""
    said = entry.inclusion
    if said is not None:
        if found is None:
            why = f"the chain does not have transaction {said.transaction} in block {said.block}"
            return "said mined and is not", why
        if found != said:
            return "mined otherwise", f"the journal has {_told(said)}, the chain {_told(found)}"
    elif found is not None:
        why = f"the journal says {entry.state}, and the chain has {_told(found)}"
        return "mined and the journal does not know", f"{why}: `ape run outbox retry` finds it"
    if found is not None and found.succeeded != (entry.state in {State.MINED, State.FINAL}):
        outcome = "succeeded" if found.succeeded else "failed"
        return "mined otherwise", f"the journal says {entry.state}, and {_told(found)} {outcome}"
    return None


def _told(found: Inclusion) -> str:
    return f"transaction {found.transaction} in block {found.block} ({found.block_hash[:10]}…)"
