"""How a validation of an open model is judged, and why, in words. Pure.

An open model is a registry of candidates: no version is made from the last one, so there is nothing
to count in a row, to roll back to or to complete. The same rules as in
``contracts/libraries/OpenPolicy.sol``, written apart from it. Callers use `ml.chain.policy`, which
knows both kinds of models.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Final

from ml.chain.judgement import Judgement, describe_accuracy, describe_best, describe_drop
from ml.chain.types import CompletionReason, ModelState, Policy, Verdict, format_ppm

LIMITS: Final = frozenset({"max_drop", "min_accuracy", "quorum", "independent"})
"""What of a policy an open model has; the rest has to be 0."""


def excess(policy: Policy) -> list[str]:
    """The limits that are set and that no open model has."""
    names = [field.name for field in fields(policy) if field.name not in LIMITS]
    return [name for name in names if getattr(policy, name)]


def judge(
    state: ModelState,
    policy: Policy,
    version: int,
    accuracy_ppm: int,
    training_accuracy_ppm: int,
    accepted: bool,
) -> Judgement:
    """Judge the validation of a version of an open model that waits.

    The caller has checked that ``version`` waits and that both accuracies (ppm) are in range;
    ``training_accuracy_ppm`` decides nothing. ``accepted`` is False where the validators refuse the
    version whatever its accuracy.
    """
    verdict = _verdict(state, policy, accuracy_ppm, accepted)
    after = replace(state, waiting=state.waiting - 1)
    if verdict in (Verdict.FIRST_BEST, Verdict.NEW_BEST):
        after = replace(after, current=version, best=version, best_accuracy=accuracy_ppm)
    return Judgement(
        state=after,
        verdict=verdict,
        completed=CompletionReason.NONE,
        rolled_back=False,
        version=version,
        accuracy_ppm=accuracy_ppm,
        training_accuracy_ppm=training_accuracy_ppm,
    )


def _verdict(state: ModelState, policy: Policy, accuracy: int, accepted: bool) -> Verdict:
    """The rules in their order: the first that matches decides."""
    if not accepted:
        return Verdict.REJECTED
    if accuracy < policy.min_accuracy:
        return Verdict.BELOW_MINIMUM
    if state.best and state.best_accuracy - accuracy > policy.max_drop > 0:
        return Verdict.SEVERE_DROP
    if not state.best:
        return Verdict.FIRST_BEST
    return Verdict.NEW_BEST if accuracy > state.best_accuracy else Verdict.CONTENDER


def explain(judgement: Judgement, before: ModelState, policy: Policy) -> str:
    """One plain sentence: what was measured, which rule that met, and what came of it.

    ``before`` and ``policy`` are those that ``judge`` was given.
    """
    version = f"v{judgement.version}"
    accuracy, best = describe_accuracy(judgement), describe_best(before)
    match judgement.verdict:
        case Verdict.REJECTED:
            return f"{version} was not accepted by its validators, and has failed"
        case Verdict.BELOW_MINIMUM:
            minimum = format_ppm(policy.min_accuracy)
            return f"{accuracy} is below the minimum of {minimum} %: {version} has failed"
        case Verdict.SEVERE_DROP:
            limit = f"more than the {format_ppm(policy.max_drop)} allowed"
            return f"{describe_drop(judgement, before)}, {limit}: {version} has failed"
        case Verdict.FIRST_BEST:
            return f"{accuracy} has no best to compare with: {version} becomes the best"
        case Verdict.NEW_BEST:
            return f"{accuracy} is above {best}: {version} becomes the best"
    equal = judgement.accuracy_ppm == before.best_accuracy
    measured = f"{accuracy} equals {best}" if equal else describe_drop(judgement, before)
    return f"{measured}: {version} passes as a contender"
