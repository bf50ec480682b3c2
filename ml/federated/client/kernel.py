"""What local training asks of the code that does the arithmetic. Imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Generator, Tensor, randperm


@dataclass(frozen=True, eq=False, slots=True)
class Samples:
    """A client's samples as tensors, over the memory of its part."""

    inputs: Tensor
    """(n, *input_shape) float32, unscaled."""
    labels: Tensor
    """(n,) int64."""


class Kernel(Protocol):
    """A model that is being trained on a client's samples.

    What it computes with is in memory that torch allocated: its matrix products may round
    otherwise on memory of another alignment, as numpy's is.
    """

    def train_epoch(self, indices: Tensor, generator: Generator) -> None:
        """Train on the samples at these indices, in an order that the generator draws."""

    def correct(self, indices: Tensor) -> int:
        """How many of the samples at these indices the model tells apart rightly."""

    def weights(self) -> dict[str, Tensor]:
        """The model's tensors by their names, contiguous."""


def shuffled(indices: Tensor, generator: Generator) -> Tensor:
    """The same indices in an order that the generator draws."""
    return indices[randperm(len(indices), generator=generator)]
