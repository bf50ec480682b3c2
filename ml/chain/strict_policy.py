"""How a validation of a strict model is judged, and why, in words. Pure.

The same rules as in ``contracts/libraries/StrictPolicy.sol``, written apart from it; in prose they
stand in ``docs/policy.md``. Callers use `ml.chain.policy`, which knows both kinds of models.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ml.chain.judgement import Judgement, describe_accuracy, describe_best, describe_drop
from ml.chain.types import CompletionReason, ModelState, Policy, Verdict, format_ppm

MAX_COUNTER: Final = 65_535
"""Where the counters of a model's state stop, and so the highest limit they can be held to."""


def judge(
    state: ModelState,
    policy: Policy,
    version: int,
    accuracy_ppm: int,
    training_accuracy_ppm: int,
    accepted: bool,
) -> Judgement:
    """Judge the validation of a model's pending version.

    The caller has checked that ``version`` is pending in ``state`` and that both accuracies (ppm)
    are in range; ``training_accuracy_ppm`` is 0 if unknown. ``accepted`` is False where the
    validators refuse the version whatever its accuracy.
    """
    verdict = _verdict(state, policy, accuracy_ppm, accepted)
    rolled_back = verdict.fails
    since_progress = _since_progress(state, policy, accuracy_ppm, verdict)
    after = replace(
        state, waiting=0, iteration=state.iteration + 1, since_progress=since_progress, below_best=0
    )
    if rolled_back:
        after = replace(
            after,
            current=state.best,
            rollbacks=_plus_one(state.rollbacks),
            epoch=state.epoch + 1,
        )
    elif verdict in (Verdict.FIRST_BEST, Verdict.NEW_BEST):
        after = replace(after, current=version, best=version, best_accuracy=accuracy_ppm)
    elif verdict is Verdict.PLATEAU:
        after = replace(after, current=version)
    else:
        after = replace(after, current=version, below_best=_plus_one(state.below_best))

    completed = _completion(after, policy, accuracy_ppm, training_accuracy_ppm, rolled_back)
    if completed:
        after = replace(after, current=after.best, completed=completed)
    return Judgement(
        after, verdict, completed, rolled_back, version, accuracy_ppm, training_accuracy_ppm
    )


def _verdict(state: ModelState, policy: Policy, accuracy: int, accepted: bool) -> Verdict:
    """The policy's rules for a validation, in their order: the first that matches decides."""
    drop = state.best_accuracy - accuracy
    if not accepted:
        return Verdict.REJECTED
    if state.best == 0:
        return Verdict.FIRST_BEST
    if drop < 0:
        return Verdict.NEW_BEST
    if drop == 0:
        return Verdict.PLATEAU
    if accuracy < policy.min_accuracy <= state.best_accuracy:
        return Verdict.BELOW_MINIMUM
    if drop > policy.max_drop > 0:
        return Verdict.SEVERE_DROP
    if state.below_best + 1 >= policy.patience > 0:
        return Verdict.PATIENCE_EXHAUSTED
    return Verdict.CONCERN if drop > policy.tolerance else Verdict.DIP


def _since_progress(state: ModelState, policy: Policy, accuracy: int, verdict: Verdict) -> int:
    """Validations without progress, this one counted; a rejected one does not count at all."""
    if verdict is Verdict.REJECTED:
        return state.since_progress
    if verdict is Verdict.FIRST_BEST:
        return 0
    if verdict is Verdict.NEW_BEST and accuracy - state.best_accuracy > policy.min_improvement:
        return 0
    return _plus_one(state.since_progress)


def _completion(
    after: ModelState, policy: Policy, accuracy: int, training_accuracy: int, rolled_back: bool
) -> CompletionReason:
    """The first reason to complete that holds in the state after the verdict."""
    if rolled_back and after.rollbacks >= policy.max_rollbacks > 0:
        return CompletionReason.ROLLBACK_LIMIT
    if not rolled_back and accuracy >= policy.target_accuracy > 0:
        return CompletionReason.TARGET_REACHED
    if after.since_progress >= policy.convergence_patience > 0:
        return CompletionReason.CONVERGED
    if after.iteration >= policy.max_iterations > 0:
        return CompletionReason.MAX_ITERATIONS
    if not rolled_back and training_accuracy > accuracy + policy.max_gap and policy.max_gap > 0:
        return CompletionReason.OVERTRAINING
    return CompletionReason.NONE


