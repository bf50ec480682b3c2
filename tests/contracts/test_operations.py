"""What operators and admins do to a line, what is told of it, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ml.chain.registry import NO_ACCOUNT
from ml.chain.types import CompletionReason, ModelState, Policy, Status
from tests.chain.plays import ppm

from .mirror import policy_values
from .story import Story, refused

Create = Callable[..., Story]
REASON = "poisoned data, see incident 12"
MANUAL = CompletionReason.MANUAL


# --- Manual rollback ------------------------------------------------------------------------------


def test_rollback_makes_its_target_current_and_best_with_fresh_counters(story: Story) -> None:
    story.play(90, 91, 90.9)
    story.rollback(1)
    assert story.state == ModelState(
        current=1, best=1, best_accuracy=ppm(90), latest=3, iteration=3, epoch=1
    )
    assert story.statuses == [Status.PASSED] * 3


def test_rollback_is_told_with_its_reason(story: Story) -> None:
    story.play(90, 91)
    operator = story.cast.operator.address
    assert story.log(story.rollback(1, REASON)) == [
        (
            "RolledBackManually",
            {"modelId": story.id, "from": 2, "to": 1, "by": operator, "reason": REASON},
        )
    ]


def test_rollback_discards_the_pending_version_and_then_says_so(story: Story) -> None:
    story.play(90, 91)
    story.register()
    told = story.log(story.rollback(1, REASON))
    assert [name for name, _ in told] == ["RolledBackManually", "VersionDiscarded"]
    operator = story.cast.operator.address
    expected = {"modelId": story.id, "version": 3, "by": operator, "reason": REASON}
    assert told[1][1] == expected
    assert story.statuses[2] is Status.DISCARDED
    assert (story.state.pending, story.state.epoch) == (0, 1)


def test_rollback_leaves_the_count_of_automatic_ones_alone(story: Story) -> None:
    story.play(90, 91, 80)
    story.rollback(1)
    assert (story.state.rollbacks, story.state.epoch) == (1, 2)


def test_rollback_reaches_a_version_off_the_active_line(story: Story) -> None:
    story.play(90, 91, 92)
    story.rollback(1)
    story.play(90.5)
    story.rollback(3)
    assert (story.state.current, story.state.best_accuracy) == (3, ppm(92))


def test_rollback_from_current_to_best_below_it_is_no_change_of_best(story: Story) -> None:
    story.play(90, 89.9)
    story.rollback(1)
    assert (story.state.current, story.state.best, story.state.below_best) == (1, 1, 0)


def test_rollback_to_current_makes_it_best(story: Story) -> None:
    story.play(90, 89.9)
    story.rollback(2)
    assert (story.state.best, story.state.best_accuracy) == (2, ppm(89.9))


def test_rollback_of_a_completed_model_leaves_it_completed(story: Story) -> None:
    story.play(90, 91)
    story.complete()
    story.rollback(1)
    assert (story.state.completed, story.state.current) == (MANUAL, 1)


@pytest.mark.parametrize("target", [0, 2])
def test_rollback_to_where_the_model_is_already_is_refused(story: Story, target: int) -> None:
    if target:
        story.play(90, 91)
    with refused("AlreadyCurrent", version=target):
        story.rollback(target)


@pytest.mark.parametrize("target", [3, 2**32 - 1])
def test_rollback_to_no_version_is_refused(story: Story, target: int) -> None:
    story.play(90, 91)
    with refused("UnknownVersion", modelId=story.id, version=target):
        story.rollback(target)


# --- Versions that have not passed ----------------------------------------------------------------


def pending(story: Story) -> None:
    story.register()


def failed(story: Story) -> None:
    story.judge_next(80)


def discarded(story: Story) -> None:
    story.register()
    story.discard()


def taken_along(story: Story) -> None:
    story.register()
    story.rollback(0)


def revoked(story: Story) -> None:
    story.play(91, 92)
    story.revoke(2)


@pytest.mark.parametrize("act", ["rollback", "revoke"])
@pytest.mark.parametrize(
    ("prepare", "status"),
    [
        (pending, Status.PENDING),
        (failed, Status.FAILED),
        (discarded, Status.DISCARDED),
        (taken_along, Status.DISCARDED),
        (revoked, Status.REVOKED),
    ],
)
def test_version_that_has_not_passed_is_neither_a_target_nor_revoked(
    story: Story, prepare: Callable[[Story], None], status: Status, act: str
) -> None:
    story.play(90)
    prepare(story)
    assert story.registry.version(story.id, 2).status is status
    with refused("VersionNotPassed", version=2, status=status):
        getattr(story, act)(2)


# --- Discard --------------------------------------------------------------------------------------


def test_discard_withdraws_the_pending_version_and_frees_its_iteration(story: Story) -> None:
    story.play(90)
    before = story.state
    story.register()
    story.discard()
    assert story.state == replace(before, latest=2, epoch=1)
    assert story.statuses == [Status.PASSED, Status.DISCARDED]


def test_discard_is_told_with_its_reason(story: Story) -> None:
    story.register()
    operator = story.cast.operator.address
    assert story.log(story.discard(REASON)) == [
        (
            "VersionDiscarded",
            {"modelId": story.id, "version": 1, "by": operator, "reason": REASON},
        )
    ]


@pytest.mark.parametrize("version", [0, 1, 2, 2**32 - 1])
def test_discard_is_refused_where_nothing_waits(story: Story, version: int) -> None:
    story.play(90)
    with refused("VersionIsNotPending", modelId=story.id, version=version, pending=0):
        story.discard(version=version)


@pytest.mark.parametrize("version", [0, 1, 3])
def test_discard_of_another_version_than_the_one_that_waits_is_refused(
    story: Story, version: int
) -> None:
    story.play(90)
    story.register()
    with refused("VersionIsNotPending", modelId=story.id, version=version, pending=2):
        story.discard(version=version)


# --- Complete and reopen --------------------------------------------------------------------------


def test_completion_takes_the_best_version_and_keeps_the_epoch(story: Story) -> None:
    story.play(90, 89.9)
    before = story.state
    story.complete()
    assert story.state == replace(before, current=1, completed=MANUAL)


def test_completion_is_told_with_its_reason(story: Story) -> None:
    story.play(90, 89.9)
    operator = story.cast.operator.address
    assert story.log(story.complete(REASON)) == [
        (
            "ModelCompleted",
            {
                "modelId": story.id,
                "current": 1,
                "by": operator,
                "cause": MANUAL,
                "reason": REASON,
            },
        )
    ]


def test_completion_discards_the_pending_version_and_then_says_so(story: Story) -> None:
    story.register()
    told = story.log(story.complete(REASON))
    assert [name for name, _ in told] == ["ModelCompleted", "VersionDiscarded"]
    operator = story.cast.operator.address
    expected = {"modelId": story.id, "version": 1, "by": operator, "reason": REASON}
    assert told[1][1] == expected
    assert (story.state.pending, story.state.current) == (0, 0)
    assert story.statuses == [Status.DISCARDED]


def test_completion_is_refused_the_second_time(story: Story) -> None:
    story.complete()
    with refused("ModelIsCompleted", modelId=story.id, cause=MANUAL):
        story.complete()


def test_reopened_model_goes_on_with_fresh_counters(create: Create) -> None:
    story = create(Policy(max_rollbacks=1))
    story.play(90, 89.9, 80)
    assert story.state.completed is CompletionReason.ROLLBACK_LIMIT
    story.reopen()
    assert story.state == ModelState(
        current=1, best=1, best_accuracy=ppm(90), latest=3, iteration=3, epoch=2
    )
    story.register(4)
    assert story.state.pending == 4


def test_reopening_resets_every_counter(create: Create) -> None:
    story = create(Policy(max_rollbacks=0))
    story.play(90, 80, 89.9, 89.9)
    story.complete()
    before = story.state
    assert (before.below_best, before.since_progress, before.rollbacks) == (2, 3, 1)
    story.reopen()
    assert story.state == replace(
        before,
        below_best=0,
        since_progress=0,
        rollbacks=0,
        epoch=before.epoch + 1,
        completed=CompletionReason.NONE,
    )


def test_reopening_is_told_with_its_reason(story: Story) -> None:
    story.complete()
    admin = story.cast.admin.address
    expected = {"modelId": story.id, "by": admin, "reason": REASON}
    assert story.log(story.reopen(REASON)) == [("ModelReopened", expected)]


def test_reopening_is_refused_where_training_goes_on(story: Story) -> None:
    story.play(90)
    with refused("ModelIsNotCompleted", modelId=story.id):
        story.reopen()


@pytest.mark.parametrize("limit", [1, 2])
def test_reopening_is_refused_at_and_beyond_the_iteration_limit(create: Create, limit: int) -> None:
    story = create(Policy(max_iterations=2))
    story.play(90, 91)
    story.set_policy(Policy(max_iterations=limit))
    with refused("IterationsExhausted", iteration=2, maxIterations=limit):
        story.reopen()


def test_reopening_has_no_iteration_limit_where_it_is_off(create: Create) -> None:
    story = create(Policy(max_iterations=1))
    story.play(90)
    story.set_policy(Policy(max_iterations=0))
    story.reopen()
    assert story.state.completed is CompletionReason.NONE


# --- Revoke ---------------------------------------------------------------------------------------


def test_revoked_version_keeps_its_record_but_for_its_status(story: Story) -> None:
    story.play(90, 91)
    before = story.registry.version(story.id, 1)
    state = story.state
    story.revoke(1)
    assert story.registry.version(story.id, 1) == replace(before, status=Status.REVOKED)
    assert story.state == state


def test_revocation_is_told_with_its_reason(story: Story) -> None:
    story.play(90, 91)
    operator = story.cast.operator.address
    expected = {"modelId": story.id, "version": 1, "by": operator, "reason": REASON}
    assert story.log(story.revoke(1, REASON)) == [("VersionRevoked", expected)]


@pytest.mark.parametrize("version", [1, 2], ids=["best", "current"])
def test_version_in_use_is_not_revoked(story: Story, version: int) -> None:
    story.play(90, 89.9)
    with refused("VersionInUse", version=version, current=2, best=1):
        story.revoke(version)


@pytest.mark.parametrize("version", [0, 3])
def test_no_version_is_not_revoked(story: Story, version: int) -> None:
    story.play(90, 91)
    with refused("UnknownVersion", modelId=story.id, version=version):
        story.revoke(version)


def test_version_of_a_completed_model_can_be_revoked(story: Story) -> None:
    story.play(90, 91)
    story.complete()
    story.revoke(1)
    assert story.statuses == [Status.REVOKED, Status.PASSED]


# --- Set policy -----------------------------------------------------------------------------------


def test_change_of_policy_leaves_the_state_alone(story: Story) -> None:
    story.play(90, 89.9)
    before = story.state
    story.set_policy(Policy(patience=1, quorum=3))
    assert story.model.policy == Policy(patience=1, quorum=3)
    assert story.state == before


def test_change_of_policy_is_told_in_full(story: Story) -> None:
    policy = Policy(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, independent=True)
    expected = {
        "modelId": story.id,
        "by": story.cast.admin.address,
        "policy": policy_values(policy),
    }
    assert story.log(story.set_policy(policy)) == [("PolicySet", expected)]


def test_change_of_policy_is_refused_while_a_version_waits(story: Story) -> None:
    story.register()
    with refused("VersionsWait", modelId=story.id, waiting=1):
        story.set_policy(Policy(patience=1))


# --- Successor ------------------------------------------------------------------------------------

SUCCESSOR = b"successor".ljust(31, b"s") + b"\0"


def test_successor_is_announced_and_stops_nothing(story: Story) -> None:
    story.play(90)
    before, registry = story.model, story.cast.stranger.address
    assert story.log(story.announce(registry, SUCCESSOR)) == [
        (
            "SuccessorAnnounced",
            {
                "modelId": story.id,
                "registry": registry,
                "successorId": SUCCESSOR,
                "by": story.cast.admin.address,
            },
        )
    ]
    after = story.model
    assert after == replace(before, head=after.head)
    assert after.head != before.head
    story.play(91)


def test_successor_may_be_announced_again_and_of_a_completed_model(story: Story) -> None:
    story.complete()
    heads = {story.model.head}
    for successor in (SUCCESSOR, SUCCESSOR, bytes(32)):
        story.announce(story.registry.address, successor)
        heads.add(story.model.head)
    assert len(heads) == 4


def test_successor_without_a_registry_is_refused(story: Story) -> None:
    with refused("SuccessorIsZero", modelId=story.id):
        story.announce(NO_ACCOUNT, SUCCESSOR)
