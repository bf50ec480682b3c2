"""Replaying a model's history from its events: what cannot be a history is not verified."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import encode

from ml.artifact.keccak import keccak256
from ml.chain.head import NO_HEAD, advance, quorum_digest
from ml.chain.records import Operation
from ml.chain.replay import replay
from ml.chain.types import CompletionReason, ModelKind, Policy, Status, Verdict
from ml.errors import NotVerified

ADMIN, TRAINER, VALIDATOR, OPERATOR = (f"0x{digit * 40}" for digit in "1234")
MODEL = b"m" * 31 + b"\0"
POLICY = [5_000, 20_000, 3, 0, 0, 0, 10, 100, 5, 0, 1, False]

Told = tuple[str, dict[str, Any]]


def created(policy: list[int] = POLICY, kind: ModelKind = ModelKind.STRICT) -> Told:
    return "ModelCreated", {
        "modelId": MODEL,
        "creator": ADMIN,
        "originModel": bytes(32),
        "originVersion": 0,
        "kind": kind,
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


def candidate(version: int, parent: int = 0) -> Told:
    name, arguments = registered(version, parent)
    return name, {**arguments, "details": [parent, 0, 0, *arguments["details"][3:]]}


def validated(version: int, accuracy: int, verdict: Verdict) -> Told:
    return "VersionValidated", {
        "version": version,
        "validator": VALIDATOR,
        "accuracy": accuracy,
        "trainingAccuracy": 0,
        "verdict": int(verdict),
        "metrics": "",
    }


def signed(version: int, *signers: str) -> Told:
    return "QuorumReached", {"version": version, "signers": signers, "deadline": 1_800_000_000}


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


OPEN = [
    created([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, False], ModelKind.OPEN),
    candidate(1),
    candidate(2),
    signed(2, TRAINER, VALIDATOR),
    validated(2, 900_000, Verdict.FIRST_BEST),
    ("SuccessorAnnounced", {"by": ADMIN, "registry": OPERATOR, "successorId": MODEL}),
    candidate(3, parent=2),
    by_operator("VersionDiscarded", version=1),
    ("EquivocationRecorded", {"validator": VALIDATOR, "version": 2}),
    by_operator("RolledBackManually", **{"from": 2, "to": 0}),
    signed(3, TRAINER, VALIDATOR),
    validated(3, 800_000, Verdict.FIRST_BEST),
]


def test_history_of_an_open_model_replays_to_the_model_it_made() -> None:
    steps = list(replay(OPEN))
    assert [step.operation for step in steps] == [
        Operation.CREATE,
        Operation.REGISTER,
        Operation.REGISTER,
        Operation.VALIDATE_BY_QUORUM,
        Operation.ANNOUNCE_SUCCESSOR,
        Operation.REGISTER,
        Operation.DISCARD,
        Operation.ROLLBACK,
        Operation.VALIDATE_BY_QUORUM,
    ]
    state = steps[-1].line.state
    assert (state.current, state.best_accuracy, state.waiting) == (3, 800_000, 0)
    assert (state.iteration, state.epoch) == (0, 0)


def test_validation_by_several_commits_to_who_signed_and_until_when() -> None:
    heads = {
        list(replay([*OPEN[:3], ("QuorumReached", {**signed(2, *who)[1], **when}), OPEN[4]]))[
            -1
        ].head
        for who, when in (
            ((TRAINER, VALIDATOR), {}),
            ((ADMIN, VALIDATOR), {}),
            ((TRAINER, VALIDATOR), {"deadline": 1_800_000_001}),
        )
    }
    assert len(heads) == 3


def test_signers_are_hashed_as_solidity_packs_an_array() -> None:
    packed = keccak256(encode(["address", "address"], [ADMIN, TRAINER]))
    types = ["uint32", "uint32", "uint8", "bytes32", "bytes32", "uint64"]
    encoded = encode(types, [1, 2, int(Verdict.DIP), keccak256(b"{}"), packed, 3])
    assert quorum_digest(1, 2, Verdict.DIP, "{}", [ADMIN, TRAINER], 3) == keccak256(encoded)


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
        (HISTORY[:5], "the end where RolledBackAutomatically"),
        ([*HISTORY[:5], HISTORY[6]], "VersionRegistered where RolledBackAutomatically"),
        (
            [*HISTORY[:5], (HISTORY[5][0], {**HISTORY[5][1], "to": 0}), HISTORY[6]],
            "RolledBackAutomatically where RolledBackAutomatically",
        ),
        ([*HISTORY[:3], HISTORY[5]], "RolledBackAutomatically where an operation"),
        (HISTORY[:8], "the end where VersionDiscarded"),
        ([*HISTORY, HISTORY[-1]], "VersionDiscarded"),
        (OPEN[:4], "the end where VersionValidated"),
        ([*OPEN[:4], OPEN[3]], "QuorumReached where the validation of version 2"),
        ([*OPEN[:3], signed(1, TRAINER, VALIDATOR), OPEN[4]], "the validation of version 1"),
        ([*OPEN[:3], OPEN[4]], "2 validators"),
        ([*OPEN[:3], signed(2, TRAINER), OPEN[4]], "1 validators signed"),
        ([*OPEN[:3], signed(2, VALIDATOR, TRAINER), OPEN[4]], "sort the signatures"),
    ],
)
def test_events_that_no_model_can_have_are_not_verified(history: list[Told], says: str) -> None:
    with pytest.raises(NotVerified, match=says):
        list(replay(history))


def test_evidence_is_no_step_and_leaves_the_head_alone() -> None:
    without = [told for told in OPEN if told[0] != "EquivocationRecorded"]
    assert [step.head for step in replay(OPEN)] == [step.head for step in replay(without)]
