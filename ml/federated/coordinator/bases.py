"""The versions that rounds start from: in memory as they were made, or from the store, verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ml.chain import verification
from ml.errors import ModelproofError
from ml.federated import version_files
from ml.federated.aggregation import NO_STATE, ServerState, Weights
from ml.federated.chain_view import ChainView
from ml.federated.objects import Objects
from ml.federated.run_configuration import RunConfiguration
from ml.storage.cid import Cid
from ml.storage.recorded import RecordedObject, sidecar_of

from .journal import RunJournal

_KEPT: Final = 3
"""The current version, the best, and the one that is being made."""


@dataclass(frozen=True, eq=False, slots=True)
class Base:
    """A version in memory, and where it is stored."""

    version: int
    """0 for the run's first weights."""
    weights: bytes
    """Its identity."""
    tensors: Weights
    state: ServerState
    cid: Cid | None
    """Of its object; the first weights have none."""


class Bases:
    """The versions of one model."""

    def __init__(
        self, run: RunConfiguration, chain: ChainView, objects: Objects, journal: RunJournal
    ) -> None:
        """Nothing is read yet."""
        self._run: Final = run
        self._chain: Final = chain
        self._objects: Final = objects
        self._journal: Final = journal
        self._held: dict[int, Base] = {}

    def hold(self, base: Base) -> None:
        """Keep a version in memory, in place of the one that was used longest ago."""
        self._held.pop(base.version, None)
        self._held[base.version] = base
        while len(self._held) > _KEPT:
            del self._held[next(iter(self._held))]

    def held(self, version: int) -> Base | None:
        """A version, if it is in memory."""
        return self._held.get(version)

    def of(self, version: int) -> Base:
        """A version, checked against the chain where it is not in memory.

        Raises:
            NotVerified: what is stored is not what was registered.
            StorageError: it is not in the store, or no key opens it.
            ModelproofError: it was not made by this run's rule, for its architecture.
        """
        base = self._held.get(version) or (self._load(version) if version else self._first())
        self.hold(base)
        return base

    def _first(self) -> Base:
        tensors = version_files.first_weights(self._run)
        return Base(0, version_files.weights_of(tensors), tensors, NO_STATE, None)

    def _load(self, version: int) -> Base:
        made = self._journal.round_of(version)
        if made:
            record = self._chain.registration(version, made[1].weights)
        else:  # it was made elsewhere
            found = verification.by_number(self._chain.registry, self._chain.model, version)
            record = found.registered
        stated = record.details
        if not any(stated.content):
            raise ModelproofError(f"v{version} was registered without an object: nothing to load.")
        named = RecordedObject(stated.object, stated.content, f"v{version} of {self._run.name}")
        sidecar = sidecar_of(named, self._objects.places.sidecars)
        limit = version_files.size_limit(self._run.architecture, self._run.rule)
        data = self._objects.get(sidecar.stored.cid, limit, sidecar)
        loaded = version_files.load(data, record.weights, self._run.rule, self._run.architecture)
        return Base(version, record.weights, loaded.tensors, loaded.state, sidecar.stored.cid)
