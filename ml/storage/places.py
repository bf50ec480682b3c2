"""The stores that a user names: folders, and IPFS nodes beside them.

A place is a folder, or ``ipfs:`` and the URL of a node's RPC. One of them has to be a folder, for
the sidecars.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from ml.errors import ModelproofError, NotVerified

from .cid import Cid
from .encrypted import read_sidecar
from .errors import StorageError, UnknownObject
from .local_store import LocalSidecars, LocalStore
from .replicas import ALL, Policy, Replicas, TooFewReplicas
from .spool import spooled
from .store import Sidecars, Store

_IPFS: Final = "ipfs:"


def open_store(place: str) -> Store:
    """Return the store at a place; nothing is connected to or made yet.

    Raises:
        StorageError: what follows ``ipfs:`` is no URL.
    """
    if place.startswith(_IPFS):
        from .ipfs import IpfsStore  # which brings an HTTP client

        return IpfsStore(place.removeprefix(_IPFS))
    return LocalStore(Path(place))


class Places:
    """The stores at some places, and what they are together."""

    def __init__(self, names: Sequence[str], policy: Policy = ALL) -> None:
        """Open the stores; nothing is connected to or made yet.

        Raises:
            StorageError: none is a folder, one is no place or named twice, or the policy asks for
                more of them.
        """
        self.stores: Final = [open_store(name) for name in names]
        self.folders: Final = [each for each in self.stores if isinstance(each, LocalStore)]
        if not self.folders:
            raise StorageError(
                "an IPFS node keeps no sidecars: name a --store too that is a folder, as objects."
            )
        _check_apart(self.stores)
        policy.needed(len(self.stores))
        self._policy: Final = policy

    def check(self) -> None:
        """See that an object could be stored, without storing one.

        Raises:
            TooFewReplicas: fewer stores answer than the policy asks for.
            StorageError: there is no room for the file that several stores are given it from.
        """
        Replicas(self.stores, self._policy).check()
        if len(self.stores) > 1:
            with spooled([b"tried"]):
                pass

    @property
    def store(self) -> Store:
        """All of them as one, by the policy."""
        return self.stores[0] if len(self.stores) == 1 else Replicas(self.stores, self._policy)

    @property
    def sidecars(self) -> Sidecars:
        """The sidecars of all folders as one."""
        if len(self.folders) == 1:
            return self.folders[0].sidecars
        needed = min(self._policy.needed(len(self.stores)), len(self.folders))
        return SidecarReplicas([folder.sidecars for folder in self.folders], needed)

    def sidecars_of(self, store: Store) -> Sidecars:
        """The sidecars beside a store's objects; an IPFS node's are in the first folder."""
        return next((each for each in self.folders if each is store), self.folders[0]).sidecars


def _check_apart(stores: Sequence[Store]) -> None:
    """See that no place is named twice, which would count as two replicas and be one."""
    first: dict[object, Store] = {}
    for store in stores:
        same = first.setdefault(_identity(store), store)
        if same is not store:
            raise StorageError(
                f"{store} and {same} are one place, and would count as two replicas: name it once"
            )


def _identity(store: Store) -> object:
    """What is equal for stores in the same place, by whatever names."""
    if not isinstance(store, LocalStore):
        return str(store).rstrip("/")
    try:
        status = store.root.stat()
    except OSError:  # it is not there yet, or does not answer
        return os.path.realpath(store.root)
    return status.st_dev, status.st_ino


class SidecarReplicas(Sidecars):
    """The same sidecars in several folders: each is written to all, and read where it is right."""

    def __init__(self, folders: Sequence[LocalSidecars], needed: int) -> None:
        """Combine folders, of which ``needed`` have to take a sidecar."""
        self._folders: Final = tuple(folders)
        self._needed: Final = needed

    def __str__(self) -> str:
        return ", ".join(map(str, self._folders))

    def read(self, cid: Cid) -> bytes:
        """Return the first sidecar that is right.

        Raises:
            UnknownObject: no folder has one.
            DamagedSidecar, SwappedSidecar: some have, but none that is right.
            StorageError: no folder has one, but some do not say.
        """
        refusals: list[ModelproofError] = []
        for folder in self._folders:
            try:
                return read_sidecar(folder, cid).to_json()
            except UnknownObject:
                continue
            except ModelproofError as error:
                refusals.append(error)
        for refusal in refusals:
            if isinstance(refusal, NotVerified):
                raise refusal
        if refusals:
            raise refusals[0]
        raise UnknownObject(f"there is no sidecar of {cid} in {self}")

    def write(self, cid: Cid, sidecar: bytes) -> None:
        """Keep a sidecar in all folders; errors as `write_all`."""
        self.write_all({cid: sidecar})

    def write_all(self, sidecars: Mapping[Cid, bytes]) -> None:
        """Keep sidecars in all folders; one that does not take them is reported if others do.

        A crash in between leaves them in some: `upkeep.repair_sidecars` completes that.

        Raises:
            TooFewReplicas: too few folders take them.
        """
        failures: list[StorageError] = []
        for folder in self._folders:
            try:
                folder.write_all(sidecars)
            except StorageError as error:
                failures.append(error)
        count = len(self._folders)
        if count - len(failures) < self._needed:
            first, *others = sidecars
            whose = f"{first} and {len(others)} others" if others else str(first)
            said = "; ".join(map(str, failures))
            raise TooFewReplicas(
                f"cannot store the sidecar of {whose} in {self._needed} of {count} folders: {said}"
            )
        for failure in failures:
            logging.getLogger(__name__).warning("a replica failed: %s", failure)

    def update(self, cid: Cid, change: Callable[[bytes], bytes]) -> bool:
        """Replace each folder's sidecar by what ``change`` makes of it."""
        changed = [folder.update(cid, change) for folder in self._folders]
        return any(changed)

    def delete(self, cid: Cid) -> None:
        """Remove a sidecar from all folders."""
        for folder in self._folders:
            folder.delete(cid)

    def names(self) -> Iterator[Cid]:
        """The objects that have a sidecar in one of the folders."""
        return iter({cid for folder in self._folders for cid in folder.names()})
