"""The sentences that tell people what a validation came to."""

from __future__ import annotations

import pytest

from ml.chain.line import create
from ml.chain.policy import explain, judge
from ml.chain.types import ModelState, Policy, format_ppm

from .plays import THESIS, judge_next, ppm, trained


@pytest.mark.parametrize(
    ("policy", "accuracies", "sentence"),
    [
        (THESIS, (90,), "accuracy 90.00 % has no best to compare with: v1 becomes the best"),
        (
            THESIS,
            (90, 91),
            "accuracy 91.00 % is above the best, 90.00 % (v1): v2 becomes the best",
        ),
        (
            THESIS,
            (91, 91),
            "accuracy 91.00 % equals the best, 91.00 % (v1): v2 becomes current",
        ),
        (
            THESIS,
            (91, 90.9999),
            "accuracy 90.9999 % is 0.0001 points below the best, 91.00 % (v1), "
            "within the tolerance of 0.50: v2 becomes current",
        ),
        (
            THESIS,
            (91, 90),
            "accuracy 90.00 % is 1.00 points below the best, 91.00 % (v1), "
            "beyond the tolerance of 0.50: v2 becomes current",
        ),
        (
            THESIS,
            (90, 91, 90.5, 90.3, 90.2),
            "accuracy 90.20 % is the third in a row below the best, 91.00 % (v2): "
            "rolled back to v2",
        ),
        (
            THESIS,
            (95, 92),
            "accuracy 92.00 % is 3.00 points below the best, 95.00 % (v1), "
            "more than the 2.00 allowed: rolled back to v1",
        ),
        (
            Policy(min_accuracy=850_000),
            (90, 84),
            "accuracy 84.00 % is below the minimum of 85.00 %, unlike the best, 90.00 % (v1): "
            "rolled back to v1",
        ),
        (
            Policy(max_rollbacks=1),
            (95, 92),
            "accuracy 92.00 % is 3.00 points below the best, 95.00 % (v1), more than the 2.00 "
            "allowed: rolled back to v1; training is complete with v1, "
            "automatic rollbacks: 1 of at most 1",
        ),
        (
            Policy(target_accuracy=950_000),
            (95.2,),
            "accuracy 95.20 % has no best to compare with: v1 becomes the best; "
            "training is complete with v1, the target of 95.00 % is reached",
        ),
        (
            Policy(convergence_patience=1),
            (92, 92),
            "accuracy 92.00 % equals the best, 92.00 % (v1): v2 passes; training is complete "
            "with v1, validations without progress: 1 of at most 1",
        ),
        (
            Policy(max_iterations=1),
            (92,),
            "accuracy 92.00 % has no best to compare with: v1 becomes the best; "
            "training is complete with v1, iterations: 1 of at most 1",
        ),
    ],
)
def test_explanation_names_the_figures_and_the_outcome(
    policy: Policy, accuracies: tuple[float, ...], sentence: str
) -> None:
    before = trained(*accuracies[:-1], policy=policy)
    _, judgement = judge_next(before, accuracies[-1])
    assert explain(judgement, before.state, policy) == sentence


@pytest.mark.parametrize(
    ("patience", "ordinal"),
    [
        (1, "first"),
        (5, "fifth"),
        (6, "6th"),
        (11, "11th"),
        (12, "12th"),
        (13, "13th"),
        (21, "21st"),
        (22, "22nd"),
        (23, "23rd"),
        (24, "24th"),
        (111, "111th"),
    ],
)
def test_explanation_of_exhausted_patience_counts_in_words(patience: int, ordinal: str) -> None:
    policy = Policy(patience=patience)
    before = ModelState(best=1, best_accuracy=ppm(91), below_best=patience - 1)
    sentence = explain(judge(before, policy, 2, ppm(90.9), 0, True), before, policy)
    assert f"is the {ordinal} in a row below the best" in sentence


def test_explanation_of_overtraining_names_the_gap() -> None:
    policy = Policy(max_gap=ppm(3))
    _, judgement = judge_next(create(policy), 90, training=94.5)
    assert explain(judgement, ModelState(), policy).endswith(
        "training accuracy is 4.50 points above accuracy, more than the 3.00 allowed"
    )


def test_explanation_of_a_rejected_first_version_says_that_none_is_left() -> None:
    _, judgement = judge_next(create(THESIS), 90, accepted=False)
    assert explain(judgement, ModelState(), THESIS) == (
        "v1 was not accepted by its validators: rolled back to no version"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.00"), (5, "0.0005"), (902_000, "90.20"), (902_010, "90.201"), (1_000_000, "100.00")],
)
def test_ppm_is_written_exactly(value: int, text: str) -> None:
    assert format_ppm(value) == text
