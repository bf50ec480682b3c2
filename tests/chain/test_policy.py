"""The policy's worked examples, and the rules that they do not reach.

Accuracies are written in percent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from ml.chain.line import create, register, reopen, rollback, set_policy
from ml.chain.line_refusals import PolicyRefused, Refusal
from ml.chain.policy import PRESETS, judge
from ml.chain.strict_policy import MAX_COUNTER
from ml.chain.types import CompletionReason, ModelState, Policy, Status, Verdict

from .plays import THESIS, judge_next, play, ppm, register_next, trained

V = Verdict


# --- Worked examples ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    name: str
    accuracies: tuple[float, ...]
    verdicts: tuple[Verdict, ...]
    current: int
    best: int
    policy: Policy = THESIS
    below_best: int = 0
    completed: CompletionReason = CompletionReason.NONE


EXAMPLES = [
    Example(
        "the third validation in a row below best rolls back to best",
        (90, 91, 90.5, 90.3, 90.2),
        (V.FIRST_BEST, V.NEW_BEST, V.DIP, V.CONCERN, V.PATIENCE_EXHAUSTED),
        current=2,
        best=2,
    ),
    Example(
        "a drop of three points rolls back at once",
        (95, 92),
        (V.FIRST_BEST, V.SEVERE_DROP),
        current=1,
        best=1,
    ),
    Example(
        "a drop of one point is a concern and stays current",
        (95, 94),
        (V.FIRST_BEST, V.CONCERN),
        current=2,
        best=1,
        below_best=1,
    ),
    Example(
        "an equal validation resets the count below best",
        (91, 90.5, 91, 90.5),
        (V.FIRST_BEST, V.DIP, V.PLATEAU, V.DIP),
        current=4,
        best=1,
        below_best=1,
    ),
    Example(
        "ten repeats of the best converge on it",
        (92,) * 11,
        (V.FIRST_BEST, *[V.PLATEAU] * 10),
        current=1,
        best=1,
        completed=CompletionReason.CONVERGED,
    ),
    Example(
        "a first version below the minimum becomes best",
        (80,),
        (V.FIRST_BEST,),
        current=1,
        best=1,
        policy=Policy(min_accuracy=ppm(85)),
    ),
    Example(
        "a version below the minimum that best has reached rolls back",
        (90, 84),
        (V.FIRST_BEST, V.BELOW_MINIMUM),
        current=1,
        best=1,
        policy=Policy(min_accuracy=ppm(85)),
    ),
    Example(
        "five severe drops complete at the rollback limit",
        (95, 92, 92, 92, 92, 92),
        (V.FIRST_BEST, *[V.SEVERE_DROP] * 5),
        current=1,
        best=1,
        completed=CompletionReason.ROLLBACK_LIMIT,
    ),
    Example(
        "reaching the target completes",
        (94, 95.2),
        (V.FIRST_BEST, V.NEW_BEST),
        current=2,
        best=2,
        policy=Policy(target_accuracy=ppm(95)),
        completed=CompletionReason.TARGET_REACHED,
    ),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_worked_example_has_its_outcome(example: Example) -> None:
    line, verdicts = play(create(example.policy), *example.accuracies)
    assert tuple(verdicts) == example.verdicts
    assert line.state.current == example.current
    assert line.state.best == example.best
    assert line.state.best_accuracy == ppm(example.accuracies[example.best - 1])
    assert line.state.below_best == example.below_best
    assert line.state.completed is example.completed
    assert line.state.iteration == len(example.accuracies)


def test_ninth_repeat_of_the_best_has_not_converged() -> None:
    assert trained(*[92] * 10).state.completed is CompletionReason.NONE


def test_rejected_first_version_leaves_none_current_and_parent_zero_for_the_next() -> None:
    line, judgement = judge_next(create(THESIS), 99, accepted=False)
    assert judgement.verdict is V.REJECTED
    assert (line.state.current, line.state.best, line.state.best_accuracy) == (0, 0, 0)
    assert line.record(1) == replace(line.record(1), accuracy=ppm(99), status=Status.FAILED)
    assert register_next(line).record(2).parent == 0


def test_rejected_first_version_completes_without_a_version_at_a_rollback_limit_of_one() -> None:
    line, _ = judge_next(create(Policy(max_rollbacks=1)), 99, accepted=False)
    assert line.state.completed is CompletionReason.ROLLBACK_LIMIT
    assert line.state.current == 0


def test_best_after_a_manual_rollback_is_the_target() -> None:
    line = rollback(trained(90, 91, 92), 1)
    assert (line.state.current, line.state.best, line.state.best_accuracy) == (1, 1, ppm(90))
    line, verdicts = play(line, 90.5)
    assert verdicts == [V.NEW_BEST]
    assert line.state.best == 4


def test_severe_drop_at_a_target_lowered_to_it_does_not_complete() -> None:
    line = set_policy(trained(95), Policy(target_accuracy=ppm(90)))
    line, verdicts = play(line, 91)
    assert verdicts == [V.SEVERE_DROP]
    assert line.state.completed is CompletionReason.NONE


def test_dip_above_a_target_lowered_below_it_completes_with_best_current() -> None:
    line = set_policy(trained(95), Policy(target_accuracy=ppm(90)))
    line, verdicts = play(line, 93.5)
    assert verdicts == [V.CONCERN]
    assert line.state.completed is CompletionReason.TARGET_REACHED
    assert line.state.current == 1
    assert line.record(2).status is Status.PASSED


def test_severe_drop_with_too_wide_a_gap_rolls_back_without_completing() -> None:
    line, judgement = judge_next(trained(95, policy=Policy(max_gap=ppm(3))), 92, training=99)
    assert judgement.rolled_back
    assert line.state.completed is CompletionReason.NONE


def test_false_best_is_replaced_after_a_rollback_to_none() -> None:
    line = rollback(trained(100), 0)
    assert (line.state.current, line.state.best, line.state.best_accuracy) == (0, 0, 0)
    line, verdicts = play(line, 97)
    assert verdicts == [V.FIRST_BEST]
    assert line.state.best == 2


def test_registration_built_before_two_rollbacks_reverts_for_its_epoch() -> None:
    before = trained(90, 91, 92, 93, 94)
    line = rollback(rollback(before, 3), 5)
    assert line.state.current == before.state.current
    with pytest.raises(PolicyRefused) as refused:
        register(line, 6, parent=5, iteration=6, epoch=before.state.epoch)
    assert refused.value.reason is Refusal.WRONG_EPOCH


def test_counter_meets_a_lowered_patience_at_the_next_validation() -> None:
    line = set_policy(trained(91, 90.9, 90.8), Policy(patience=2))
    assert line.state.below_best == 2
    line, verdicts = play(line, 90.7)
    assert verdicts == [V.PATIENCE_EXHAUSTED]
    assert line.state.current == 1


def test_reopen_after_max_iterations_reverts_until_the_limit_is_raised() -> None:
    line = trained(90, 91, policy=Policy(max_iterations=2))
    assert line.state.completed is CompletionReason.MAX_ITERATIONS
    with pytest.raises(PolicyRefused) as refused:
        reopen(line)
    assert refused.value.reason is Refusal.ITERATIONS_EXHAUSTED
    line = reopen(set_policy(line, Policy(max_iterations=3)))
    assert line.state.completed is CompletionReason.NONE


# --- Rules that the examples do not reach ---------------------------------------------------------


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [(89.5, V.DIP), (89.4999, V.CONCERN), (88, V.CONCERN), (87.9999, V.SEVERE_DROP)],
)
def test_drop_exactly_at_a_limit_is_within_it(accuracy: float, verdict: Verdict) -> None:
    assert play(trained(90), accuracy)[1] == [verdict]


def test_minimum_does_not_bind_before_best_has_reached_it() -> None:
    policy = Policy(min_accuracy=ppm(85))
    assert play(trained(84.9999, policy=policy), 84)[1] == [V.CONCERN]
    assert play(trained(85, policy=policy), 84)[1] == [V.BELOW_MINIMUM]


def test_below_minimum_is_named_before_a_severe_drop() -> None:
    assert play(trained(90, policy=Policy(min_accuracy=ppm(85))), 60)[1] == [V.BELOW_MINIMUM]


def test_severe_drop_is_named_before_exhausted_patience() -> None:
    assert play(trained(90, 89.9, 89.9), 80)[1] == [V.SEVERE_DROP]


def test_improvement_of_exactly_min_improvement_is_a_new_best_without_progress() -> None:
    line = trained(90, 90.1, 90.2, policy=Policy(min_improvement=ppm(0.1)))
    assert (line.state.best, line.state.since_progress) == (3, 2)
    assert play(line, 90.3001)[0].state.since_progress == 0


def test_rejection_neither_adds_to_nor_resets_since_progress() -> None:
    line, _ = judge_next(trained(90, 90), 99, accepted=False)
    assert line.state.since_progress == 1


def test_equal_validation_becomes_current_and_best_stays() -> None:
    state = trained(91, 91).state
    assert (state.current, state.best, state.since_progress) == (2, 1, 1)


def test_severe_drop_adds_to_since_progress_and_resets_below_best() -> None:
    line = trained(90, 89.9, 80)
    assert (line.state.since_progress, line.state.below_best) == (2, 0)


def test_automatic_rollback_counts_and_raises_the_epoch_once() -> None:
    before = trained(90).state
    after = trained(90, 80).state
    assert (after.rollbacks, after.epoch) == (before.rollbacks + 1, before.epoch + 1)


def test_rejection_converges_where_the_limit_was_lowered_to_the_count() -> None:
    line = set_policy(trained(90, 90, 90), Policy(convergence_patience=2))
    line, judgement = judge_next(line, 99, accepted=False)
    assert judgement.completed is CompletionReason.CONVERGED
    assert line.state.current == line.state.best == 1


def test_rollback_limit_lowered_to_the_count_waits_for_a_rollback() -> None:
    line = set_policy(trained(90, 80, 80), Policy(max_rollbacks=1))
    assert judge_next(line, 91)[1].completed is CompletionReason.NONE
    assert judge_next(line, 80)[1].completed is CompletionReason.ROLLBACK_LIMIT


def test_overtraining_needs_a_gap_beyond_the_limit() -> None:
    policy = Policy(max_gap=ppm(3))
    assert judge_next(create(policy), 90, training=93)[1].completed is CompletionReason.NONE
    over = judge_next(create(policy), 90, training=93.0001)[1]
    assert over.completed is CompletionReason.OVERTRAINING


@pytest.mark.parametrize(
    ("policy", "accuracy", "reason"),
    [
        (Policy(max_rollbacks=1, convergence_patience=1), 80, CompletionReason.ROLLBACK_LIMIT),
        (Policy(target_accuracy=ppm(90)), 90, CompletionReason.TARGET_REACHED),
        (Policy(convergence_patience=1, max_iterations=2), 90, CompletionReason.CONVERGED),
        (Policy(max_iterations=2, max_gap=1), 90, CompletionReason.MAX_ITERATIONS),
    ],
)
def test_first_reason_to_complete_is_the_one_named(
    policy: Policy, accuracy: float, reason: CompletionReason
) -> None:
    line = set_policy(trained(90), replace(policy, max_gap=1))
    assert judge_next(line, accuracy, training=100)[1].completed is reason


@pytest.mark.parametrize(
    ("policy", "accuracy", "verdict", "reason"),
    [
        (Policy(tolerance=1, max_drop=1), 89.9998, V.SEVERE_DROP, CompletionReason.NONE),
        (Policy(patience=1), 89.9999, V.PATIENCE_EXHAUSTED, CompletionReason.NONE),
        (Policy(min_accuracy=1), 0, V.BELOW_MINIMUM, CompletionReason.NONE),
        (Policy(target_accuracy=1), 90, V.PLATEAU, CompletionReason.TARGET_REACHED),
        (Policy(convergence_patience=1), 90, V.PLATEAU, CompletionReason.CONVERGED),
        (Policy(max_iterations=1), 90, V.PLATEAU, CompletionReason.MAX_ITERATIONS),
        (Policy(max_rollbacks=1), 0, V.SEVERE_DROP, CompletionReason.ROLLBACK_LIMIT),
        (Policy(max_gap=1), 90, V.PLATEAU, CompletionReason.OVERTRAINING),
    ],
)
def test_limit_of_one_is_on(
    policy: Policy, accuracy: float, verdict: Verdict, reason: CompletionReason
) -> None:
    _, judgement = judge_next(set_policy(trained(90), policy), accuracy, training=100)
    assert (judgement.verdict, judgement.completed) == (verdict, reason)


def test_limits_of_zero_neither_roll_back_nor_complete() -> None:
    line = create(PRESETS["unlimited"])
    for accuracy in (99, *[0] * 120):
        line, judgement = judge_next(line, accuracy, training=100)
        assert judgement.verdict in (V.FIRST_BEST, V.CONCERN)
    line, judgement = judge_next(line, 100, accepted=False)
    assert judgement.completed is CompletionReason.NONE
    assert line.state.rollbacks == 1


def test_counters_saturate_instead_of_wrapping() -> None:
    full = ModelState(
        current=1,
        best=1,
        best_accuracy=ppm(90),
        latest=2,
        below_best=MAX_COUNTER,
        since_progress=MAX_COUNTER,
        rollbacks=MAX_COUNTER,
        waiting=1,
    )
    dip = judge(full, PRESETS["unlimited"], 2, ppm(89), 0, True).state
    assert (dip.below_best, dip.since_progress) == (MAX_COUNTER, MAX_COUNTER)
    assert judge(full, PRESETS["unlimited"], 2, 0, 0, False).state.rollbacks == MAX_COUNTER
