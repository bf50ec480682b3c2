"""The registry's events, as dataclasses, read from a node's logs.

A node can leave events out or make them up: what is taken from one is checked against the
version's commitment in ``verification``, and all of a model's against its head in ``history``.
"""

from __future__ import annotations

from collections.abc import Iterable
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


def read(
    registry: ModelRegistry,
    *,
    model: bytes | None = None,
    weights: bytes | None = None,
    name: str | None = None,
) -> list[Event]:
    """All events of the registry, oldest first, that match every filter given.

    Args:
        model: only this model's
        weights: only registrations of these weights
        name: only events of this name

    Raises:
        NotVerified: the node's answer holds something else than what was asked for.
    """
    if weights is not None:
        name = "VersionRegistered"
    topics: list[str | None] = [None]
    if name is not None:
        abi = next(e for e in registry.contract.contract_type.events if e.name == name)
        topics = [logs.topic_of(abi)]
    if model is not None or weights is not None:
        topics.append("0x" + model.hex() if model is not None else None)
    if weights is not None:
        topics += [None, "0x" + weights.hex()]
    return list(registry.search(topics))


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
    return [
        Validated(
            version=event.arguments["version"],
            validator=str(event.arguments["validator"]),
            accuracy=event.arguments["accuracy"],
            training_accuracy=event.arguments["trainingAccuracy"],
            verdict=Verdict(event.arguments["verdict"]),
            metrics=event.arguments["metrics"],
            block=event.block,
            transaction=event.transaction,
        )
        for event in events
        if event.name == "VersionValidated"
    ]


def _details(fields: Any) -> Details:
    parent, iteration, epoch, *digests, contributors = fields
    stored, content, updates = map(bytes, digests)
    return Details(parent, iteration, epoch, stored, content, updates, contributors)
