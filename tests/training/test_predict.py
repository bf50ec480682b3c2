"""Predictions take raw inputs from a test set, from JSON or from a file, and refuse the rest."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.errors import ModelproofError
from ml.training.datasets import Dataset
from ml.training.predict import (
    input_from_json,
    input_from_test_set,
    inputs_from_npy,
    predict,
)
from ml.training.train import TrainedModel


def test_flower_is_recognised_from_its_centimetres(iris_dense: TrainedModel, iris: Dataset) -> None:
    inputs = input_from_json("[5.1, 3.5, 1.4, 0.2]", (4,))
    (prediction,) = predict(iris_dense.classifier, inputs, iris.class_names)
    assert prediction.class_name == "setosa"


def test_probabilities_belong_to_the_classes_in_order(
    iris_sklearn: TrainedModel, iris: Dataset
) -> None:
    (prediction,) = predict(
        iris_sklearn.classifier, input_from_test_set(iris.test_part, 0), iris.class_names
    )
    assert math.isclose(sum(prediction.probabilities), 1)
    assert max(prediction.probabilities) == prediction.probabilities[prediction.class_index]
    assert iris.class_names[prediction.class_index] == prediction.class_name


def test_predictions_agree_with_the_measured_metrics(
    digits_cnn: TrainedModel, digits: Dataset
) -> None:
    predictions = predict(digits_cnn.classifier, digits.test_inputs, digits.class_names)
    hits = sum(p.class_index == y for p, y in zip(predictions, digits.test_labels, strict=True))
    assert hits == digits_cnn.metadata.metrics.test.correct


@pytest.mark.parametrize("index", [-1, 30])
def test_sample_that_is_not_there_is_refused(iris: Dataset, index: int) -> None:
    with pytest.raises(ModelproofError, match=f"no test sample {index}: .* has 0 to 29"):
        input_from_test_set(iris.test_part, index)


@pytest.mark.parametrize("text", ["[1, 2, 3, 4]", "[[1, 2], [3, 4]]", "[[[1, 2], [3, 4]]]"])
def test_list_may_be_flat_or_nested(text: str) -> None:
    inputs = input_from_json(text, (1, 2, 2))
    assert inputs.dtype == np.float32
    assert inputs.tolist() == [[[[1, 2], [3, 4]]]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("[1, 2, 3", "not JSON"),
        ("[1, 2, 3]", r"shape \(3,\); this model takes 4 numbers, of shape \(4,\)"),
        ("[[1, 2], [3, 4]]", r"shape \(2, 2\)"),
        ("[[1, 2], [3]]", "rows differ in length"),
        ("[1, 2, 3, NaN]", "NaN"),
        ("[1, 2, 3, 1e40]", "beyond float32"),
        ("[1, 2, 3, 1e999]", "beyond a 64-bit float"),
        ('["1", "2", "3", "4"]', "not a list of numbers"),
        ("[true, false, true, true]", "not a list of numbers"),
        ("[1, 2, 3, null]", "not a list of numbers"),
        ("{}", "not a list of numbers"),
        ("4", "not a list of numbers"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "shape|numbers"),
    ],
)
def test_other_json_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ModelproofError, match=reason):
        input_from_json(text, (4,))


@pytest.mark.parametrize(
    ("array", "count"),
    [
        (np.zeros((8, 8)), 1),
        (np.zeros(64), 1),
        (np.zeros((1, 8, 8), np.uint8), 1),
        (np.zeros((5, 1, 8, 8), np.float32), 5),
        (np.zeros((5, 8, 8)), 5),
    ],
    ids=["image", "flat", "one", "five", "five images"],
)
def test_file_holds_one_sample_or_several(
    tmp_path: Path, array: np.ndarray[Any, Any], count: int
) -> None:
    np.save(tmp_path / "input.npy", array)
    assert inputs_from_npy(tmp_path / "input.npy", (1, 8, 8)).shape == (count, 1, 8, 8)


@pytest.mark.parametrize(
    "array",
    [np.zeros((7, 8)), np.zeros((0, 1, 8, 8)), np.zeros(()), np.zeros((2, 64))],
    ids=["too small", "empty", "a number", "flat samples"],
)
def test_file_of_another_shape_is_refused(tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    np.save(tmp_path / "input.npy", array)
    with pytest.raises(ModelproofError, match="this model takes 64 numbers"):
        inputs_from_npy(tmp_path / "input.npy", (1, 8, 8))


def test_file_of_pickled_objects_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "input.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ModelproofError, match=r"not a \.npy file of numbers"):
        inputs_from_npy(tmp_path / "input.npy", (4,))


def test_file_of_text_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "input.npy", np.array(["a"] * 4))
    with pytest.raises(ModelproofError, match="holds <U1, not numbers"):
        inputs_from_npy(tmp_path / "input.npy", (4,))


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"text"])
def test_file_that_is_no_npy_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "input.npy").write_bytes(data)
    with pytest.raises(ModelproofError, match=r"not a \.npy file of numbers"):
        inputs_from_npy(tmp_path / "input.npy", (4,))


def test_archive_of_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "input.npz", np.zeros(4))
    with pytest.raises(ModelproofError, match=r"not a \.npy file"):
        inputs_from_npy(tmp_path / "input.npz", (4,))


def test_file_with_a_flipped_bit_gives_numbers_or_our_error(tmp_path: Path) -> None:
    path = tmp_path / "input.npy"
    np.save(path, np.arange(4, dtype=np.float32))
    whole = path.read_bytes()
    for bit in range(8 * 128):  # the header
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with suppress(ModelproofError):
            assert inputs_from_npy(path, (4,)).shape == (1, 4)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelproofError, match=r"gone\.npy cannot be read"):
        inputs_from_npy(tmp_path / "gone.npy", (4,))
