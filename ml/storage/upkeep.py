"""Looking after objects: what is lost or damaged, what mends it, and what nobody needs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Final

from ml.errors import ModelproofError, NotVerified

from .cid import Cid
from .encrypted import read_sidecar
from .errors import StorageError, UnknownObject
from .local_store import LocalStore
from .naming import checked
from .recorded import possible_cids
from .replicas import Failure
from .retention import RUN_FORMAT, UPDATE_FORMAT
from .store import Sidecars, Store

_DAY_S: Final = 86_400.0


class Condition(Enum):
    """How an object is in a store."""

    WHOLE = "whole"
    DAMAGED = "damaged"
    LOST = "lost"
    UNKNOWN = "unknown"
    """The store could not be asked."""
    REPAIRED = "repaired"


@dataclass(frozen=True, slots=True)
class Finding:
    """How one object, or its sidecar, is in one store."""

    cid: Cid
    place: str
    condition: Condition
    reason: str = ""
    """Why, if it is not whole."""


def examine(stores: Sequence[Store], cids: Iterable[Cid]) -> Iterator[Finding]:
    """Read objects whole from each store."""
    for cid in cids:
        for store in stores:
            yield _examine(store, cid)


def examine_sidecars(folders: Sequence[LocalStore], cids: Iterable[Cid]) -> Iterator[Finding]:
    """Read the sidecars of objects from each folder; no key is needed to see damage."""
    for cid in cids:
        for folder in folders:
            yield _examine_sidecar(folder, cid)


def repair(stores: Sequence[Store], cids: Iterable[Cid]) -> Iterator[Finding]:
    """Put each object where it is lost or damaged, from a store that has it whole.

    Yields:
        how each object is in each store afterwards.
    """
    for cid in cids:
        found = [(store, _examine(store, cid)) for store in stores]
        source = next((store for store, how in found if how.condition is Condition.WHOLE), None)
        for store, how in found:
            mendable = how.condition in (Condition.DAMAGED, Condition.LOST)
            yield _copy(source, store, how) if source and mendable else how


def repair_sidecars(folders: Sequence[LocalStore], cids: Iterable[Cid]) -> Iterator[Finding]:
    """Copy each sidecar to where it is lost or damaged, from a folder where it is right.

    Those that are right stay, though they may be for other recipients elsewhere.
    """
    for cid in cids:
        found = [(folder, _examine_sidecar(folder, cid)) for folder in folders]
        right = next((place for place, how in found if how.condition is Condition.WHOLE), None)
        for folder, how in found:
            mendable = how.condition in (Condition.DAMAGED, Condition.LOST)
            yield _copy_sidecar(right, folder, how) if right and mendable else how


def known(stores: Sequence[Store], named: Iterable[bytes]) -> set[Cid]:
    """All objects that should be somewhere: those in stores, and those that the chain names.

    Raises:
        StorageError: a store cannot say what it has.
    """
    cids, silent = looked_for(stores, named)
    for failure in silent:
        raise failure.error
    return cids


def looked_for(stores: Sequence[Store], named: Iterable[bytes]) -> tuple[set[Cid], list[Failure]]:
    """All objects that should be somewhere, as far as stores say what they have.

    Args:
        stores: where they are
        named: the digests of the CIDs that the chain names. An object of which there is no trace is
            called by the CID that it has if it is larger than a leaf

    Returns:
        the objects in stores and those that the chain names, and the stores that do not say
    """
    cids: set[Cid] = set()
    silent: dict[Store, Failure] = {}

    def asked(store: Store, ask: Callable[[Store], set[Cid]]) -> set[Cid]:
        if store in silent:  # an IPFS node is waited for long enough, once
            return set()
        try:
            return ask(store)
        except ModelproofError as error:
            silent[store] = Failure(store, error)
            return set()

    for store in stores:
        cids |= asked(store, _listed)
    for digest in named:
        possible = possible_cids(digest)
        if cids.isdisjoint(possible):
            here = [asked(store, partial(_kept_among, possible)) for store in stores]
            cids |= set().union(*here) or {possible[-1]}
    return cids, list(silent.values())


def _listed(store: Store) -> set[Cid]:
    """What a store has, of objects or sidecars; a node may have pinned what is not ours."""
    return {*store.names(), *store.sidecars.names()} if isinstance(store, LocalStore) else set()


def _kept_among(cids: Iterable[Cid], store: Store) -> set[Cid]:
    return {cid for cid in cids if store.has(cid)}


def days_before(now: float, days: float) -> float:
    """The time so many days before ``now``, both in seconds since the epoch.

    Raises:
        StorageError: ``days`` is no number of days: below 0, infinite, or not a number at all.
    """
    if not 0 <= days < math.inf:
        raise StorageError(f"what is older than {days:g} days cannot be told: say 0 or more days")
    return now - days * _DAY_S


def garbage(
    folder: LocalStore, named: Collection[bytes], newest: float, given_up: Collection[Cid] = ()
) -> list[Cid]:
    """Find what nobody needs among the objects that lie, or whose sidecars lie, in a folder.

    Args:
        folder: also tells which objects on an IPFS node are ours
        named: digests of the CIDs that versions on chain name; these objects are never garbage
        newest: seconds since the epoch; what came later may be about to be named
        given_up: the clients' updates that a rule gives up; others are no garbage. What describes
            a federated run is none either: the metadata of its versions names it

    Returns:
        the objects, in the order of their CIDs. One whose sidecar is damaged, or cannot be read, is
        not among them.

    Raises:
        StorageError: the folder does not say what it has, and since when.
    """
    found = []
    for cid in sorted({*folder.names(), *folder.sidecars.names()}, key=str):
        if cid.digest in named or folder.changed_at(cid) > newest:
            continue
        try:
            kind = read_sidecar(folder.sidecars, cid).payload.format
        except UnknownObject:  # nobody can ever read it
            kind = None
        except ModelproofError:  # damaged, or the disk does not give it
            continue
        if kind not in (UPDATE_FORMAT, RUN_FORMAT) or (kind == UPDATE_FORMAT and cid in given_up):
            found.append(cid)
    return found


def agreed(folders: Sequence[LocalStore], verdicts: Sequence[Collection[Cid]]) -> list[Cid]:
    """Find what is garbage in every folder that has it, as `garbage` says for each."""
    found = set().union(*verdicts)
    for folder, verdict in zip(folders, verdicts, strict=True):
        found -= {cid for cid in found - set(verdict) if folder.changed_at(cid)}
    return sorted(found, key=str)


def delete(stores: Iterable[Store], cids: Iterable[Cid]) -> None:
    """Delete objects, then their sidecars: what is interrupted is found again."""
    places = list(stores)
    for cid in cids:
        for store in places:
            store.delete(cid)
        for store in places:
            if isinstance(store, LocalStore):
                store.sidecars.delete(cid)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a folder has."""

    objects: int
    sidecars: int
    total_bytes: int
    """Of the objects that have a sidecar which can be read."""
    formats: Mapping[str, int]
    """How many of each format."""


