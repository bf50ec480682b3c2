"""Metrics are scikit-learn's, counted the same way on every machine."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

from ml.errors import ModelproofError
from ml.training.metrics import Metrics, measure

NAMES = ("a", "b", "c", "d")
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


def scores(predicted: NDArray[np.int64], classes: int = 4) -> NDArray[np.float64]:
    """Log-probabilities whose largest is at the predicted class."""
    rng = np.random.default_rng(0)
    raw = rng.random((len(predicted), classes))
    raw[np.arange(len(predicted)), predicted] += 1
    logarithms: NDArray[np.float64] = np.log(raw / raw.sum(axis=1, keepdims=True))
    return logarithms


def measured(pairs: list[tuple[int, int]]) -> Metrics:
    labels, predicted = np.array(pairs).T
    return measure(scores(predicted), labels, NAMES)


@given(PAIRS)
def test_figures_per_class_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(pairs).T
    expected = precision_recall_fscore_support(labels, predicted, labels=range(4), zero_division=0)
    found = [(c.precision, c.recall, c.f1, c.support) for c in measured(pairs).classes]
    assert np.allclose(found, np.array(expected).T, rtol=1e-12, atol=0)


@given(PAIRS)
def test_macro_averages_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(pairs).T
    expected = precision_recall_fscore_support(
        labels, predicted, labels=range(4), average="macro", zero_division=0
    )
    found = measured(pairs)
    assert np.allclose((found.precision, found.recall, found.f1), expected[:3], rtol=1e-12, atol=0)


@given(PAIRS)
def test_confusion_matrix_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(pairs).T
    expected = confusion_matrix(labels, predicted, labels=range(4))
    assert np.array_equal(measured(pairs).confusion, expected)


@given(PAIRS)
def test_loss_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(pairs).T
    expected = log_loss(labels, np.exp(scores(predicted)), labels=range(4))
    assert np.isclose(measured(pairs).loss, expected, rtol=1e-9)


@given(PAIRS)
def test_accuracy_is_the_count_in_ppm_rounded_down(pairs: list[tuple[int, int]]) -> None:
    correct = sum(label == predicted for label, predicted in pairs)
    assert measured(pairs).accuracy_ppm == correct * 10**6 // len(pairs)


def test_accuracy_of_two_thirds_is_rounded_down() -> None:
    assert measured([(0, 0), (1, 1), (2, 3)]).accuracy_ppm == 666_666


def test_class_without_samples_counts_with_zero() -> None:
    assert measured([(0, 0)]).recall == 0.25


def test_equal_probabilities_go_to_the_first_class() -> None:
    even = np.log(np.full((1, 4), 0.25))
    assert measure(even, np.array([0]), NAMES).correct == 1


def test_nan_is_refused() -> None:
    outputs = scores(np.array([0, 1]))
    outputs[1, 3] = np.nan
    with pytest.raises(ModelproofError, match=r"outputs are NaN.*weights"):
        measure(outputs, np.array([0, 1]), NAMES)


def test_no_samples_are_refused() -> None:
    with pytest.raises(ModelproofError, match="at least one sample"):
        measure(np.empty((0, 4)), np.empty(0, np.int64), NAMES)


@pytest.mark.parametrize("name", ["accuracy_ppm", "correct", "samples", "precision", "f1"])
def test_figure_that_the_confusion_matrix_does_not_give_is_refused(name: str) -> None:
    metrics = measured([(0, 0), (1, 2)])
    with pytest.raises(ModelproofError, match="contradict their own confusion matrix"):
        replace(metrics, **{name: getattr(metrics, name) * 2})


def test_confusion_matrix_of_another_size_is_refused() -> None:
    metrics = measured([(0, 0)])
    with pytest.raises(ModelproofError, match="not 4 × 4"):
        replace(metrics, confusion=metrics.confusion[:3])


def test_what_validators_sign_is_counted_and_does_not_depend_on_how_sure_the_model_was() -> None:
    """Other confusions, and another loss: whoever counts as many correct ones signs the same."""
    one, other = measured([(0, 0), (1, 1), (2, 1)]), measured([(0, 0), (1, 1), (2, 0)])
    assert one.confusion != other.confusion
    assert one.counted() == other.counted()
    assert replace(one, loss=one.loss + 1).counted() == one.counted()
    assert one.counted() == '{"accuracy_ppm":666666,"correct":2,"samples":3}'


def test_summary_is_short_json_of_the_figures_over_all_classes() -> None:
    summary = measured([(0, 0), (1, 1), (2, 3)]).summary()
    assert json.loads(summary).keys() == {
        "accuracy_ppm", "f1", "loss", "precision", "recall", "samples",
    }  # fmt: skip
    assert len(summary) < 130
