"""Replaying a model's history from its events: what cannot be a history is not verified."""

from __future__ import annotations

from typing import Any

import pytest

from ml.chain.head import NO_HEAD, advance, replay
from ml.chain.records import Operation
from ml.chain.types import CompletionReason, Policy, Status, Verdict
from ml.errors import NotVerified

ADMIN, TRAINER, VALIDATOR, OPERATOR = (f"0x{digit * 40}" for digit in "1234")
MODEL = b"m" * 31 + b"\0"
POLICY = [5_000, 20_000, 3, 0, 0, 0, 10, 100, 5, 0, 1, False]

Told = tuple[str, dict[str, Any]]


def created(policy: list[int] = POLICY) -> Told:
    return "ModelCreated", {
        "modelId": MODEL,
        "creator": ADMIN,
        "name": "digits",
        "testSet": b"t" * 32,
        "policy": policy,
    }


def registered(version: int, parent: int = 0, epoch: int = 0) -> Told:
    digests = (bytes(32),) * 3
    return "VersionRegistered", {
        "version": version,
        "registrar": TRAINER,
        "commitment": b"c" * 32,
        "details": [parent, version, epoch, *digests, 0],
    }


def validated(version: int, accuracy: int, verdict: Verdict) -> Told:
    return "VersionValidated", {
        "version": version,
        "validator": VALIDATOR,
        "accuracy": accuracy,
        "trainingAccuracy": 0,
        "verdict": int(verdict),
        "metrics": "",
    }


def by_operator(name: str, **arguments: Any) -> Told:
    return name, {"by": OPERATOR, "reason": "why", **arguments}


HISTORY = [
    created(),
    registered(1),
    validated(1, 900_000, Verdict.FIRST_BEST),
    registered(2, parent=1),
    validated(2, 800_000, Verdict.SEVERE_DROP),
    ("RolledBackAutomatically", {"from": 2, "to": 1, "cause": int(Verdict.SEVERE_DROP)}),
    registered(3, parent=1, epoch=1),
    by_operator("ModelCompleted", current=1, cause=int(CompletionReason.MANUAL)),
    by_operator("VersionDiscarded", version=3),
]


def test_history_replays_to_the_model_it_made() -> None:
    *_, last = replay(HISTORY)
    assert last.line.policy == Policy()
    assert (last.line.state.current, last.line.state.epoch) == (1, 1)
    assert last.line.state.completed is CompletionReason.MANUAL
    assert [record.status for record in last.line.versions] == [
        Status.PASSED,
        Status.FAILED,
        Status.DISCARDED,
    ]


def test_events_that_repeat_what_an_operation_implies_are_no_steps() -> None:
    assert [step.operation for step in replay(HISTORY)] == [
        Operation.CREATE,
        Operation.REGISTER,
        Operation.VALIDATE,
        Operation.REGISTER,
        Operation.VALIDATE,
        Operation.REGISTER,
        Operation.COMPLETE,
    ]


def test_nothing_replays_to_nothing() -> None:
    assert list(replay([])) == []


@pytest.mark.parametrize("changed", range(6))
def test_head_depends_on_everything_that_goes_in(changed: int) -> None:
    one = [NO_HEAD, Operation.DISCARD, ADMIN, 1, b"d" * 32, 1]
    other = [b"h" * 32, Operation.REVOKE, TRAINER, 2, b"e" * 32, 2]
    mixed = [*one[:changed], other[changed], *one[changed + 1 :]]
    assert advance(*mixed) != advance(*one)


@pytest.mark.parametrize(
    ("history", "says"),
    [
        (HISTORY[1:], "begins with VersionRegistered"),
        ([*HISTORY, created()], "goes on with ModelCreated"),
        ([created([*POLICY[:10], 0, False])], "quorum"),
        ([HISTORY[0], HISTORY[2]], "VersionValidated"),
        ([*HISTORY[:2], *HISTORY[1:]], "VersionRegistered"),
        ([*HISTORY[:4], validated(2, 800_000, Verdict.CONCERN)], "SEVERE_DROP"),
        ([*HISTORY[:2], by_operator("RolledBackManually", to=1)], "RolledBackManually"),
        ([*HISTORY[:3], by_operator("VersionRevoked", version=1)], "VersionRevoked"),
        ([*HISTORY[:3], by_operator("ModelReopened")], "ModelReopened"),
        (
            [*HISTORY[:2], ("PolicySet", {"by": ADMIN, "policy": POLICY})],
            "PolicySet",
        ),
    ],
)
def test_events_that_no_model_can_have_are_not_verified(history: list[Told], says: str) -> None:
    with pytest.raises(NotVerified, match=says):
        list(replay(history))
