"""What a validation comes to, whichever policy judged it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ml.chain.types import CompletionReason, ModelState, Verdict, format_ppm


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a validation does: the state after it, why, and the figures that were judged."""

    state: ModelState
    """The model's state after the validation."""
    verdict: Verdict
    """The rule that decided."""
    completed: CompletionReason
    """Why this validation completed training (NONE: it did not)."""
    rolled_back: bool
    """Whether the version failed, and the best is current again; never so in an open model."""
    version: int
    """The version that was judged."""
    accuracy_ppm: int
    """Its accuracy, ppm."""
    training_accuracy_ppm: int
    """Its accuracy on its training data, ppm (0 if unknown)."""


def describe_best(before: ModelState) -> str:
    """The best version before a validation, as an explanation names it."""
    return f"the best, {format_ppm(before.best_accuracy)} % (v{before.best})"


def describe_accuracy(judgement: Judgement) -> str:
    """What was measured, as an explanation begins with it."""
    return f"accuracy {format_ppm(judgement.accuracy_ppm)} %"


def describe_drop(judgement: Judgement, before: ModelState) -> str:
    """How far below the best it is, as an explanation says it."""
    drop = format_ppm(before.best_accuracy - judgement.accuracy_ppm)
    return f"{describe_accuracy(judgement)} is {drop} points below {describe_best(before)}"
