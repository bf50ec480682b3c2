"""A part of a data set in a file of its own: a client's samples, the validation part, the holdout.

A safetensors file (`tensor_file`) with ``inputs`` (n, ...), ``labels`` (n,) and the class names.
Inputs that are all whole numbers from 0 to 255, as pixels are, take a byte each; what is read is
float32 again, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from ml.errors import ModelproofError
from ml.training import canonical
from ml.training.datasets import fault_of
from ml.training.samples import SampleTree

from . import tensor_file

_NAMES: Final = {"inputs", "labels"}


@dataclass(frozen=True, eq=False)
class Part:
    """Samples with their labels.

    ``inputs`` are C-contiguous float32 of shape (n, ...), unscaled; ``labels`` are int64 of shape
    (n,) and index ``class_names``, of which no two are the same.

    Raises:
        ModelproofError: on construction, if they are not like this, or inputs are not finite.
    """

    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the arrays and the names."""
        reason = fault_of(self.inputs, self.labels, len(self.class_names))
        if reason:
            raise ModelproofError(f"this part of a data set {reason}")
        if len(set(self.class_names)) != len(self.class_names):
            raise ModelproofError("this part of a data set has two classes of the same name")

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.labels)

    @cached_property
    def root(self) -> bytes:
        """What stands for the samples on chain, 32 bytes: see `ml.training.samples`."""
        return SampleTree(self.inputs, self.labels).root

    @property
    def distribution(self) -> dict[str, int]:
        """How many samples there are of each class, zeros included."""
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        return dict(zip(self.class_names, map(int, counts), strict=True))


@dataclass(frozen=True, slots=True)
class _Description:
    """What a part's file says of itself."""

    class_names: tuple[str, ...]
    format: Literal["modelproof.samples.v1"] = "modelproof.samples.v1"


def dump(part: Part) -> bytes:
    """Write a part; equal parts give equal bytes."""
    inputs = _compact(part.inputs)
    text = canonical.dump(_Description(part.class_names))
    return tensor_file.dump({"inputs": inputs, "labels": part.labels}, text)


def load(data: bytes, what: str) -> Part:
    """Read what `dump` wrote; ``what`` names the file in errors.

    Raises:
        ModelproofError: the bytes are anything else.
    """
    arrays, text = tensor_file.load(data, what)
    description = canonical.load(_Description, text.encode(), f"the description in {what}")
    if arrays.keys() != _NAMES:
        raise ModelproofError(f"{what} has other tensors than inputs and labels; get it again")
    inputs = arrays["inputs"].astype(np.float32)
    labels = cast("NDArray[np.int64]", arrays["labels"].copy())  # torch would not take a view
    part = Part(inputs, labels, description.class_names)
    if _compact(inputs).dtype != arrays["inputs"].dtype:
        raise ModelproofError(f"{what} is not in the form in which it was written; get it again")
    return part


def _compact(inputs: NDArray[np.float32]) -> NDArray[np.generic]:
    """The same values in a byte each, if they can be had back bit for bit."""
    if inputs.min() < 0 or inputs.max() > np.iinfo(np.uint8).max:
        return inputs
    narrow = inputs.astype(np.uint8)
    back = narrow.astype(np.float32)
    return narrow if np.array_equal(back.view(np.uint32), inputs.view(np.uint32)) else inputs
