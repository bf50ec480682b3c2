"""What a network looks like, as data: enough to build it again from its metadata."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ml.errors import ModelproofError


class ArchitectureName(StrEnum):
    """The shapes of network that there are."""

    DENSE = "dense"
    """Dense layers with ReLU, and an output layer: with two of 200 units, the 2NN of McMahan et al.
    """
    CNN = "cnn"
    """Two convolutions, a dense layer with ReLU, and an output layer."""
    FEDAVG_CNN = "fedavg-cnn"
    """The CNN that FedAvg was published with, of the same layers but more of each: McMahan et al.,
    "Communication-Efficient Learning of Deep Networks from Decentralized Data", 2017."""
    LOGISTIC = "logistic"
    """One output layer: multinomial logistic regression in torch."""
    SKLEARN = "sklearn"
    """The same by scikit-learn, on standardised inputs."""


_CONVOLUTIONAL: Final = (ArchitectureName.CNN, ArchitectureName.FEDAVG_CNN)
_CONVOLUTIONS: Final = 2
_HIDDEN_LAYERS: Final = {
    ArchitectureName.CNN: 1,
    ArchitectureName.FEDAVG_CNN: 1,
    ArchitectureName.LOGISTIC: 0,
    ArchitectureName.SKLEARN: 0,
}
"""A dense network has any number of them, but for none."""
_MIN_IMAGE_SIDE: Final = 4
"""A CNN halves an image twice."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network, but for its weights.

    Raises:
        ModelproofError: on construction, if there is no such network.
    """

    name: ArchitectureName
    input_shape: tuple[int, ...]
    """Of one sample: (features,), or (channels, height, width)."""
    classes: int
    hidden: tuple[int, ...] = ()
    """Units of the dense layers before the output layer."""
    channels: tuple[int, ...] = ()
    """Of the convolutions."""
    mean: tuple[float, ...] = (0.0,)
    """Subtracted from the inputs before all else: one number, or one per feature or channel."""
    std: tuple[float, ...] = (1.0,)
    """What they are divided by then."""

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        if reason := self._fault():
            raise ModelproofError(f"there is no {self.name.value} network {reason}")

    def _fault(self) -> str | None:
        """Say what does not fit, as the end of a sentence."""
        sizes = (*self.input_shape, self.classes, *self.hidden, *self.channels)
        if not self.input_shape or any(size < 1 for size in sizes):
            return f"with the sizes {sizes}: each must be at least 1"
        if self.name is ArchitectureName.DENSE and not self.hidden:
            return "with 0 hidden layers: it has 1 or more"
        layers = _HIDDEN_LAYERS.get(self.name, len(self.hidden))
        if len(self.hidden) != layers:
            return f"with {len(self.hidden)} hidden layers: it has {layers}"
        convolutions = _CONVOLUTIONS if self.name in _CONVOLUTIONAL else 0
        if len(self.channels) != convolutions:
            return f"with {len(self.channels)} convolutions: it has {convolutions}"
        if self.name in _CONVOLUTIONAL and (
            len(self.input_shape) != 3 or min(self.input_shape[1:]) < _MIN_IMAGE_SIDE
        ):
            return (
                f"for inputs of shape {self.input_shape}: it takes images as (channels, height,"
                f" width), at least {_MIN_IMAGE_SIDE} pixels a side"
            )
        if self.name is ArchitectureName.SKLEARN and (self.mean, self.std) != ((0.0,), (1.0,)):
            return "with a scale of its inputs: it learns that in training"
        if {len(self.mean), len(self.std)} - {1, self.input_shape[0]}:
            return f"with {len(self.mean)} means and {len(self.std)} deviations of its inputs"
        if not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0:
            return f"that scales its inputs by the means {self.mean} and deviations {self.std}"
        return None
