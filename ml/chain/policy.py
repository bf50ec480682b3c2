"""The policy of a model: which ones there are, how a validation is judged, predicted and explained.

The contract decides; this second implementation, written apart from it, predicts the same state
and puts the verdict into words. Everything here is pure. The rules themselves are in
``strict_policy`` and ``open_policy``; what happens around a validation (who may be registered,
going back by hand, completing, reopening) is in ``ml.chain.line``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ml.chain import open_policy, strict_policy
from ml.chain.judgement import Judgement
from ml.chain.strict_policy import MAX_COUNTER
from ml.chain.types import MAX_PPM, ModelKind, ModelState, Policy
from ml.errors import ModelproofError

MAX_ITERATION: Final = 2**32 - 1
"""The highest iteration, epoch and version number: the chain keeps 32 bits of each."""

PRESETS: Final[Mapping[str, Policy]] = MappingProxyType(
    {
        "thesis": Policy(),
        "unlimited": Policy(
            max_drop=0, patience=0, convergence_patience=0, max_iterations=0, max_rollbacks=0
        ),
        "open": Policy(
            tolerance=0,
            max_drop=0,
            patience=0,
            convergence_patience=0,
            max_iterations=0,
            max_rollbacks=0,
        ),
    }
)
"""``thesis``, ``unlimited`` for models trained elsewhere (every limit off), and ``open`` for open
models (every limit off, and none set that they do not have)."""

# Field: lowest and highest value. Every field of Policy but the yes-or-no one is here.
_BOUNDS: Final[Mapping[str, tuple[int, int]]] = {
    "tolerance": (0, MAX_PPM),
    "max_drop": (0, MAX_PPM),
    "patience": (0, MAX_COUNTER),
    "min_accuracy": (0, MAX_PPM),
    "min_improvement": (0, MAX_PPM),
    "target_accuracy": (0, MAX_PPM),
    "convergence_patience": (0, MAX_COUNTER),
    "max_iterations": (0, MAX_ITERATION),
    "max_rollbacks": (0, MAX_COUNTER),
    "max_gap": (0, MAX_PPM),
    "quorum": (1, 255),
}


class InvalidPolicy(ModelproofError):
    """A policy whose limits are out of range or contradict each other."""


def check(policy: Policy, kind: ModelKind = ModelKind.STRICT) -> None:
    """Raise ``InvalidPolicy``, naming the values, unless the contract would accept this policy."""
    for name, (low, high) in _BOUNDS.items():
        value = getattr(policy, name)
        if not is_whole(value, low, high):
            unit = " ppm" if high == MAX_PPM else ""
            raise InvalidPolicy(
                f"The policy's {name} is {value!r}; make it a whole number "
                f"from {low:,} to {high:,}{unit}."
            )
    if policy.tolerance > policy.max_drop > 0:
        raise InvalidPolicy(
            f"The policy's tolerance, {policy.tolerance:,} ppm, is above its max_drop, "
            f"{policy.max_drop:,} ppm; lower the tolerance, or raise max_drop or set it to 0 (off)."
        )
    if policy.min_accuracy > policy.target_accuracy > 0:
        raise InvalidPolicy(
            f"The policy's min_accuracy, {policy.min_accuracy:,} ppm, is above its "
            f"target_accuracy, {policy.target_accuracy:,} ppm; lower min_accuracy, or raise "
            "target_accuracy or set it to 0 (off)."
        )
    surplus = open_policy.excess(policy) if kind is ModelKind.OPEN else []
    if surplus:
        known = ", ".join(sorted(open_policy.LIMITS))
        raise InvalidPolicy(
            f"The policy sets {', '.join(surplus)}, which no open model has; leave all at 0 but "
            f"{known}."
        )


def judge(
    state: ModelState,
    policy: Policy,
    version: int,
    accuracy_ppm: int,
    training_accuracy_ppm: int,
    accepted: bool,
) -> Judgement:
    """Judge the validation of a version that waits, by the rules of the model's kind.

    The caller has checked that ``version`` waits and that both accuracies (ppm) are in range;
    ``training_accuracy_ppm`` is 0 if unknown. ``accepted`` is False where the validators refuse the
    version whatever its accuracy.
    """
    decide = open_policy.judge if state.kind is ModelKind.OPEN else strict_policy.judge
    return decide(state, policy, version, accuracy_ppm, training_accuracy_ppm, accepted)


def explain(judgement: Judgement, before: ModelState, policy: Policy) -> str:
    """One plain sentence: what was measured, which rule that met, and what came of it.

    ``before`` and ``policy`` are those that ``judge`` was given.
    """
    say = open_policy.explain if before.kind is ModelKind.OPEN else strict_policy.explain
    return say(judgement, before, policy)


def is_whole(value: object, low: int, high: int) -> bool:
    """Whether a value is an integer from low to high (0.95 and True, say, are not)."""
    return type(value) is int and low <= value <= high
