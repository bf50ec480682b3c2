"""A part's file gives back its samples bit for bit, and nothing else is a part's file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ml.errors import ModelproofError
from ml.federated import parts, tensor_file
from ml.federated.parts import Part
from ml.training.samples import SampleTree

PIXELS = np.array([[0, 255], [7, 128]], np.float32)
PART = Part(PIXELS, np.array([1, 0]), ("cat", "dog"))
TEXT = tensor_file.load(parts.dump(PART), "it").text


@pytest.mark.parametrize(
    ("inputs", "stored"),
    [
        (PIXELS, "uint8"),
        (PIXELS + 0.5, "float32"),
        (-PIXELS, "float32"),
        (PIXELS * 2, "float32"),
        (np.array([[-0.0, 1], [2, 3]], np.float32), "float32"),
    ],
    ids=["pixels", "fractions", "negative", "above a byte", "minus zero"],
)
def test_inputs_are_had_back_bit_for_bit(inputs: Any, stored: str) -> None:
    data = parts.dump(replace(PART, inputs=inputs))
    assert str(tensor_file.load(data, "it").arrays["inputs"].dtype) == stored
    read = parts.load(data, "it")
    assert read.inputs.dtype == np.float32
    assert read.inputs.tobytes() == inputs.tobytes()
    assert read.labels.tolist() == [1, 0]
    assert read.class_names == ("cat", "dog")


def test_root_is_that_of_the_samples() -> None:
    assert PART.root == SampleTree(PIXELS, np.array([1, 0])).root


def test_distribution_has_classes_without_samples_too() -> None:
    assert replace(PART, labels=np.array([1, 1])).distribution == {"cat": 0, "dog": 2}


BYTES = PIXELS.astype(np.uint8)
LABELS = PART.labels


@pytest.mark.parametrize(
    ("arrays", "text", "reason"),
    [
        ({"inputs": BYTES}, TEXT, "other tensors than inputs and labels"),
        ({"inputs": BYTES, "labels": LABELS, "more": LABELS}, TEXT, "other tensors"),
        ({"inputs": PIXELS, "labels": LABELS}, TEXT, "not in the form"),
        ({"inputs": BYTES.astype(np.int64), "labels": LABELS}, TEXT, "not in the form"),
        ({"inputs": BYTES, "labels": BYTES}, TEXT, "labels of uint8"),
        ({"inputs": BYTES, "labels": LABELS + 1}, TEXT, "labels from 1 to 2 for 2 classes"),
        ({"inputs": PIXELS + np.nan, "labels": LABELS}, TEXT, "NaN or infinite"),
        ({"inputs": BYTES, "labels": LABELS}, TEXT.replace(":", ": "), "canonical form"),
        ({"inputs": BYTES, "labels": LABELS}, "{}", "class_names"),
        ({"inputs": BYTES, "labels": LABELS}, TEXT.replace("dog", "cat"), "same name"),
    ],
)
def test_other_file_is_refused(arrays: Any, text: str, reason: str) -> None:
    with pytest.raises(ModelproofError, match=reason):
        parts.load(tensor_file.dump(arrays, text), "it")
