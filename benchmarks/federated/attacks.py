"""What poisoners send in place of an honest update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from ml.federated.aggregation import Weights
from ml.federated.parts import Part
from tests.federated.poison import (
    Alter,
    backdoored,
    flipped_labels,
    scaled,
    sign_flipped,
    stamped,
    with_nan,
)

TARGET_CLASS: Final = 0
"""What a model with the backdoor says of every image with the stamp."""


def as_trained(_base: Weights, trained: Weights) -> Weights:
    """Send what training ended with."""
    return trained


@dataclass(frozen=True, slots=True)
class Attack:
    """How a poisoner makes its update."""

    data: Callable[[Part], Part] | None = None
    """What it trains on in place of its own samples; None if it trains honestly."""
    sent: Alter = as_trained


ATTACKS: Final = {
    "label flip": Attack(data=flipped_labels),
    "sign flip": Attack(sent=sign_flipped),
    "sign flip ×10": Attack(sent=partial(sign_flipped, strength=10.0)),
    "scaled ×10": Attack(sent=scaled),
    "backdoor": Attack(data=partial(backdoored, target=TARGET_CLASS)),
    "NaN": Attack(sent=with_nan),
}


def with_stamp(part: Part) -> Part:
    """All images of other classes, stamped, as of the target's class.

    The accuracy on them is how often the backdoor works.
    """
    others = part.labels != TARGET_CLASS
    labels = np.full(int(others.sum()), TARGET_CLASS, np.int64)
    return Part(stamped(part.inputs[others]), labels, part.class_names)
