"""How a model is trained, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

from ml.errors import ModelproofError

_MAX_LEARNING_RATE: Final = 1e6
"""Far above what trains anything, and within float32."""


@dataclass(frozen=True, slots=True)
class SgdHyperparameters:
    """Stochastic gradient descent with Nesterov's momentum; the learning rate rises, then falls.

    Raises:
        ModelproofError: on construction, if a value is out of its range.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    """Its peak."""
    momentum: float = 0.9
    weight_decay: float = 0.0
    warmup: float = 0.25
    """The share of all steps in which the learning rate rises."""
    optimizer: Literal["sgd"] = "sgd"

    def __post_init__(self) -> None:
        """Check the ranges."""
        _check_epochs(self.epochs)
        if self.batch_size < 1:
            raise ModelproofError(f"a batch has at least 1 sample, not {self.batch_size}")
        if not 0 < self.learning_rate <= _MAX_LEARNING_RATE:
            raise ModelproofError(
                f"a learning rate is above 0 and at most {_MAX_LEARNING_RATE},"
                f" not {self.learning_rate}"
            )
        for name in ("momentum", "weight_decay", "warmup"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ModelproofError(f"{name} is at least 0 and below 1, not {value}")


@dataclass(frozen=True, slots=True)
class LbfgsHyperparameters:
    """Limited-memory BFGS on all samples at once, as scikit-learn has it.

    Raises:
        ModelproofError: on construction, if a value is out of its range.
    """

    epochs: int
    """Iterations at most; each looks at all samples at least once."""
    inverse_regularization: float = 1.0
    """scikit-learn's C."""
    optimizer: Literal["lbfgs"] = "lbfgs"

    def __post_init__(self) -> None:
        """Check the ranges."""
        _check_epochs(self.epochs)
        if not (math.isfinite(self.inverse_regularization) and self.inverse_regularization > 0):
            raise ModelproofError(
                f"the inverse regularization is above 0, not {self.inverse_regularization}"
            )


Hyperparameters = SgdHyperparameters | LbfgsHyperparameters


def with_epochs(hyperparameters: Hyperparameters, epochs: int | None) -> Hyperparameters:
    """Return the same with another number of epochs, or the same if that is None."""
    return hyperparameters if epochs is None else replace(hyperparameters, epochs=epochs)


def _check_epochs(epochs: int) -> None:
    if epochs < 1:
        raise ModelproofError(f"training takes at least 1 epoch, not {epochs}")
