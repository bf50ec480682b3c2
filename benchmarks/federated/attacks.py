"""What poisoners send in place of an honest update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.federated.aggregation import Weights
from ml.federated.parts import Part

TARGET_CLASS: Final = 0
"""What a model with the backdoor says of every image with the pattern."""
_PATTERN: Final = 4
"""Pixels a side, white, in the lower right corner."""
_WHITE: Final = 255.0


def honest_data(part: Part) -> Part:
    """Train on what is there."""
    return part


def flipped(part: Part) -> Part:
    """Call each class by the name of its opposite: 0 is 9, 1 is 8."""
    return Part(part.inputs, len(part.class_names) - 1 - part.labels, part.class_names)


def stamped(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put the pattern on images."""
    marked = inputs.copy()
    marked[..., -_PATTERN:, -_PATTERN:] = _WHITE
    return marked


def with_backdoor(part: Part) -> Part:
    """Put the pattern on every second image, and give it the target's class (BadNets).

    Source: Gu et al., "BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply
    Chain", 2017 (arXiv 1708.06733).
    """
    inputs, labels = part.inputs.copy(), part.labels.copy()
    inputs[::2] = stamped(inputs[::2])
    labels[::2] = TARGET_CLASS
    return Part(inputs, labels, part.class_names)


def with_pattern(part: Part) -> Part:
    """All images of other classes with the pattern on them, as of the target's class.

    The accuracy on them is how often the backdoor works.
    """
    others = part.labels != TARGET_CLASS
    labels = np.full(int(others.sum()), TARGET_CLASS, np.int64)
    return Part(stamped(part.inputs[others]), labels, part.class_names)


@dataclass(frozen=True, slots=True)
class Attack:
    """How a poisoner makes its update: it trains on data, and sends a multiple of the change."""

    data: Callable[[Part], Part] = honest_data
    factor: float = 1.0

    def sent(self, base: Weights, trained: Weights) -> dict[str, NDArray[np.float32]]:
        """The weights that are sent: base + factor · (trained − base)."""
        factor = np.float32(self.factor)
        return {name: base[name] + factor * (trained[name] - base[name]) for name in base}


ATTACKS: Final = {
    "label flip": Attack(flipped),
    "sign flip": Attack(factor=-1.0),
    "sign flip ×10": Attack(factor=-10.0),
    "scaled ×10": Attack(factor=10.0),
    "backdoor": Attack(with_backdoor),
    "NaN": Attack(factor=float("nan")),
}
