"""The worked examples of the policy, on the contract.

Those that are a list of validations are the Python policy's own table.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ml.chain.records import Details
from ml.chain.types import CompletionReason, Policy, Status, Verdict
from tests.chain.plays import ppm
from tests.chain.test_policy import EXAMPLES, Example

from .story import Story, refused, weights_of

Create = Callable[..., Story]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_worked_example_has_its_outcome(create: Create, example: Example) -> None:
    story = create(example.policy)
    assert tuple(story.play(*example.accuracies)) == example.verdicts
    state = story.state
    assert state.current == example.current
    assert state.best == example.best
    assert state.best_accuracy == ppm(example.accuracies[example.best - 1])
    assert state.below_best == example.below_best
    assert state.completed is example.completed
    assert state.iteration == len(example.accuracies)


def test_ninth_repeat_of_the_best_has_not_converged(story: Story) -> None:
    story.play(*[92] * 10)
    assert story.state.completed is CompletionReason.NONE


def test_rejected_first_version_leaves_none_current_and_parent_zero_for_the_next(
    story: Story,
) -> None:
    assert story.judge_next(99, accepted=False) is Verdict.REJECTED
    state = story.state
    assert (state.current, state.best, state.best_accuracy) == (0, 0, 0)
    rejected = story.registry.version(story.id, 1)
    assert (rejected.status, rejected.accuracy) == (Status.FAILED, ppm(99))
    story.register(parent=0)
    assert story.registry.version(story.id, 2).parent == 0


def test_rejected_first_version_completes_without_a_version_at_a_rollback_limit_of_one(
    create: Create,
) -> None:
    story = create(Policy(max_rollbacks=1))
    story.judge_next(99, accepted=False)
    assert story.state.completed is CompletionReason.ROLLBACK_LIMIT
    assert story.state.current == 0


def test_best_after_a_manual_rollback_is_the_target(story: Story) -> None:
    story.play(90, 91, 92)
    story.rollback(1)
    state = story.state
    assert (state.current, state.best, state.best_accuracy) == (1, 1, ppm(90))
    assert story.judge_next(90.5) is Verdict.NEW_BEST
    assert story.state.best == 4


def test_severe_drop_at_a_target_lowered_to_it_does_not_complete(story: Story) -> None:
    story.play(95)
    story.set_policy(Policy(target_accuracy=ppm(90)))
    assert story.judge_next(91) is Verdict.SEVERE_DROP
    assert story.state.completed is CompletionReason.NONE


def test_dip_above_a_target_lowered_below_it_completes_with_best_current(story: Story) -> None:
    story.play(95)
    story.set_policy(Policy(target_accuracy=ppm(90)))
    assert story.judge_next(93.5) is Verdict.CONCERN
    assert story.state.completed is CompletionReason.TARGET_REACHED
    assert story.state.current == 1
    assert story.statuses == [Status.PASSED, Status.PASSED]


def test_severe_drop_with_too_wide_a_gap_rolls_back_without_completing(create: Create) -> None:
    story = create(Policy(max_gap=ppm(3)))
    story.play(95)
    assert story.judge_next(92, training=99) is Verdict.SEVERE_DROP
    assert story.state.completed is CompletionReason.NONE


def test_false_best_is_replaced_after_a_rollback_to_none(story: Story) -> None:
    story.play(100)
    story.rollback(0)
    state = story.state
    assert (state.current, state.best, state.best_accuracy) == (0, 0, 0)
    assert story.judge_next(97) is Verdict.FIRST_BEST
    assert story.state.best == 2


def test_registration_built_before_two_rollbacks_reverts_for_its_epoch(story: Story) -> None:
    story.play(90, 91, 92, 93, 94)
    built = story.due()
    story.rollback(3)
    story.rollback(5)
    assert (built.parent, built.iteration) == (story.state.current, story.state.iteration + 1)
    with refused("UnexpectedEpoch", epoch=0, expected=2):
        story.registry.register(story.id, 6, weights_of(6), built, "", sender=story.cast.trainer)
    assert built == Details(5, 6, 0)


def test_counter_meets_a_lowered_patience_at_the_next_validation(story: Story) -> None:
    story.play(91, 90.9, 90.8)
    story.set_policy(Policy(patience=2))
    assert story.state.below_best == 2
    assert story.judge_next(90.7) is Verdict.PATIENCE_EXHAUSTED
    assert story.state.current == 1


def test_reopen_after_max_iterations_reverts_until_the_limit_is_raised(create: Create) -> None:
    story = create(Policy(max_iterations=2))
    story.play(90, 91)
    assert story.state.completed is CompletionReason.MAX_ITERATIONS
    with refused("IterationsExhausted", iteration=2, maxIterations=2):
        story.reopen()
    story.set_policy(Policy(max_iterations=3))
    story.reopen()
    assert story.state.completed is CompletionReason.NONE