def statistics(sidecars: Sidecars, store: Store) -> Statistics:
    """Count a store's objects; sizes are as the sidecars say, and nothing else is read."""
    formats: Counter[str] = Counter()
    total = described = 0
    objects = set(store.names())
    for cid in sidecars.names():
        described += 1
        try:
            sidecar = read_sidecar(sidecars, cid)
        except NotVerified:
            formats["(damaged sidecar)"] += 1
            continue
        except StorageError:
            formats["(unreadable sidecar)"] += 1
            continue
        if cid in objects:
            total += sidecar.stored.size
            formats[sidecar.payload.format] += 1
    return Statistics(len(objects), described, total, dict(formats))


def _examine(store: Store, cid: Cid) -> Finding:
    try:
        if not store.has(cid):  # an IPFS node would find it elsewhere, and not keep it
            return Finding(cid, str(store), Condition.LOST)
        store.verify(cid)
    except UnknownObject as error:
        return Finding(cid, str(store), Condition.LOST, str(error))
    except NotVerified as error:
        return Finding(cid, str(store), Condition.DAMAGED, str(error))
    except ModelproofError as error:
        return Finding(cid, str(store), Condition.UNKNOWN, str(error))
    return Finding(cid, str(store), Condition.WHOLE)


def _examine_sidecar(folder: LocalStore, cid: Cid) -> Finding:
    place = f"{folder} (sidecar)"
    try:
        read_sidecar(folder.sidecars, cid)
    except UnknownObject as error:
        return Finding(cid, place, Condition.LOST, str(error))
    except NotVerified as error:
        return Finding(cid, place, Condition.DAMAGED, str(error))
    except ModelproofError as error:
        return Finding(cid, place, Condition.UNKNOWN, str(error))
    return Finding(cid, place, Condition.WHOLE)


def _copy(source: Store, target: Store, before: Finding) -> Finding:
    """Copy an object; a copy that is not right is not kept."""

    def copy() -> None:
        with source.open(before.cid) as pieces:
            target.put(checked(pieces, before.cid))

    return _mended(before, source, copy)


def _copy_sidecar(source: LocalStore, target: LocalStore, before: Finding) -> Finding:
    cid = before.cid
    return _mended(
        before,
        source,
        lambda: target.sidecars.write(cid, read_sidecar(source.sidecars, cid).to_json()),
    )


def _mended(before: Finding, source: Store, copy: Callable[[], None]) -> Finding:
    """How it is after it was copied, or that it could not be."""
    try:
        copy()
    except ModelproofError as error:
        reason = f"cannot be repaired from {source}: {error}"
        return Finding(before.cid, before.place, before.condition, reason)
    return Finding(before.cid, before.place, Condition.REPAIRED, f"from {source}")
