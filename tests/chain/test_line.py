"""The operations on a line of versions: what each does, and when it is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from ml.chain.line import (
    Line,
    PolicyRefused,
    Refusal,
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
)
from ml.chain.policy import InvalidPolicy
from ml.chain.types import CompletionReason, ModelState, Policy, Status, VersionRecord

from .plays import THESIS, judge_next, play, register_next, trained

NEW = create(THESIS)
PENDING = register_next(NEW)
DIPPED = trained(90, 91, 90.9)  # current 3, best 2
DIPPED_PENDING = register_next(DIPPED)
COMPLETED = complete(trained(90, 91))
FAILED = trained(90, 80)
DISCARDED = discard(register_next(trained(90)))
REVOKED = revoke(trained(90, 91), 1)
QUORUM = register_next(create(Policy(quorum=2)))


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
        (lambda: validate(QUORUM, 1, 0), Refusal.QUORUM_NOT_MET),
        (lambda: rollback(DIPPED, 4), Refusal.NOT_A_TARGET),
        (lambda: rollback(DIPPED, -1), Refusal.NOT_A_TARGET),
        (lambda: rollback(DIPPED_PENDING, 4), Refusal.NOT_A_TARGET),
        (lambda: rollback(FAILED, 2), Refusal.NOT_A_TARGET),
        (lambda: rollback(DISCARDED, 2), Refusal.NOT_A_TARGET),
        (lambda: rollback(REVOKED, 1), Refusal.NOT_A_TARGET),
        (lambda: rollback(COMPLETED, 2), Refusal.ALREADY_CURRENT),
        (lambda: rollback(NEW, 0), Refusal.ALREADY_CURRENT),
        (lambda: rollback(PENDING, 0), Refusal.ALREADY_CURRENT),
        (lambda: discard(NEW), Refusal.NOTHING_PENDING),
        (lambda: discard(COMPLETED), Refusal.NOTHING_PENDING),
        (lambda: complete(COMPLETED), Refusal.COMPLETED),
        (lambda: reopen(DIPPED), Refusal.NOT_COMPLETED),
        (lambda: revoke(DIPPED, 0), Refusal.NOT_PASSED),
        (lambda: revoke(DIPPED, 4), Refusal.NOT_PASSED),
        (lambda: revoke(DIPPED_PENDING, 4), Refusal.NOT_PASSED),
        (lambda: revoke(FAILED, 2), Refusal.NOT_PASSED),
        (lambda: revoke(REVOKED, 1), Refusal.NOT_PASSED),
        (lambda: revoke(DIPPED, 3), Refusal.VERSION_IN_USE),
        (lambda: revoke(DIPPED, 2), Refusal.VERSION_IN_USE),
        (lambda: set_policy(PENDING, Policy(patience=2)), Refusal.PENDING),
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
        (lambda: rollback(FAILED, 3), "There is no version 3; name one that passed, or 0."),
        (lambda: rollback(FAILED, 2), "Version 2's status is failed; name one that passed, or 0."),
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


def test_invalid_policy_is_refused_at_creation_and_at_a_change() -> None:
    with pytest.raises(InvalidPolicy):
        create(Policy(quorum=0))
    with pytest.raises(InvalidPolicy):
        set_policy(NEW, Policy(quorum=0))


# --- Effects --------------------------------------------------------------------------------------


def test_registration_keeps_the_commitment_and_moves_no_pointer() -> None:
    line = register(DIPPED, 4, 3, 4, 0, commitment=b"c" * 25)
    assert line.state == replace(DIPPED.state, latest=4, pending=4)
    assert line.record(4) == VersionRecord(b"c" * 25, 3, 0, Status.PENDING)


def test_validation_with_its_quorum_is_judged() -> None:
    line, _ = validate(QUORUM, 1, 900_000, validators=2)
    assert line.record(1).status is Status.PASSED


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
    line = discard(DIPPED_PENDING)
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
    assert refused.value.reason is Refusal.MAX_ITERATIONS_REACHED


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
