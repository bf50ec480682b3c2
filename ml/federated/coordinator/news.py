"""What a coordinator tells whoever watches it; nothing depends on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from ml.chain.types import CompletionReason, Verdict
from ml.federated.diagnosis import Diagnosis


@dataclass(frozen=True, slots=True)
class RoundBegan:
    """Clients were asked to train."""

    epoch: int
    iteration: int
    base: int
    clients: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class UpdateCame:
    """An update was admitted."""

    client: int
    count: int
    """How many the round has now."""
    expected: int


@dataclass(frozen=True, slots=True)
class UpdateTurnedDown:
    """An update was refused."""

    client: int
    refusal: str
    reason: str


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """Too few updates came: who has not answered was asked again, and others besides."""

    again: tuple[int, ...]
    others: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ClientFailed:
    """A client, or a validator, said that it could not do what it was asked."""

    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class MessageIgnored:
    """A message made no sense, or came too late to matter."""

    reason: str


@dataclass(frozen=True, slots=True)
class VersionRegistered:
    """A round's aggregate is stored and registered, and waits for its validation."""

    version: int
    weights: bytes
    gas_used: int


@dataclass(frozen=True, slots=True)
class RoundOver:
    """A version was judged, or discarded."""

    epoch: int
    iteration: int
    version: int
    base: int
    clients: tuple[int, ...]
    """Who contributed."""
    accuracy_ppm: int
    verdict: Verdict
    """NONE where somebody discarded the version."""
    sentence: str
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each part of the round took: see `clock`."""


@dataclass(frozen=True, slots=True)
class RoundGivenUp:
    """While the round was going on, the model moved on by a rollback, a discard or a completion."""

    epoch: int
    iteration: int
    reason: str


@dataclass(frozen=True, slots=True)
class RoundDiagnosed:
    """A round of a version that failed was looked into."""

    version: int
    """The version that failed."""
    iteration: int
    """The round that was looked into."""
    diagnosis: Diagnosis


@dataclass(frozen=True, slots=True)
class ClientExcluded:
    """A client takes part no more, until it is reinstated by hand."""

    client: int
    reason: str


@dataclass(frozen=True, slots=True)
class WentBack:
    """After a rollback, clients have loaded the target, or stayed silent."""

    epoch: int
    target: int
    reason: str
    acknowledged: tuple[int, ...]
    silent: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TrainingOver:
    """The model is completed."""

    reason: CompletionReason
    version: int


News: TypeAlias = (
    RoundBegan
    | UpdateCame
    | UpdateTurnedDown
    | AskedAgain
    | ClientFailed
    | MessageIgnored
    | VersionRegistered
    | RoundOver
    | RoundGivenUp
    | RoundDiagnosed
    | ClientExcluded
    | WentBack
    | TrainingOver
)
Tell: TypeAlias = Callable[[News], None]
