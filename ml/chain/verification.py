"""Which version some weights are, and whether that version is good.

A node's events say which version has the weights; they are believed only where the version's
commitment, from the chain's state, is the hash of exactly what they say. What else happened to its
model is believed where it is the history that the model's head commits to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ml.chain import commitment, events
from ml.chain.events import Registered, Validated
from ml.chain.logs import Event
from ml.chain.models import NamedModel, by_id, named
from ml.chain.records import Model, Origin, Version
from ml.chain.refusals import ContractRefused
from ml.chain.registry import ModelRegistry
from ml.chain.replay import origin_of, replay
from ml.chain.types import ModelKind, Status
from ml.errors import ModelproofError, NotVerified

_MOST_READINGS: Final = 5


class Requirement(StrEnum):
    """What a version must be, to be good enough."""

    CURRENT = "current"
    """The one that its model names now."""
    PASSED = "passed"
    """Validated and not revoked."""
    ANY = "any"
    """On record."""


@dataclass(frozen=True, slots=True)
class NamedOrigin:
    """The version of another model that a fork starts from, and what became of it by now."""

    model: NamedModel
    version: int
    status: Status

    def __str__(self) -> str:
        """As a person reads it."""
        return f"v{self.version} of {self.model.name}, {self.status.name.lower()}"


@dataclass(frozen=True, slots=True)
class Identified:
    """A version that has the weights in question, and where it stands now."""

    model: Model
    created: NamedModel
    registered: Registered
    version: Version
    validated: Validated | None
    on_active_line: bool
    was_rolled_back_from: bool
    """Whether a manual rollback took it, itself or with a descendant, off the active line."""
    origin: NamedOrigin | None
    """Where its model starts, if that is a fork."""
    reproaches: tuple[str, ...]
    """What was proved against those who made or validated it, a sentence each."""

    @property
    def is_current(self) -> bool:
        """Whether the model names this version now."""
        return self.version.number == self.model.state.current

    def meets(self, requirement: Requirement) -> bool:
        """Whether the version is good enough."""
        if requirement is Requirement.CURRENT:
            return self.is_current
        return requirement is Requirement.ANY or self.version.status is Status.PASSED

    def standing(self) -> str:
        """One sentence for a person: the status, and what supersedes the version if anything."""
        number, current = self.version.number, self.model.state.current
        now = f"the current version is v{current}" if current else "no version is current"
        match self.version.status:
            case Status.PASSED if self.is_current:
                return f"v{number} passed and is the current version."
            case Status.PASSED if self.on_active_line:
                return f"v{number} passed and has been superseded: {now}."
            case Status.PASSED if self.was_rolled_back_from:
                return f"v{number} passed, but was rolled back from: {now}."
            case Status.PASSED if self.model.kind is ModelKind.OPEN:
                return f"v{number} passed as a candidate: {now}."
            case Status.PASSED:
                return f"v{number} passed, but is not on the active line: {now}."
            case Status.FAILED:
                verdict = self.validated.verdict.name if self.validated else "unknown"
                back = "" if self.model.kind is ModelKind.OPEN else " and was rolled back"
                return f"v{number} failed its validation ({verdict}){back}: {now}."
            case Status.PENDING:
                return f"v{number} is registered and waits for its validation: {now}."
            case Status.DISCARDED:
                return f"v{number} was discarded before its validation: {now}."
            case _:
                return f"v{number} passed once and was revoked since: {now}."


def identify(
    registry: ModelRegistry,
    weights: bytes,
    *,
    model: bytes | None = None,
    version: int | None = None,
) -> list[Identified]:
    """The versions with these weights, those in the best standing first.

    Args:
        weights: an artifact's identity
        model: only versions of this model
        version: only the version of this number

    Raises:
        NotVerified: what the node says of a version is not what the version commits to.
    """
    records = events.registered(events.read(registry, model=model, weights=weights))
    matching = [record for record in records if version in (None, record.version)]
    return sorted(_standings(registry, matching), key=_rank, reverse=True)


def by_number(registry: ModelRegistry, model: bytes, number: int) -> Identified:
    """The version of a model with this number, and where it stands now.

    Raises:
        NotVerified: what the node says of the version is not what it commits to, or nothing.
        ContractRefused: there is no such version.
    """
    registry.version(model, number)
    records = events.registered(events.read(registry, model=model))
    found = _standings(registry, [record for record in records if record.version == number])
    if not found:
        raise NotVerified(
            f"the node has no event of version {number}, which is on record: ask another node."
        )
    return found[0]


def read_checked(registry: ModelRegistry, model: bytes) -> tuple[Model, list[Event]]:
    """A model and all its events as of one moment, checked against the model's head.

    Raises:
        NotVerified: the events are not the history that the head commits to.
        ModelproofError: the model changes faster than it can be read.
        ContractRefused: there is no such model.
    """
    state, all_events = _settled(registry, model)
    replayed = list(replay((event.name, event.arguments) for event in all_events))
    if not replayed or replayed[-1].head != state.head:
        raise NotVerified(
            "the node's events are not the history that the model's head commits to:"
            " ask another node."
        )
    line, origin = replayed[-1].line, origin_of(all_events[0].arguments)
    if (line.state, line.policy, origin) != (state.state, state.policy, state.origin):
        raise NotVerified(
            "what the node says of the model's state is not what its history comes to:"
            " ask another node."
        )
    return state, all_events


def _settled(registry: ModelRegistry, model: bytes) -> tuple[Model, list[Event]]:
    """A model and its events as of one moment, which something may have come between."""
    state = registry.model(model)
    for _ in range(_MOST_READINGS):
        all_events = events.read(registry, model=model)
        before, state = state, registry.model(model)
        if state.head == before.head:
            return state, all_events
    raise ModelproofError(
        f"model 0x{model.hex()} changed {_MOST_READINGS} times while it was read: try again, or"
        " ask another node."
    )


def check_registration(model: Model, record: Registered, version: Version | None) -> Version:
    """The version's record, once the event's every field has been found in its commitment.

    Args:
        model: whose version
        record: the event
        version: what the chain has on record, None if it has nothing

    Raises:
        NotVerified: the event is not what the chain's state commits to.
    """
    if version is None:
        raise NotVerified(
            f"the node has an event of version {record.version}, which is not on record:"
            " ask another node."
        )
    details = commitment.details_hash(
        record.model, record.version, record.registrar, record.details, record.metadata
    )
    full = commitment.commitment(model.test_set, record.weights, details)
    if record.commitment != full or not commitment.matches(version.commitment, full):
        raise NotVerified(
            f"the node's event of version {record.version} is not what that version commits to:"
            " ask another node."
        )
    return version


def _standings(registry: ModelRegistry, records: Iterable[Registered]) -> list[Identified]:
    found = []
    read: dict[bytes, tuple[Model, list[Event]]] = {}
    for record in records:
        try:
            model = registry.model(record.model)
        except ContractRefused as error:
            raise NotVerified(
                f"the node has an event of version {record.version} of a model that is not on"
                " record: ask another node."
            ) from error
        version = check_registration(model, record, _version(registry, record))
        if record.model not in read:
            read[record.model] = read_checked(registry, record.model)
        model, all_events = read[record.model]
        validations = events.validated(all_events)
        validated = next((v for v in validations if v.version == record.version), None)
        found.append(
            Identified(
                model=model,
                created=named(all_events[0]),
                registered=record,
                version=version,
                validated=validated,
                on_active_line=registry.on_active_line(record.model, record.version),
                was_rolled_back_from=record.version in _rolled_back_from(all_events),
                origin=named_origin(registry, model),
                reproaches=_reproaches(registry, record, validated),
            )
        )
    return found


def _version(registry: ModelRegistry, record: Registered) -> Version | None:
    try:
        return registry.version(record.model, record.version)
    except ContractRefused:
        return None


def named_origin(registry: ModelRegistry, model: Model) -> NamedOrigin | None:
    """Where a model starts, if it is a fork, and what became of that version by now.

    Raises:
        NotVerified: the node has no creation of that model, or a made up one.
    """
    origin: Origin | None = model.origin
    if origin is None:
        return None
    return NamedOrigin(by_id(registry, origin.model), origin.version, model.origin_status)


def _reproaches(
    registry: ModelRegistry, record: Registered, validated: Validated | None
) -> tuple[str, ...]:
    """What the registry has on record against those whose word a version's standing is."""
    model, version = record.model, record.version
    hidden = registry.hidden_clients(model, version) if any(record.details.updates) else 0
    clients = [index for index in range(hidden.bit_length()) if hidden >> index & 1]
    said = [
        f"the update of client {index} went into v{version}, and its registrar,"
        f" {record.registrar}, did not say so."
        for index in clients
    ]
    for validator in validated.validators if validated else ():
        contradicted = registry.equivocation_of(model, validator)
        if contradicted:
            said.append(
                f"its validator {validator} signed two evaluations of v{contradicted} that"
                " contradict each other."
            )
    return tuple(said)


def _rolled_back_from(all_events: Sequence[Event]) -> set[int]:
    """The versions that manual rollbacks took off the active line."""
    parents = {record.version: record.details.parent for record in events.registered(all_events)}

    def line(version: int) -> set[int]:
        versions = set()
        while version:
            versions.add(version)
            version = parents[version]
        return versions

    return {
        version
        for event in all_events
        if event.name == "RolledBackManually"
        for version in line(event.arguments["from"]) - line(event.arguments["to"])
    }


def _rank(found: Identified) -> tuple[bool, bool, int]:
    return (found.is_current, found.version.status is Status.PASSED, found.version.number)
