"""What a run's journal holds of a round: how it was begun, what came, what was made of it."""

from __future__ import annotations

from dataclasses import dataclass

from ml.federated.sampling import RoundKey
from ml.training.canonical import Digest


@dataclass(frozen=True, slots=True)
class BegunRound:
    """A round that was begun."""

    key: RoundKey
    base: int
    """The version that clients start from."""
    clients: tuple[int, ...]
    """Who was asked, in ascending order."""
    failed: tuple[int, ...]
    """Who answered that it could not."""
    deadline: int | None
    """Seconds since 1970."""
    is_closed: bool
    """Whether it takes no more updates."""


@dataclass(frozen=True, slots=True)
class TakenUpdate:
    """An update that was admitted to a round."""

    client: int
    cid: str
    sidecar: str
    """As it was sent: it is kept in the stores at the end of the round only."""
    signed: str
    """As `ml.chain.signed_files` writes it, without a proof."""
    correct: int | None
    epsilon: float | None
    training_s: float
    storing_s: float


@dataclass(frozen=True, slots=True)
class MadeVersion:
    """What was made of a round and stored: all that its registration says."""

    version: int
    weights: Digest
    cid: str
    """Of its object."""
    object: Digest
    """SHA-256 of that."""
    content: Digest
    """The digest in its CID."""
    updates: Digest
    """The root over the signed updates."""
    contributors: str
    """The bitmap of their clients, in hexadecimal digits."""
    metadata: str
    """What goes on chain."""
    training_accuracy_ppm: int
    bytes_stored: int
    """Of all its objects but the updates'."""
