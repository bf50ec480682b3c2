"""Metrics that were measured elsewhere, from a user's JSON file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

from ml.artifact import strict_json
from ml.chain.types import MAX_PPM
from ml.errors import ModelproofError

from .canonical import canonical_json


@dataclass(frozen=True, slots=True)
class ReportedMetrics:
    """What the chain's validation takes: two accuracies in ppm, and all of it as JSON."""

    accuracy_ppm: int
    training_accuracy_ppm: int
    text: str


def read_metrics(path: Path) -> ReportedMetrics:
    """Read a metrics file: a JSON object.

    It states ``accuracy_ppm``, or ``correct`` and ``total``, or ``accuracy`` (0 to 1); and, where
    it is known, ``training_accuracy_ppm`` or ``training_accuracy``. Whatever else it holds is kept.
    Shares are rounded down to ppm.

    Raises:
        ModelproofError: it cannot be read, says no accuracy, or one that is out of range.
    """
    document = strict_json.read(path)
    if not isinstance(document, dict):
        raise ModelproofError(f"{path} is not a JSON object with metrics.")
    accuracy = _accuracy(path, document, "")
    if accuracy is None:
        raise ModelproofError(
            f"{path} states no accuracy: give accuracy_ppm, or correct and total, or accuracy."
        )
    training = _accuracy(path, document, "training_")
    return ReportedMetrics(accuracy, training or 0, canonical_json(document))


def _accuracy(path: Path, document: dict[str, Any], prefix: str) -> int | None:
    ways: dict[str, Callable[[], Any]] = {
        f"{prefix}accuracy_ppm": lambda: document[f"{prefix}accuracy_ppm"],
        f"{prefix}accuracy": lambda: _floor_ppm(path, prefix, document[f"{prefix}accuracy"]),
    }
    if not prefix:
        ways["correct"] = lambda: _counted(path, document["correct"], document.get("total"))
    stated = [name for name in ways if name in document]
    if not stated:
        return None
    if len(stated) > 1:
        raise ModelproofError(
            f"{path} states the {prefix}accuracy more than once ({', '.join(stated)}): leave one."
        )
    ppm = ways[stated[0]]()
    if not isinstance(ppm, int) or isinstance(ppm, bool) or not 0 <= ppm <= MAX_PPM:
        raise ModelproofError(
            f"{path} states a {prefix}accuracy of {ppm} ppm, which is out of range: 0 to {MAX_PPM},"
            " whole."
        )
    return ppm


def _floor_ppm(path: Path, prefix: str, share: object) -> int:
    if not isinstance(share, int | float) or isinstance(share, bool):
        raise ModelproofError(f"{path} states {prefix}accuracy as {share!r}, which is no number.")
    # the number as it was written: 0.29 is 290,000 ppm, though the float is a little less
    ppm = Decimal(str(share)) * MAX_PPM
    return int(ppm.to_integral_value(ROUND_FLOOR))


def _counted(path: Path, correct: object, total: object) -> int:
    if (
        not isinstance(correct, int)
        or not isinstance(total, int)
        or isinstance(correct, bool)
        or isinstance(total, bool)
        or not 0 <= correct <= total
        or total == 0
    ):
        raise ModelproofError(f"{path} states {correct} correct of {total}, which cannot be.")
    return correct * MAX_PPM // total
