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
    _, found = chain.find_all(entries)
    for entry in entries:
        for what, why in _wrong(entry, found.get(entry.id, [])):
            label = f"entry {entry.id}, {entry.call.label}"
            yield Disagreement(Place.JOURNAL, what, label, why)


def _wrong(entry: Entry, found: Sequence[Inclusion]) -> Iterator[tuple[str, str]]:
    """What is wrong with an entry, in kind and in words."""
    if len(found) > 1:
        yield "mined twice", f"the chain has {' and '.join(map(_told, found))}"
    elif found and entry.inclusion is None:
        why = f"the journal says {entry.state}, and the chain has {_told(found[0])}"
        yield "mined and the journal does not know", f"{why}: `ape run outbox retry` finds it"
    said = entry.inclusion
    if said is None:
        return
    if not found:
        why = f"the chain does not have transaction {said.transaction} in block {said.block}"
        yield "said mined and is not", why
    elif said not in found:
        why = f"the journal has {_told(said)}, the chain {_told(found[0])}"
        yield "mined otherwise", why
    elif said.succeeded != (entry.state in {State.MINED, State.FINAL}):
        outcome = "succeeded" if said.succeeded else "failed"
        yield "mined otherwise", f"the journal says {entry.state}, and {_told(said)} {outcome}"


def _told(found: Inclusion) -> str:
    return f"transaction {found.transaction} in block {found.block} ({found.block_hash[:10]}…)"
