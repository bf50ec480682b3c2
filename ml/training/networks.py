"""Torch networks, built from an architecture and a seed."""

from __future__ import annotations

import math
from collections import OrderedDict
from itertools import pairwise

import torch
from torch import Tensor, nn

from ml.errors import ModelproofError

from .architectures import Architecture, ArchitectureName


class Normalization(nn.Module):
    """Subtract the mean, divide by the deviation; both belong to the architecture, not the weights.

    Takes and gives (n, ...) float32.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        shape = (-1,) + (1,) * (len(architecture.input_shape) - 1)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(architecture, name), dtype=torch.float32)
            self.register_buffer(name, values.reshape(shape), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Scale the inputs."""
        return (inputs - self.mean) / self.std


def build_network(architecture: Architecture, seed: int) -> nn.Sequential:
    """Build a network with seeded weights; it takes (n, *input_shape) float32, gives (n, classes).

    What it gives are logits. Torch's global random state is left as it was.

    Raises:
        ModelproofError: the architecture is scikit-learn's.
    """
    layers = _LAYERS.get(architecture.name)
    if layers is None:
        raise ModelproofError(f"a {architecture.name} model is not a torch network")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            OrderedDict([("normalization", Normalization(architecture)), *layers(architecture)])
        )
    # Convolutions take two thirds of the time with channels last. That is a matter of strides, and
    # the identity is over contiguous bytes.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _dense_layers(inputs: int, architecture: Architecture) -> list[tuple[str, nn.Module]]:
    """Dense layers with ReLU between them; the last one gives the logits."""
    layers: list[tuple[str, nn.Module]] = []
    for i, (before, after) in enumerate(pairwise((inputs, *architecture.hidden)), start=1):
        layers += [(f"dense{i}", nn.Linear(before, after)), (f"relu{i}", nn.ReLU())]
    last = architecture.hidden[-1] if architecture.hidden else inputs
    return [*layers, ("output", nn.Linear(last, architecture.classes))]


def _dense(architecture: Architecture) -> list[tuple[str, nn.Module]]:
    inputs = math.prod(architecture.input_shape)
    return [("flatten", nn.Flatten()), *_dense_layers(inputs, architecture)]


def _cnn(architecture: Architecture) -> list[tuple[str, nn.Module]]:
    """A 5 × 5 convolution with stride 2, a 3 × 3 one with max-pooling, then dense layers.

    The stride instead of a second pooling makes it three times as fast and no worse on MNIST. ReLU
    comes after pooling, which gives the same on a quarter of the values.
    """
    image_channels, height, width = architecture.input_shape
    first, second = architecture.channels
    features = second * (math.ceil(height / 2) // 2) * (math.ceil(width / 2) // 2)
    return [
        ("conv1", nn.Conv2d(image_channels, first, kernel_size=5, stride=2, padding=2)),
        ("conv1_relu", nn.ReLU()),
        ("conv2", nn.Conv2d(first, second, kernel_size=3, padding=1)),
        ("pool", nn.MaxPool2d(2)),
        ("conv2_relu", nn.ReLU()),
        ("flatten", nn.Flatten()),
        *_dense_layers(features, architecture),
    ]


def _fedavg_cnn(architecture: Architecture) -> list[tuple[str, nn.Module]]:
    """Two 5 × 5 convolutions, each with ReLU and max-pooling, then dense layers.

    With 32 and 64 channels and 512 units it has the paper's 1,663,370 parameters on 28 × 28 pixels.
    The paper does not say what follows a convolution; ReLU does in the authors' TensorFlow
    Federated (``create_original_fedavg_cnn_model``). Here it comes after pooling: see `_cnn`.
    """
    image_channels, height, width = architecture.input_shape
    first, second = architecture.channels
    return [
        ("conv1", nn.Conv2d(image_channels, first, kernel_size=5, padding=2)),
        ("pool1", nn.MaxPool2d(2)),
        ("conv1_relu", nn.ReLU()),
        ("conv2", nn.Conv2d(first, second, kernel_size=5, padding=2)),
        ("pool2", nn.MaxPool2d(2)),
        ("conv2_relu", nn.ReLU()),
        ("flatten", nn.Flatten()),
        *_dense_layers(second * (height // 4) * (width // 4), architecture),
    ]


_LAYERS = {
    ArchitectureName.DENSE: _dense,
    ArchitectureName.CNN: _cnn,
    ArchitectureName.FEDAVG_CNN: _fedavg_cnn,
    ArchitectureName.LOGISTIC: _dense,
}
