"""How a version of a federated training came about, as one canonical JSON text beside its file.

With the updates that it names and the run's configuration, all of which are in the store, anybody
who has the keys computes the version again, bit for bit. The SHA-256 of the text goes on chain with
the version, as that of training metadata does (`metadata`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from ml.chain.types import MAX_PPM
from ml.errors import ModelproofError

from . import canonical
from .architectures import Architecture
from .canonical import Digest
from .environment import Environment
from .metadata import OBJECT_KEY


@dataclass(frozen=True, slots=True)
class RecordedUpdate:
    """A client's update, as it went into a version."""

    client_id: int
    address: str
    cid: str
    """Of the stored object."""
    digest: Digest
    """SHA-256 of the update's file: what the client signed."""
    samples: int
    correct: int | None
    """How many of these the client's own model then told apart rightly, if it looked."""
    signature_r: Digest
    signature_vs: Digest
    """By EIP-712, in the compact form of EIP-2098."""
    epsilon: float | None = None
    """What the update spent of the client's privacy, where that is counted."""


@dataclass(frozen=True, slots=True)
class RoundMetadata:
    """All that is known of how a version was aggregated.

    Raises:
        ModelproofError: on construction, if there is no update, or they are not in the order of
            their clients.
    """

    weights: Digest
    """The identity of the version that this belongs to."""
    model: Digest
    """Its id."""
    version: int
    parent: int
    """The version that clients started from; 0 for the run's first weights."""
    parent_weights: Digest
    """Their identity."""
    epoch: int
    iteration: int
    run: Digest
    """SHA-256 of the run's configuration."""
    run_cid: str
    """Of the object that holds it."""
    dataset: str
    class_names: tuple[str, ...]
    architecture: Architecture
    rule: str
    """The name of the aggregation rule; the run's configuration has its parameters."""
    updates_root: Digest
    """Over the signed updates: what the version commits to."""
    updates: tuple[RecordedUpdate, ...]
    environment: Environment
    format: Literal["modelproof.round.v1"] = "modelproof.round.v1"

    def __post_init__(self) -> None:
        """Check the updates' order."""
        clients = [update.client_id for update in self.updates]
        if not clients or clients != sorted(set(clients)):
            raise ModelproofError("a round has updates, in the order of their clients, one of each")

    @property
    def dataset_name(self) -> str:
        """Of what the clients trained on."""
        return self.dataset

    @property
    def training_accuracy_ppm(self) -> int:
        """Accuracy of the clients' models on what they trained on; 0 where not all counted."""
        counted = [update.correct for update in self.updates if update.correct is not None]
        samples = sum(update.samples for update in self.updates)
        return sum(counted) * MAX_PPM // samples if len(counted) == len(self.updates) else 0

    @property
    def epsilon(self) -> float | None:
        """The most that a client's update spent of its privacy; None where it is not counted."""
        return max((one.epsilon for one in self.updates if one.epsilon is not None), default=None)

    def to_json(self) -> str:
        """Write canonical JSON: see ``canonical``."""
        return canonical.dump(self)

    @staticmethod
    def from_json(data: bytes, what: str = "the round's metadata") -> RoundMetadata:
        """Read what ``to_json`` wrote; ``what`` names the text in errors.

        Raises:
            MalformedJson: it is anything else.
            ModelproofError: the updates are not in order.
        """
        return canonical.load(RoundMetadata, data, what)

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the text, 32 bytes."""
        return hashlib.sha256(self.to_json().encode()).digest()

    def summary(self, stored_as: str) -> str:
        """Write JSON of about 300 bytes for the chain; ``stored_as`` is the text's object."""
        epsilon = {} if self.epsilon is None else {"epsilon": self.epsilon}
        return canonical.canonical_json(
            {
                "clients": len(self.updates),
                "dataset": self.dataset,
                "metadata_sha256": self.digest.hex(),
                "rule": self.rule,
                "run_sha256": self.run.hex(),
                OBJECT_KEY: stored_as,
                **epsilon,
            }
        )
