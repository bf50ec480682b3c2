"""Predictions for single samples, and where these come from: a test set, JSON, a ``.npy`` file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.artifact import strict_json
from ml.artifact.strict_json import StrictJsonError
from ml.errors import ModelproofError

from .classifiers import Classifier
from .datasets import LabelledSamples


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most probable class of one sample, and the probabilities of all, which add up to 1."""

    class_index: int
    class_name: str
    probabilities: tuple[float, ...]


def predict(
    classifier: Classifier, inputs: NDArray[np.float32], class_names: tuple[str, ...]
) -> list[Prediction]:
    """Predict the classes of samples.

    Args:
        classifier: the model.
        inputs: (n, *input_shape) float32, raw.
        class_names: from the model's metadata.

    Raises:
        ModelproofError: the model's outputs are NaN.
    """
    scores = classifier.log_probabilities(inputs)
    if np.isnan(scores).any():
        raise ModelproofError(
            "the model's outputs are NaN; its weights are probably NaN or infinite"
        )
    return [
        Prediction(int(row.argmax()), class_names[int(row.argmax())], tuple(np.exp(row).tolist()))
        for row in scores
    ]


def input_from_test_set(samples: LabelledSamples, index: int) -> NDArray[np.float32]:
    """Return one sample of a test set, (1, *input_shape).

    Raises:
        ModelproofError: there is no such sample.
    """
    count = len(samples.labels)
    if not 0 <= index < count:
        raise ModelproofError(
            f"there is no test sample {index}: data set {samples.name!r} has 0 to {count - 1}"
        )
    return samples.inputs[index : index + 1]


def input_from_json(text: str, input_shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the one sample that a JSON list of raw numbers says, (1, *input_shape).

    The list is flat, in row-major order, or nested like the shape; dimensions of 1 may be left out.

    Raises:
        ModelproofError: it is not such a list.
    """
    try:
        value = strict_json.loads(text.encode(), fractions=True)
    except StrictJsonError as error:
        raise ModelproofError(f"the input cannot be used: {error}; write it as [1, 2, 3]") from None
    try:
        values = np.array(value)
    except ValueError:
        raise ModelproofError("the input is a list whose rows differ in length") from None
    if not isinstance(value, list) or values.dtype.kind not in "if":
        raise ModelproofError("the input is not a list of numbers; write it as [1, 2, 3]")
    inputs = _as_inputs(values, input_shape, "the input")
    if len(inputs) != 1:
        raise ModelproofError(
            f"the input has {len(inputs)} samples; give one, or put them into a .npy file"
        )
    return inputs


def inputs_from_npy(path: Path, input_shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the samples in a ``.npy`` file of raw numbers, (n, *input_shape).

    The file holds one sample, or several along the first axis; pickled objects are not loaded.

    Raises:
        ModelproofError: it cannot be read, or holds something else.
    """
    try:
        with path.open("rb") as stream:
            read = np.lib.format.read_array(stream, allow_pickle=False)  # type: ignore[no-untyped-call]
            values: NDArray[np.generic] = read
    except OSError as error:
        raise ModelproofError(f"the input {path} cannot be read ({error.strerror})") from None
    except Exception as error:  # noqa: BLE001 - a damaged header can raise anything
        raise ModelproofError(f"the input {path} is not a .npy file of numbers ({error})") from None
    if values.dtype.kind not in "iuf":
        raise ModelproofError(f"the input {path} holds {values.dtype}, not numbers")
    return _as_inputs(values, input_shape, f"the input {path}")


def _as_inputs(
    values: NDArray[np.generic], input_shape: tuple[int, ...], what: str
) -> NDArray[np.float32]:
    """Shape numbers into samples: one that is flat or of this shape, or several of this shape.

    Dimensions of 1 may be left out, so that a grey image needs no channel.
    """
    if values.ndim and len(values) and _long(values.shape[1:]) == _long(input_shape):
        count = len(values)
    elif _long(values.shape) == _long(input_shape) or values.shape == (math.prod(input_shape),):
        count = 1
    else:
        raise ModelproofError(
            f"{what} has shape {values.shape}; this model takes {math.prod(input_shape)} numbers,"
            f" of shape {input_shape}"
        )
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused
        inputs = np.ascontiguousarray(values.astype(np.float32).reshape(count, *input_shape))
    if not np.isfinite(inputs).all():
        raise ModelproofError(f"{what} has numbers that are NaN, infinite or beyond float32")
    return inputs


def _long(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)
