"""A model's history as a person reads it: its versions, and what happened to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ml.chain import events
from ml.chain.events import Registered, Validated
from ml.chain.logs import Event
from ml.chain.records import Model, Version
from ml.chain.registry import ModelRegistry
from ml.chain.types import CompletionReason, Verdict, format_ppm
from ml.chain.verification import check_registration, read_checked


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """A version with its registration and, once there is one, its validation."""

    version: Version
    registered: Registered
    validated: Validated | None


@dataclass(frozen=True, slots=True)
class Happening:
    """Something other than a version: where, and in a sentence."""

    block: int
    transaction: str
    what: str
    sentence: str


@dataclass(frozen=True, slots=True)
class History:
    """All of a model."""

    model: Model
    rows: list[HistoryRow]
    happenings: list[Happening]


def read(registry: ModelRegistry, model: bytes) -> History:
    """Read a model's history, checked against the model's head: nothing is left out, nothing added.

    Raises:
        NotVerified: what the node says happened is not what the chain's state commits to.
        ModelproofError: the model changes faster than it can be read.
        ContractRefused: there is no such model.
    """
    state, all_events = read_checked(registry, model)
    validations = {v.version: v for v in events.validated(all_events)}
    rows = [
        HistoryRow(check_registration(registry, state, r), r, validations.get(r.version))
        for r in events.registered(all_events)
    ]
    return History(state, rows, [h for e in all_events if (h := _happening(e))])


def mark(row: HistoryRow, model: Model) -> str:
    """Whether the version is the current one, the best one, or both."""
    marks = [
        name
        for name, number in (("current", model.state.current), ("best", model.state.best))
        if number == row.version.number
    ]
    return ", ".join(marks)


def _happening(event: Event) -> Happening | None:
    sentence = _sentence(event.name, event.arguments)
    if sentence is None:
        return None
    return Happening(event.block, event.transaction, event.name, sentence)


def _sentence(name: str, a: dict[str, Any]) -> str | None:
    match name:
        case "ModelCreated":
            return f"created by {a['creator']} as {a['name']}"
        case "RolledBackAutomatically":
            cause = Verdict(a["cause"]).name
            return f"the policy rolled back from {_v(a['from'])} to {_v(a['to'])}: {cause}"
        case "RolledBackManually":
            return f"{a['by']} rolled back from {_v(a['from'])} to {_v(a['to'])}: {a['reason']}"
        case "VersionDiscarded":
            return f"{a['by']} discarded {_v(a['version'])}: {a['reason']}"
        case "VersionRevoked":
            return f"{a['by']} revoked {_v(a['version'])}: {a['reason']}"
        case "ModelCompleted":
            cause = CompletionReason(a["cause"]).name
            reason = f": {a['reason']}" if a["reason"] else ""
            return f"training completed with {_v(a['current'])} ({cause}){reason}"
        case "ModelReopened":
            return f"{a['by']} reopened it: {a['reason']}"
        case "PolicySet":
            return f"{a['by']} changed the policy"
        case "ClientEnrolled":
            return f"client {a['index']} enrolled: {a['client']}"
        case "ClientExcluded":
            return f"{a['by']} excluded client {a['index']}: {a['reason']}"
        case "ClientReinstated":
            return f"{a['by']} reinstated client {a['index']}: {a['reason']}"
        case _:
            return None  # registrations and validations are the rows


def _v(version: int) -> str:
    return f"v{version}" if version else "none"


def percent(ppm: int) -> str:
    """An accuracy as a person reads it."""
    return f"{format_ppm(ppm)} %"
