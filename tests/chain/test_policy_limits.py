"""Which policies are valid, and what the presets are."""

from __future__ import annotations

import pytest

from ml.chain.line import create
from ml.chain.policy import PRESETS, InvalidPolicy, check
from ml.chain.types import Policy


@pytest.mark.parametrize("name", ["thesis", "unlimited"])
def test_preset_is_valid_with_a_label_for_half_a_point(name: str) -> None:
    check(PRESETS[name])
    assert PRESETS[name].tolerance == 5_000


def test_unlimited_preset_has_every_limit_off() -> None:
    policy = PRESETS["unlimited"]
    assert {
        policy.max_drop,
        policy.patience,
        policy.min_accuracy,
        policy.target_accuracy,
        policy.convergence_patience,
        policy.max_iterations,
        policy.max_rollbacks,
        policy.max_gap,
    } == {0}


@pytest.mark.parametrize(
    "policy",
    [
        Policy(tolerance=20_000),
        Policy(tolerance=1_000_000, max_drop=0),
        Policy(min_accuracy=900_000, target_accuracy=900_000),
        Policy(min_accuracy=1_000_000),
        Policy(patience=65_535, convergence_patience=65_535, max_rollbacks=65_535),
        Policy(max_iterations=2**32 - 1, quorum=255),
    ],
)
def test_policy_at_its_bounds_is_valid(policy: Policy) -> None:
    check(policy)
    assert create(policy).policy == policy


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        (Policy(tolerance=20_001), ["tolerance", "20,001", "max_drop", "20,000"]),
        (Policy(min_accuracy=900_001, target_accuracy=900_000), ["900,001", "900,000"]),
        (Policy(tolerance=2, max_drop=1), ["tolerance, 2 ppm", "max_drop, 1 ppm"]),
        (Policy(min_accuracy=2, target_accuracy=1), ["min_accuracy, 2", "target_accuracy, 1"]),
        (Policy(tolerance=1_000_001, max_drop=0), ["tolerance", "1000001", "1,000,000 ppm"]),
        (Policy(max_drop=1_000_001), ["max_drop"]),
        (Policy(min_accuracy=1_000_001), ["min_accuracy"]),
        (Policy(min_improvement=1_000_001), ["min_improvement"]),
        (Policy(target_accuracy=1_000_001), ["target_accuracy"]),
        (Policy(max_gap=1_000_001), ["max_gap"]),
        (Policy(patience=65_536), ["patience", "65536", "65,535"]),
        (Policy(convergence_patience=65_536), ["convergence_patience"]),
        (Policy(max_rollbacks=65_536), ["max_rollbacks"]),
        (Policy(max_iterations=2**32), ["max_iterations"]),
        (Policy(patience=-1), ["patience", "-1"]),
        (Policy(quorum=0), ["quorum", "from 1 to 255"]),
        (Policy(quorum=256), ["quorum", "256"]),
        (Policy(target_accuracy=0.95), ["target_accuracy", "0.95"]),  # type: ignore[arg-type]
    ],
)
def test_invalid_policy_is_refused_naming_the_values(policy: Policy, named: list[str]) -> None:
    with pytest.raises(InvalidPolicy) as refused:
        check(policy)
    assert [value for value in named if value not in str(refused.value)] == []
