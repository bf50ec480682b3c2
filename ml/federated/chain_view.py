"""What a training asks the chain each round: a few requests, however long the history is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Final

from ml.chain import events
from ml.chain.events import Registered, Validated
from ml.chain.logs import Event
from ml.chain.records import Model, Version
from ml.chain.registry import Look, ModelRegistry
from ml.chain.verification import check_registration
from ml.errors import NotVerified

_RECENT: Final = 5_000
"""Blocks that are searched along with other questions: half of what public nodes let one search."""


class ChainView:
    """One model, as a node tells of it; registrations are checked and kept."""

    def __init__(self, registry: ModelRegistry, model: bytes) -> None:
        """Nothing is asked yet."""
        self.registry: Final = registry
        self.model: Final = model
        self._known: dict[tuple[int, bytes], Registered] = {}
        self._seen: Model | None = None
        self._block: int | None = None

    def now(self, about: tuple[int, bytes] | None = None) -> Model:
        """The model as it stands: its state, its policy, who is active.

        Args:
            about: a version and its weights, about which `registration` will be asked next: what
                that needs is asked in the same request
        """
        if about is None or self._block is None or not about[0] or about in self._known:
            return self._remember(self.registry.look(self.model))
        version, weights = about
        topics = events.topics_of(self.registry, self.model, weights=weights)
        found = self.registry.look(self.model, version, topics, self._recent(self._block))
        for record in _of(found.events or (), version):
            # where a node contradicts itself, `registration` asks again, and says so
            with contextlib.suppress(NotVerified):
                check_registration(found.model, record, found.version)
                self._known[about] = record
        return self._remember(found)

    def outcome(self, version: int) -> tuple[Model, Version | None]:
        """The model as it stands, and a version's record."""
        found = self.registry.look(self.model, version)
        return self._remember(found), found.version

    def verdicts(self, version: int) -> list[Validated]:
        """How a version was validated: nothing, if it was not."""
        if self._block is not None:
            topics = events.topics_of(self.registry, self.model, version)
            found = self.registry.look(self.model, topics=topics, since=self._recent(self._block))
            self._remember(found)
            if found.events:
                return events.validated(found.events)
        return events.validated(events.read(self.registry, model=self.model, version=version))

    def registration(self, version: int, weights: bytes) -> Registered:
        """How a version was registered, which has to have these weights.

        Raises:
            NotVerified: it has others, or what the node says of it is not what it commits to.
            ContractRefused: there is no such version.
        """
        if (version, weights) not in self._known:
            self._known[version, weights] = self._read(version, weights)
        return self._known[version, weights]

    def forget(self) -> None:
        """Ask everything again, as after a reorganisation of the chain."""
        self._known.clear()
        self._seen = None

    def _read(self, version: int, weights: bytes) -> Registered:
        told = events.read(self.registry, model=self.model, weights=weights)
        for record in _of(told, version):
            on_record = self.registry.version(self.model, version)
            # of the model it takes the test set, which never changes
            check_registration(self._seen or self.now(), record, on_record)
            return record
        raise NotVerified(
            f"the chain has no version {version} with the weights 0x{weights.hex()}: it was not"
            " registered, or a reorganisation removed it."
        )

    def _recent(self, block: int) -> int:
        return max(self.registry.deployed_at, block - _RECENT)

    def _remember(self, found: Look) -> Model:
        self._seen, self._block = found.model, found.block
        return found.model


def _of(told: Iterable[Event], version: int) -> list[Registered]:
    return [record for record in events.registered(told) if record.version == version]
