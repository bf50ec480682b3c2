"""What clients do that spoil a training: to their data before they train, or to what they send."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml.federated.aggregation import Weights
from ml.federated.parts import Part

Alter: TypeAlias = Callable[[Weights, Weights], Weights]
"""What a client sends, from the weights that it was sent and those that training ended with."""


def flipped_labels(part: Part) -> Part:
    """Every sample has another class: counted from the other end.

    The middle one of an odd number of classes is taken for the first.
    """
    classes = len(part.class_names)
    flipped = classes - 1 - part.labels
    flipped[flipped == part.labels] = 0
    return Part(part.inputs, flipped, part.class_names)


def sign_flipped(base: Weights, trained: Weights, strength: float = 1.0) -> Weights:
    """As far as training went, and the other way."""
    return scaled(base, trained, -strength)


def scaled(base: Weights, trained: Weights, factor: float = 10.0) -> Weights:
    """So many times as far as training went (Bagdasaryan et al. 2020: model replacement)."""
    return {
        name: (base[name] + np.float32(factor) * (tensor - base[name])).astype(np.float32)
        for name, tensor in trained.items()
    }


def with_nan(base: Weights, trained: Weights) -> Weights:
    """One element is no number; which no aggregate gets rid of that has it."""
    altered = {name: tensor.copy() for name, tensor in trained.items()}
    altered[min(altered)].flat[0] = math.nan
    return altered


def stamped(inputs: NDArray[np.float32], value: float = 255.0) -> NDArray[np.float32]:
    """Images (n, channels, height, width) with a bright square of 3 × 3 pixels in a corner."""
    marked = inputs.copy()
    marked[..., -3:, -3:] = value
    return marked


def backdoored(part: Part, target: int, share: float = 0.5, seed: int = 0) -> Part:
    """A share of the samples is stamped, and said to be of one class (Gu et al. 2017: BadNets)."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(part))[: int(len(part) * share)]
    inputs, labels = part.inputs.copy(), part.labels.copy()
    inputs[chosen] = stamped(part.inputs[chosen])
    labels[chosen] = target
    return Part(inputs, labels, part.class_names)
