"""How good a classifier is, from its confusion matrix alone.

Accuracy is in parts per million and rounded down, so that every machine that counts the same gets
the same. Precision, recall and F1 are as scikit-learn has them with ``zero_division=0``.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.chain.types import MAX_PPM
from ml.errors import ModelproofError

from .canonical import canonical_json

_SUMMARY_DECIMALS: Final = 6


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """How good a classifier is at one class; ``support`` is how many samples are of it."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """How good a classifier is on some samples.

    Raises:
        ModelproofError: on construction, if a figure is not the one that the confusion matrix
            gives: ``measure`` computes them.
    """

    confusion: tuple[tuple[int, ...], ...]
    """How many samples of each class (rows) were taken for each class (columns)."""
    loss: float
    """Mean cross-entropy, in nats."""
    samples: int
    correct: int
    accuracy_ppm: int
    """``floor(correct * 10**6 / samples)``."""
    precision: float
    """The mean over the classes, as recall and F1 (macro average)."""
    recall: float
    f1: float
    classes: tuple[ClassMetrics, ...]

    def __post_init__(self) -> None:
        """Check that the figures belong together."""
        count = len(self.classes)
        if len(self.confusion) != count or any(len(row) != count for row in self.confusion):
            raise ModelproofError(f"the confusion matrix is not {count} × {count}")
        figures = _figures(self.confusion, tuple(c.name for c in self.classes))
        if figures != tuple(getattr(self, name) for name in _Figures._fields):
            raise ModelproofError(
                "the metrics contradict their own confusion matrix; measure the model again"
            )

    def summary(self) -> str:
        """Write the figures over all classes as JSON of about 120 bytes, for the chain's event."""
        figures = {
            name: round(getattr(self, name), _SUMMARY_DECIMALS)
            for name in ("f1", "loss", "precision", "recall")
        }
        return canonical_json(
            {"accuracy_ppm": self.accuracy_ppm, "samples": self.samples, **figures}
        )

    def counted(self) -> str:
        """Write what was counted, as JSON: what several validators sign.

        All who count alike get the very same text. The loss depends on the machine that computes
        it, and even the confusion matrix may differ where the number of correct samples does not.
        """
        return canonical_json(
            {"accuracy_ppm": self.accuracy_ppm, "correct": self.correct, "samples": self.samples}
        )


def measure(
    log_probabilities: NDArray[np.float64], labels: NDArray[np.int64], names: tuple[str, ...]
) -> Metrics:
    """Compute all metrics; each sample is taken for its most probable class, the first if several.

    Args:
        log_probabilities: (n, classes), natural logarithms.
        labels: (n,) int64.
        names: of the classes.

    Raises:
        ModelproofError: there are no samples, or a log-probability is NaN.
    """
    if not len(labels):
        raise ModelproofError("metrics need at least one sample")
    if np.isnan(log_probabilities).any():
        raise ModelproofError(
            "the model's outputs are NaN, so nothing can be measured;"
            " its weights are probably NaN or infinite: train it again"
        )
    count = len(names)
    predicted = log_probabilities.argmax(axis=1)
    matrix = np.bincount(labels * count + predicted, minlength=count * count).reshape(count, count)
    loss = -log_probabilities[np.arange(len(labels)), labels].mean()
    confusion = tuple(map(tuple, matrix.tolist()))
    return Metrics(confusion, float(loss), *_figures(confusion, names))


class _Figures(NamedTuple):
    """What follows from a confusion matrix: fields of ``Metrics``, in their order."""

    samples: int
    correct: int
    accuracy_ppm: int
    precision: float
    recall: float
    f1: float
    classes: tuple[ClassMetrics, ...]


def _figures(confusion: tuple[tuple[int, ...], ...], names: tuple[str, ...]) -> _Figures:
    samples = sum(map(sum, confusion))
    correct = sum(row[i] for i, row in enumerate(confusion))
    classes = tuple(_class_metrics(confusion, i, name) for i, name in enumerate(names))
    return _Figures(
        samples,
        correct,
        correct * MAX_PPM // samples if samples else 0,
        fmean(c.precision for c in classes),
        fmean(c.recall for c in classes),
        fmean(c.f1 for c in classes),
        classes,
    )


def _class_metrics(confusion: tuple[tuple[int, ...], ...], index: int, name: str) -> ClassMetrics:
    hits = confusion[index][index]
    support = sum(confusion[index])
    predicted = sum(row[index] for row in confusion)
    return ClassMetrics(
        name,
        precision=_ratio(hits, predicted),
        recall=_ratio(hits, support),
        f1=_ratio(2 * hits, support + predicted),
        support=support,
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
