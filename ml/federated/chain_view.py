"""What a training asks the chain each round: a few calls, however long the history is."""

from __future__ import annotations

from typing import Final

from ml.chain import events
from ml.chain.events import Registered
from ml.chain.records import Model
from ml.chain.registry import ModelRegistry
from ml.chain.verification import check_registration
from ml.errors import NotVerified


class ChainView:
    """One model, as a node tells of it; registrations are checked and kept."""

    def __init__(self, registry: ModelRegistry, model: bytes) -> None:
        """Nothing is asked yet."""
        self.registry: Final = registry
        self.model: Final = model
        self._known: dict[tuple[int, bytes], Registered] = {}
        self._seen: Model | None = None

    def now(self) -> Model:
        """The model as it stands: its state, its policy, who is active."""
        self._seen = self.registry.model(self.model)
        return self._seen

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
        for record in events.registered(told):
            if record.version == version:
                on_record = self.registry.version(self.model, version)
                # of the model it takes the test set, which never changes
                check_registration(self._seen or self.now(), record, on_record)
                return record
        raise NotVerified(
            f"the chain has no version {version} with the weights 0x{weights.hex()}: it was not"
            " registered, or a reorganisation removed it."
        )
