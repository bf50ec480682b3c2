"""A model's history as a person reads it: its versions, and what happened to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ml.chain import events, evidence
from ml.chain.events import Registered, Validated
from ml.chain.evidence import Evidence
from ml.chain.logs import Event
from ml.chain.models import NamedModel, named
from ml.chain.records import Model, Version
from ml.chain.registry import ModelRegistry
from ml.chain.types import CompletionReason, ModelKind, Status, Verdict, format_ppm
from ml.chain.verification import NamedOrigin, check_registration, named_origin, read_checked
from ml.errors import ModelproofError


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """A version with its registration and, once there is one, its validation."""

    version: Version
    registered: Registered
    validated: Validated | None

    @property
    def waits(self) -> bool:
        """Whether it waits for its validation."""
        return self.version.status is Status.PENDING


@dataclass(frozen=True, slots=True)
class Happening:
    """Something other than a version: where, and in a sentence."""

    block: int
    transaction: str
    what: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Successor:
    """Where a model goes on, as its ADMIN said last."""

    registry: str
    model: bytes
    by: str


@dataclass(frozen=True, slots=True)
class History:
    """All of a model."""

    model: Model
    named: NamedModel
    rows: list[HistoryRow]
    happenings: list[Happening]
    evidence: Evidence
    origin: NamedOrigin | None
    """Where it starts, if it is a fork."""
    successor: Successor | None

    def row(self, version: int) -> HistoryRow:
        """The version of this number, which is on record."""
        return self.rows[version - 1]


def read(registry: ModelRegistry, model: bytes) -> History:
    """Read a model's history, checked against the model's head: nothing is left out, nothing added.

    Raises:
        NotVerified: what the node says happened is not what the chain's state commits to.
        ModelproofError: the model changes faster than it can be read.
        ContractRefused: there is no such model.
    """
    state, all_events = read_checked(registry, model)
    validations = {v.version: v for v in events.validated(all_events)}
    versions = {version.number: version for version in registry.versions(model)}
    rows = [
        HistoryRow(
            check_registration(state, r, versions.get(r.version)), r, validations.get(r.version)
        )
        for r in events.registered(all_events)
    ]
    proved = evidence.read(registry, model, all_events)
    return History(
        model=state,
        named=named(all_events[0]),
        rows=rows,
        happenings=_happenings(all_events, proved),
        evidence=proved,
        origin=named_origin(registry, state),
        successor=_successor(all_events),
    )


def lineage(registry: ModelRegistry, model: bytes, version: int) -> list[tuple[History, int]]:
    """A version, its parent, the parent's parent and so on; where a fork begins, its origin's.

    Returns:
        the checked history of each one's model, and its number

    Raises:
        NotVerified: what the node says happened is not what the chain's state commits to.
        ModelproofError: a model changes faster than it can be read, or has no such version.
    """
    known = read(registry, model)
    if not 1 <= version <= len(known.rows):
        raise ModelproofError(f"{known.named.name} has no version {version}.")
    line = []
    while version:
        line.append((known, version))
        version = known.row(version).version.parent
        origin = known.model.origin
        if version == 0 and origin is not None:
            known, version = read(registry, origin.model), origin.version
    return line


def mark(row: HistoryRow, model: Model) -> str:
    """Whether the version is the current one, the best one, or both."""
    marks = [
        name
        for name, number in (("current", model.state.current), ("best", model.state.best))
        if number == row.version.number
    ]
    return ", ".join(marks)


def _successor(all_events: list[Event]) -> Successor | None:
    for event in reversed(all_events):
        if event.name == "SuccessorAnnounced":
            said = event.arguments
            return Successor(str(said["registry"]), bytes(said["successorId"]), str(said["by"]))
    return None


def _happenings(all_events: Iterable[Event], proved: Evidence) -> list[Happening]:
    """All that happened in order; registrations and validations are the rows."""
    told = [
        Happening(
            event.block, event.transaction, event.name, _SENTENCES[event.name](event.arguments)
        )
        for event in all_events
        if event.name in _SENTENCES
    ]
    shown = [
        Happening(fact.block, fact.transaction, fact.EVENT, fact.sentence) for fact in proved.facts
    ]
    return sorted((*told, *shown), key=lambda happening: happening.block)


def _created(a: Mapping[str, Any]) -> str:
    kind = "open model " if a["kind"] is ModelKind.OPEN else ""
    version, origin = a["originVersion"], bytes(a["originModel"]).hex()
    forked = f", from v{version} of 0x{origin}" if version else ""
    return f"created by {a['creator']} as {kind}{a['name']}{forked}"


def _completed(a: Mapping[str, Any]) -> str:
    cause = CompletionReason(a["cause"]).name
    reason = f": {a['reason']}" if a["reason"] else ""
    return f"training completed with {_v(a['current'])} ({cause}){reason}"


def _v(version: int) -> str:
    return f"v{version}" if version else "none"


_SENTENCES: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "ModelCreated": _created,
    "QuorumReached": lambda a: (
        f"{len(a['signers'])} validators signed {_v(a['version'])}: {', '.join(a['signers'])}"
    ),
    "RolledBackAutomatically": lambda a: (
        f"the policy rolled back from {_v(a['from'])} to {_v(a['to'])}: {Verdict(a['cause']).name}"
    ),
    "RolledBackManually": lambda a: (
        f"{a['by']} rolled back from {_v(a['from'])} to {_v(a['to'])}: {a['reason']}"
    ),
    "VersionDiscarded": lambda a: f"{a['by']} discarded {_v(a['version'])}: {a['reason']}",
    "VersionRevoked": lambda a: f"{a['by']} revoked {_v(a['version'])}: {a['reason']}",
    "ModelCompleted": _completed,
    "ModelReopened": lambda a: f"{a['by']} reopened it: {a['reason']}",
    "PolicySet": lambda a: f"{a['by']} changed the policy",
    "SuccessorAnnounced": lambda a: (
        f"{a['by']} announced that it goes on as 0x{bytes(a['successorId']).hex()} in the registry"
        f" at {a['registry']}"
    ),
    "ClientEnrolled": lambda a: f"client {a['index']} enrolled: {a['client']}",
    "ClientExcluded": lambda a: f"{a['by']} excluded client {a['index']}: {a['reason']}",
    "ClientReinstated": lambda a: f"{a['by']} reinstated client {a['index']}: {a['reason']}",
}


def percent(ppm: int) -> str:
    """An accuracy as a person reads it."""
    return f"{format_ppm(ppm)} %"
