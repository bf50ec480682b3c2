"""A trained model, whatever library trained it: what evaluation, prediction and saving need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ml.artifact import Manifest
from ml.errors import ModelproofError

from .architectures import Architecture
from .metrics import Metrics, measure

if TYPE_CHECKING:
    from .datasets import Dataset


class Classifier(Protocol):
    """A model that tells classes apart."""

    @property
    def architecture(self) -> Architecture:
        """What it looks like."""

    @property
    def suffix(self) -> str:
        """Of its file's name, which says how it is read."""

    def log_probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the natural logarithm of each class's probability: (n, classes).

        ``inputs`` are raw, (n, *input_shape). Weights that are not finite give NaN.
        """

    def serialize(self) -> bytes:
        """Return what its file holds."""

    def manifest(self) -> Manifest:
        """Return its identity, which is also that of its file."""


def evaluate(
    classifier: Classifier,
    inputs: NDArray[np.float32],
    labels: NDArray[np.int64],
    class_names: tuple[str, ...],
) -> Metrics:
    """Measure a classifier on some samples.

    Args:
        classifier: the model.
        inputs: (n, *input_shape) float32, raw.
        labels: (n,) int64.
        class_names: as many as the model has classes.

    Raises:
        ModelproofError: the samples are not of the kind that the model takes, or its outputs are
            NaN.
    """
    architecture = classifier.architecture
    if inputs.shape[1:] != architecture.input_shape or len(class_names) != architecture.classes:
        raise ModelproofError(
            f"the model takes inputs of shape {architecture.input_shape} and tells"
            f" {architecture.classes} classes apart, but the samples have shape {inputs.shape[1:]}"
            f" and {len(class_names)} classes; choose the data set that it was trained on"
        )
    return measure(classifier.log_probabilities(inputs), labels, class_names)


def evaluate_on_test(classifier: Classifier, dataset: Dataset) -> Metrics:
    """Measure a classifier on a data set's whole test part; errors as for ``evaluate``."""
    return evaluate(classifier, dataset.test_inputs, dataset.test_labels, dataset.class_names)


def evaluate_on_train(classifier: Classifier, dataset: Dataset) -> Metrics:
    """Measure a classifier on a data set's whole training part; errors as for ``evaluate``."""
    return evaluate(classifier, dataset.train_inputs, dataset.train_labels, dataset.class_names)
