"""Small parts of data sets, and networks that are trained on them."""

from __future__ import annotations

from functools import partial

import numpy as np

from ml.federated.aggregation import Weights
from ml.federated.parts import Part
from ml.training.architectures import Architecture, ArchitectureName
from ml.training.networks import build_network

CLASS_NAMES = ("zero", "one", "two")
SHAPE = (2, 8, 8)
_network = partial(Architecture, input_shape=SHAPE, classes=3, mean=(20.0, 30.0), std=(50.0, 60.0))

DENSE = _network(ArchitectureName.DENSE, hidden=(24, 16))
ONE_LAYER = _network(ArchitectureName.DENSE, hidden=(24,), mean=(25.0,), std=(55.0,))
LOGISTIC = _network(ArchitectureName.LOGISTIC)
CNN = _network(ArchitectureName.CNN, hidden=(8,), channels=(4, 4))
FEDAVG_CNN = _network(ArchitectureName.FEDAVG_CNN, hidden=(8,), channels=(4, 4))


def part(samples: int = 53, seed: int = 0) -> Part:
    """Images, each with a bright row that its class follows from, and noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(CLASS_NAMES), samples)
    inputs = rng.integers(0, 100, (samples, *SHAPE)).astype(np.float32)
    inputs[np.arange(samples), :, labels] += 100
    return Part(inputs, labels, CLASS_NAMES)


def first_weights(architecture: Architecture, seed: int = 1) -> Weights:
    tensors = build_network(architecture, seed).state_dict()
    return {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in tensors.items()}
