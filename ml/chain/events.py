"""The registry's events, as dataclasses, read from a node's logs.

A node can leave events out or make them up: what is taken from one is checked against the
version's commitment in ``verification``, and all of a model's against its head in ``history``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ml.chain import logs
from ml.chain.logs import Event
from ml.chain.records import Details
from ml.chain.registry import ModelRegistry
from ml.chain.types import Verdict


@dataclass(frozen=True, slots=True)
class Registered:
    """What VersionRegistered says."""

    model: bytes
    version: int
    weights: bytes
    commitment: bytes
    registrar: str
    details: Details
    metadata: str
    block: int
    transaction: str


@dataclass(frozen=True, slots=True)
class Validated:
    """What VersionValidated says. Accuracies are ppm."""

    version: int
    validator: str
    accuracy: int
    training_accuracy: int
    verdict: Verdict
    metrics: str
    block: int
    transaction: str
    signers: tuple[str, ...] = ()
    """Where several validators signed, those; then ``validator`` is who sent their signatures."""
    deadline: int = 0
    """Until when their signatures were good, in seconds since 1970."""

    @property
    def validators(self) -> tuple[str, ...]:
        """Whose word it is."""
        return self.signers or (self.validator,)


def read(
    registry: ModelRegistry,
    *,
    model: bytes | None = None,
    version: int | None = None,
    weights: bytes | None = None,
    name: str | None = None,
) -> list[Event]:
    """All events of the registry, oldest first, that match every filter given.

    Args:
        model: only this model's
        version: only those whose second topic is this number, as of all that are about a version
        weights: only registrations of these weights
        name: only events of this name

    Raises:
        NotVerified: the node's answer holds something else than what was asked for.
    """
    return list(registry.search(topics_of(registry, model, version, weights, name)))


def topics_of(
    registry: ModelRegistry,
    model: bytes | None = None,
    version: int | None = None,
    weights: bytes | None = None,
    name: str | None = None,
) -> list[str | None]:
    """The filter for what `read` reads; the same arguments."""
    if weights is not None:
        name = "VersionRegistered"
    topics: list[str | None] = [None]
    if name is not None:
        abi = next(e for e in registry.contract.contract_type.events if e.name == name)
        topics = [logs.topic_of(abi)]
    if model is not None or version is not None or weights is not None:
        topics.append("0x" + model.hex() if model is not None else None)
    if version is not None or weights is not None:
        topics.append(f"0x{version:064x}" if version is not None else None)
    if weights is not None:
        topics.append("0x" + weights.hex())
    return topics


def registered(events: Iterable[Event]) -> list[Registered]:
    """The registrations among some events, in order."""
    return [
        Registered(
            model=event.model,
            version=event.arguments["version"],
            weights=bytes(event.arguments["weights"]),
            commitment=bytes(event.arguments["commitment"]),
            registrar=str(event.arguments["registrar"]),
            details=_details(event.arguments["details"]),
            metadata=event.arguments["metadata"],
            block=event.block,
            transaction=event.transaction,
        )
        for event in events
        if event.name == "VersionRegistered"
    ]


def validated(events: Iterable[Event]) -> list[Validated]:
    """The validations among some events, in order."""
    found = []
    quorum: Mapping[str, Any] = {}
    for event in events:
        said = event.arguments
        if event.name == "VersionValidated":
            found.append(
                Validated(
                    version=said["version"],
                    validator=str(said["validator"]),
                    accuracy=said["accuracy"],
                    training_accuracy=said["trainingAccuracy"],
                    verdict=Verdict(said["verdict"]),
                    metrics=said["metrics"],
                    block=event.block,
                    transaction=event.transaction,
                    signers=tuple(map(str, quorum.get("signers", ()))),
                    deadline=quorum.get("deadline", 0),
                )
            )
        # it comes immediately before the validation that it is about
        quorum = said if event.name == "QuorumReached" else {}
    return found


def _details(fields: Any) -> Details:
    parent, iteration, epoch, *digests, contributors = fields
    stored, content, updates = map(bytes, digests)
    return Details(parent, iteration, epoch, stored, content, updates, contributors)
