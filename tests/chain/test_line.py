"""The operations on a line of versions: what each does, and when it is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from ml.chain.line import (
    Line,
    complete,
    create,
    discard,
    on_active_line,
    register,
    reopen,
    revoke,
    rollback,
    set_policy,
    validate,
    validate_by_quorum,
)
from ml.chain.line_refusals import PolicyRefused, Refusal
from ml.chain.policy import InvalidPolicy
from ml.chain.types import CompletionReason, ModelState, Policy, Status, VersionRecord

from .plays import THESIS, judge_next, play, register_next, trained

NEW = create(THESIS)
PENDING = register_next(NEW)
DIPPED = trained(90, 91, 90.9)  # current 3, best 2
DIPPED_PENDING = register_next(DIPPED)
COMPLETED = complete(trained(90, 91))
FAILED = trained(90, 80)
DISCARDED = discard(register_next(trained(90)), 2)
REVOKED = revoke(trained(90, 91), 1)
QUORUM = register_next(create(Policy(quorum=2)))
ONE, TWO, THREE = (f"0x{digit * 40}" for digit in "1a9")
IN_TIME = {"deadline": 100, "time": 100}


def by(*signers: str, version: int = 1, accuracy: int = 900_000, **when: int) -> Line:
    """A validation by these signers of the version for which two are asked."""
    times = {**IN_TIME, **when}
    return validate_by_quorum(QUORUM, version, accuracy, signers=signers, **times)[0]


def statuses(line: Line) -> list[Status]:
    return [record.status for record in line.versions]


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (lambda: register(COMPLETED, 3, 2, 3, 0), Refusal.COMPLETED),
        (lambda: register(PENDING, 2, 0, 1, 0), Refusal.PENDING),
        (lambda: register(NEW, 2, 0, 1, 0), Refusal.WRONG_VERSION),
        (lambda: register(NEW, 0, 0, 1, 0), Refusal.WRONG_VERSION),
        (lambda: register(DISCARDED, 2, 1, 2, 1), Refusal.WRONG_VERSION),
        (lambda: register(NEW, 1, 1, 1, 0), Refusal.WRONG_PARENT),
        (lambda: register(DIPPED, 4, 2, 4, 0), Refusal.WRONG_PARENT),
        (lambda: register(NEW, 1, 0, 0, 0), Refusal.WRONG_ITERATION),
        (lambda: register(NEW, 1, 0, 2, 0), Refusal.WRONG_ITERATION),
        (lambda: register(NEW, 1, 0, 1, 1), Refusal.WRONG_EPOCH),
        (lambda: register(FAILED, 3, 1, 3, 0), Refusal.WRONG_EPOCH),
        (lambda: validate(COMPLETED, 3, 0), Refusal.COMPLETED),
        (lambda: validate(NEW, 0, 0), Refusal.NOT_PENDING),
        (lambda: validate(NEW, 1, 0), Refusal.NOT_PENDING),
        (lambda: validate(PENDING, 2, 0), Refusal.NOT_PENDING),
        (lambda: validate(DIPPED, 3, 0), Refusal.NOT_PENDING),
        (lambda: validate(PENDING, 1, -1), Refusal.OUT_OF_RANGE),
        (lambda: validate(PENDING, 1, 1_000_001), Refusal.OUT_OF_RANGE),
        (lambda: validate(PENDING, 1, 0, 1_000_001), Refusal.OUT_OF_RANGE),
        (lambda: validate(PENDING, 1, 0.9), Refusal.OUT_OF_RANGE),  # type: ignore[arg-type]
        (lambda: validate(QUORUM, 1, 0), Refusal.QUORUM_REQUIRED),
        (lambda: validate(complete(QUORUM), 9, -1), Refusal.QUORUM_REQUIRED),
        (lambda: by(ONE, deadline=99, time=100), Refusal.EXPIRED),
        (lambda: by(ONE), Refusal.WRONG_SIGNATURE_COUNT),
        (lambda: by(ONE, THREE, TWO), Refusal.WRONG_SIGNATURE_COUNT),
        (lambda: by(TWO, ONE), Refusal.SIGNERS_NOT_ASCENDING),
        (lambda: by(ONE, ONE), Refusal.SIGNERS_NOT_ASCENDING),
        (lambda: by(ONE, TWO, version=2), Refusal.NOT_PENDING),
        (lambda: by(ONE, TWO, accuracy=1_000_001), Refusal.OUT_OF_RANGE),
        (lambda: rollback(DIPPED, 4), Refusal.UNKNOWN_VERSION),
        (lambda: rollback(DIPPED, -1), Refusal.UNKNOWN_VERSION),
        (lambda: rollback(DIPPED_PENDING, 4), Refusal.NOT_PASSED),
        (lambda: rollback(FAILED, 2), Refusal.NOT_PASSED),
        (lambda: rollback(DISCARDED, 2), Refusal.NOT_PASSED),
        (lambda: rollback(REVOKED, 1), Refusal.NOT_PASSED),
        (lambda: rollback(COMPLETED, 2), Refusal.ALREADY_CURRENT),
        (lambda: rollback(NEW, 0), Refusal.ALREADY_CURRENT),
        (lambda: rollback(PENDING, 0), Refusal.ALREADY_CURRENT),
        (lambda: discard(NEW, 0), Refusal.NOT_PENDING),
        (lambda: discard(NEW, 1), Refusal.NOT_PENDING),
        (lambda: discard(DIPPED_PENDING, 3), Refusal.NOT_PENDING),
        (lambda: discard(COMPLETED, 2), Refusal.NOT_PENDING),
        (lambda: complete(COMPLETED), Refusal.COMPLETED),
        (lambda: reopen(DIPPED), Refusal.NOT_COMPLETED),
        (lambda: revoke(DIPPED, 0), Refusal.UNKNOWN_VERSION),
        (lambda: revoke(DIPPED, 4), Refusal.UNKNOWN_VERSION),
        (lambda: revoke(DIPPED_PENDING, 4), Refusal.NOT_PASSED),
        (lambda: revoke(FAILED, 2), Refusal.NOT_PASSED),
        (lambda: revoke(REVOKED, 1), Refusal.NOT_PASSED),
        (lambda: revoke(DIPPED, 3), Refusal.VERSION_IN_USE),
        (lambda: revoke(DIPPED, 2), Refusal.VERSION_IN_USE),
        (lambda: set_policy(PENDING, Policy(patience=2)), Refusal.VERSIONS_WAIT),
    ],
)
def test_operation_is_refused_for_its_reason(
    operation: Callable[[], object], reason: Refusal
) -> None:
    with pytest.raises(PolicyRefused) as refused:
        operation()
    assert refused.value.reason is reason
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize(
    ("operation", "sentence"),
    [
        (lambda: rollback(FAILED, 3), "There is no version 3."),
        (lambda: rollback(FAILED, 2), "Version 2's status is failed; name one that passed."),
        (lambda: validate(NEW, 1, 0), "Version 1 is not pending; none is."),
        (lambda: validate(PENDING, 2, 0), "Version 2 is not pending; version 1 is."),
        (lambda: complete(COMPLETED), "The model is completed (manual); reopen it first."),
    ],
)
def test_refusal_says_in_a_sentence_what_is_wrong(
    operation: Callable[[], object], sentence: str
) -> None:
    with pytest.raises(PolicyRefused) as refused:
        operation()
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("operation", "values"),
    [
        (lambda: register(NEW, 2, 0, 1, 0), {"version": 2, "expected": 1}),
        (lambda: register(DIPPED, 4, 2, 4, 0), {"parent": 2, "expected": 3}),
        (lambda: validate(PENDING, 2, 0), {"version": 2, "pending": 1}),
        (lambda: validate(PENDING, 1, 0, 1_000_001), {"accuracy": 1_000_001, "max": 1_000_000}),
        (lambda: validate(COMPLETED, 3, 0), {"cause": CompletionReason.MANUAL}),
        (lambda: rollback(FAILED, 2), {"version": 2, "status": Status.FAILED}),
        (lambda: revoke(DIPPED, 2), {"version": 2, "current": 3, "best": 2}),
        (lambda: by(TWO, ONE), {"previous": TWO, "signer": ONE}),
        (lambda: by(ONE), {"given": 1, "quorum": 2}),
        (lambda: by(ONE, deadline=99, time=100), {"deadline": 99, "time": 100}),
        (lambda: set_policy(PENDING, Policy(patience=2)), {"waiting": 1}),
    ],
)
def test_refusal_carries_what_the_contracts_error_does(
    operation: Callable[[], object], values: dict[str, object]
) -> None:
    with pytest.raises(PolicyRefused) as refused:
        operation()
    assert refused.value.values == values
    assert list(refused.value.values) == list(values)


def test_invalid_policy_is_refused_at_creation_and_at_a_change() -> None:
    with pytest.raises(InvalidPolicy):
        create(Policy(quorum=0))
    with pytest.raises(InvalidPolicy):
        set_policy(NEW, Policy(quorum=0))


# --- Effects --------------------------------------------------------------------------------------


def test_registration_keeps_the_commitment_and_moves_no_pointer() -> None:
    line = register(DIPPED, 4, 3, 4, 0, commitment=b"c" * 25)
    assert line.state == replace(DIPPED.state, latest=4, waiting=1)
    assert line.state.pending == 4
    assert line.record(4) == VersionRecord(b"c" * 25, 3, 0, Status.PENDING)


def test_validation_with_its_quorum_is_judged() -> None:
    assert by(ONE, TWO).record(1).status is Status.PASSED


def test_quorum_of_one_is_judged_by_either_way() -> None:
    plain, _ = validate(PENDING, 1, 900_000)
    assert validate_by_quorum(PENDING, 1, 900_000, signers=[ONE], **IN_TIME)[0] == plain


def test_manual_rollback_resets_counts_but_not_automatic_rollbacks() -> None:
    line = rollback(trained(90, 80, 89.9), 1)
    assert line.state == ModelState(
        current=1, best=1, best_accuracy=900_000, latest=3, iteration=3, epoch=2, rollbacks=1
    )


def test_manual_rollback_to_best_leaves_the_dips_behind() -> None:
    line = rollback(DIPPED, 2)
    assert (line.state.current, line.state.best) == (2, 2)
    assert line.record(3).status is Status.PASSED


def test_manual_rollback_to_a_current_dip_makes_it_best() -> None:
    line = rollback(DIPPED, 3)
    assert (line.state.current, line.state.best, line.state.best_accuracy) == (3, 3, 909_000)


def test_manual_rollback_reaches_a_version_off_the_active_line() -> None:
    line = rollback(DIPPED, 1)
    assert not on_active_line(line, 3)
    assert on_active_line(rollback(line, 3), 3)


def test_manual_rollback_discards_the_pending_version_and_its_validation_reverts() -> None:
    line = rollback(DIPPED_PENDING, 2)
    assert line.record(4).status is Status.DISCARDED
    assert line.state.pending == 0
    assert line.state.epoch == DIPPED.state.epoch + 1
    with pytest.raises(PolicyRefused) as refused:
        validate(line, 4, 950_000)
    assert refused.value.reason is Refusal.NOT_PENDING


def test_manual_rollback_of_a_completed_model_leaves_it_completed() -> None:
    line = rollback(COMPLETED, 1)
    assert line.state.completed is CompletionReason.MANUAL
    assert line.state.current == 1


def test_discard_frees_the_iteration_but_not_the_version_number() -> None:
    line = discard(DIPPED_PENDING, 4)
    assert line.state == replace(DIPPED.state, latest=4, epoch=DIPPED.state.epoch + 1)
    line = register_next(line)
    assert (line.state.pending, line.state.iteration) == (5, 3)
    assert statuses(line)[3:] == [Status.DISCARDED, Status.PENDING]


def test_complete_discards_the_pending_version_and_returns_to_best() -> None:
    line = complete(DIPPED_PENDING)
    assert line.state == replace(
        DIPPED.state, current=2, latest=4, completed=CompletionReason.MANUAL
    )
    assert line.record(4).status is Status.DISCARDED


def test_reopening_resets_the_counters_and_raises_the_epoch() -> None:
    line = complete(trained(90, 80, 89.9))
    assert reopen(line).state == ModelState(
        current=1, best=1, best_accuracy=900_000, latest=3, iteration=3, epoch=2
    )


def test_reopened_model_takes_versions_again() -> None:
    line, _ = judge_next(reopen(COMPLETED), 92)
    assert line.state.current == 3


@pytest.mark.parametrize("limit", [1, 2])
def test_reopening_is_refused_at_or_beyond_the_iteration_limit(limit: int) -> None:
    line = set_policy(COMPLETED, Policy(max_iterations=limit))
    with pytest.raises(PolicyRefused) as refused:
        reopen(line)
    assert refused.value.reason is Refusal.ITERATIONS_EXHAUSTED


def test_reopening_is_free_without_an_iteration_limit() -> None:
    line = reopen(set_policy(COMPLETED, Policy(max_iterations=0)))
    assert line.state.completed is CompletionReason.NONE


def test_revocation_changes_nothing_but_the_status() -> None:
    line = trained(90, 91)
    revoked = revoke(line, 1)
    assert revoked.state == line.state
    assert revoked.record(1) == replace(line.record(1), status=Status.REVOKED)
    assert revoked.record(2) == line.record(2)


def test_version_between_best_and_current_can_be_revoked() -> None:
    assert revoke(trained(91, 90.9, 90.8), 2).record(2).status is Status.REVOKED


def test_policy_of_a_completed_model_can_be_changed() -> None:
    assert set_policy(COMPLETED, Policy(patience=2)).policy.patience == 2


def test_active_line_is_the_current_version_and_its_ancestors() -> None:
    line, _ = play(trained(90, 91, 80), 92, 80)  # 3 and 5 fail; 4 is made from 2
    line = register_next(line)
    assert [version for version in range(-1, 9) if on_active_line(line, version)] == [1, 2, 4]


def test_no_version_is_on_the_active_line_of_a_new_model() -> None:
    assert not any(on_active_line(PENDING, version) for version in range(-1, 3))


def test_operations_leave_the_line_they_were_given_unchanged() -> None:
    before = repr(DIPPED_PENDING)
    rollback(DIPPED_PENDING, 1)
    validate(DIPPED_PENDING, 4, 0)
    assert repr(DIPPED_PENDING) == before


def test_importing_the_operations_loads_neither_ape_nor_torch() -> None:
    code = "import sys, ml.chain.line; print(*{'ape', 'torch', 'web3'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