def explain(judgement: Judgement, before: ModelState, policy: Policy) -> str:
    """One plain sentence: what was measured, which rule that met, and what came of it.

    ``before`` and ``policy`` are those that ``judge`` was given.
    """
    after = judgement.state
    if judgement.rolled_back:
        effect = f"rolled back to {_name(after.current)}"
    elif judgement.verdict in (Verdict.FIRST_BEST, Verdict.NEW_BEST):
        effect = f"v{judgement.version} becomes the best"
    elif judgement.completed:
        effect = f"v{judgement.version} passes"
    else:
        effect = f"v{judgement.version} becomes current"
    sentence = f"{_cause(judgement, before, policy)}: {effect}"
    if judgement.completed:
        why = _why_completed(judgement, policy)
        sentence += f"; training is complete with {_name(after.current)}, {why}"
    return sentence


def _cause(judgement: Judgement, before: ModelState, policy: Policy) -> str:
    """The measurement and the rule that it met."""
    verdict = judgement.verdict
    accuracy, best = describe_accuracy(judgement), describe_best(before)
    drop = describe_drop(judgement, before)
    if verdict is Verdict.REJECTED:
        return f"v{judgement.version} was not accepted by its validators"
    if verdict is Verdict.FIRST_BEST:
        return f"{accuracy} has no best to compare with"
    if verdict is Verdict.NEW_BEST:
        return f"{accuracy} is above {best}"
    if verdict is Verdict.PLATEAU:
        return f"{accuracy} equals {best}"
    if verdict is Verdict.BELOW_MINIMUM:
        return (
            f"{accuracy} is below the minimum of {format_ppm(policy.min_accuracy)} %, unlike {best}"
        )
    if verdict is Verdict.SEVERE_DROP:
        return f"{drop}, more than the {format_ppm(policy.max_drop)} allowed"
    if verdict is Verdict.PATIENCE_EXHAUSTED:
        return f"{accuracy} is the {_ordinal(before.below_best + 1)} in a row below {best}"
    side = "beyond" if verdict is Verdict.CONCERN else "within"
    return f"{drop}, {side} the tolerance of {format_ppm(policy.tolerance)}"


def _why_completed(judgement: Judgement, policy: Policy) -> str:
    """The limit that completed training, with the figures that met it."""
    state = judgement.state
    match judgement.completed:
        case CompletionReason.ROLLBACK_LIMIT:
            return f"automatic rollbacks: {state.rollbacks} of at most {policy.max_rollbacks}"
        case CompletionReason.TARGET_REACHED:
            return f"the target of {format_ppm(policy.target_accuracy)} % is reached"
        case CompletionReason.CONVERGED:
            limit = policy.convergence_patience
            return f"validations without progress: {state.since_progress} of at most {limit}"
        case CompletionReason.MAX_ITERATIONS:
            return f"iterations: {state.iteration} of at most {policy.max_iterations}"
        case _:  # OVERTRAINING: a validation completes for no other reason
            gap = judgement.training_accuracy_ppm - judgement.accuracy_ppm
            return (
                f"training accuracy is {format_ppm(gap)} points above accuracy, "
                f"more than the {format_ppm(policy.max_gap)} allowed"
            )


def _plus_one(counter: int) -> int:
    """Counters saturate: one that wrapped around would forgive a long run of failures."""
    return min(counter + 1, MAX_COUNTER)


def _name(version: int) -> str:
    return f"v{version}" if version else "no version"


def _ordinal(number: int) -> str:
    words = ("first", "second", "third", "fourth", "fifth")
    if number <= len(words):
        return words[number - 1]
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
