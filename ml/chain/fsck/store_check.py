"""Stores against what versions on chain name."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ml.chain.fsck.disagreement import Disagreement, Place
from ml.errors import ModelproofError, NotVerified
from ml.storage.cid import Cid
from ml.storage.places import Places
from ml.storage.store import Store
from ml.storage.upkeep import Condition, Finding, examine_sidecars, garbage, known

_KINDS: Final = {
    Condition.LOST: "missing object",
    Condition.DAMAGED: "wrong digest",
    Condition.UNKNOWN: "store that does not answer",
}


@dataclass(frozen=True, slots=True)
class NamedObject:
    """An object that a version names on chain."""

    name: str
    """The version, for people."""
    content: bytes
    """The digest in the object's CID."""
    sha256: bytes | None = None
    """Of the object, if the version states that too."""


def check_stores(places: Places, named: Sequence[NamedObject]) -> Iterator[Disagreement]:
    """See that each store has every object that is named, whole, and each folder nothing else.

    Objects of clients' updates are not named on chain, and those of other chains not on this one:
    the former are let be, and the latter reported.

    Raises:
        StorageError: a store cannot say what it has.
    """
    by_content = {one.content: one for one in named}
    wanted = [cid for cid in known(places.stores, by_content) if cid.digest in by_content]
    for cid in sorted(wanted, key=str):
        for store in places.stores:
            yield from _examined(store, cid, by_content[cid.digest])
    for finding in examine_sidecars(places.folders, sorted(wanted, key=str)):
        if finding.condition is not Condition.WHOLE:
            name = by_content[finding.cid.digest].name
            yield _told(finding, name, kind=_KINDS[finding.condition].replace("object", "sidecar"))
    yield from _orphans(places, by_content)


def _examined(store: Store, cid: Cid, named: NamedObject) -> Iterator[Disagreement]:
    try:
        found = store.verify(cid) if store.has(cid) else None
    except NotVerified as error:
        yield _object(store, cid, named, Condition.DAMAGED, str(error))
        return
    except ModelproofError as error:
        yield _object(store, cid, named, Condition.UNKNOWN, str(error))
        return
    if found is None:
        yield _object(store, cid, named, Condition.LOST, "it is not there")
    elif named.sha256 is not None and found.sha256 != named.sha256:
        stated = f"it has another SHA-256 than the 0x{named.sha256.hex()} that the version states"
        yield _object(store, cid, named, Condition.DAMAGED, stated)


def _object(
    store: Store, cid: Cid, named: NamedObject, condition: Condition, reason: str
) -> Disagreement:
    return _told(Finding(cid, str(store), condition, reason), named.name, _KINDS[condition])


def _told(finding: Finding, name: str, kind: str) -> Disagreement:
    which = f"{finding.cid} of {name}, in {finding.place}"
    return Disagreement(Place.STORE, kind, which, finding.reason.rstrip("."))


def _orphans(places: Places, named: Mapping[bytes, NamedObject]) -> Iterator[Disagreement]:
    for folder in places.folders:
        for cid in garbage(folder, named, time.time()):
            which = f"{cid}, in {folder}"
            yield Disagreement(Place.STORE, "orphan", which, "no version on this chain names it")
