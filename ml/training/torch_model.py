"""Classifiers that are torch networks: training, evaluating and loading them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ml.artifact import Manifest, describe_state_dict
from ml.errors import ModelproofError

from .architectures import Architecture
from .datasets import Dataset
from .hyperparameters import SgdHyperparameters
from .loop import Progress, derive_seed, deterministic, fit
from .networks import build_network

SUFFIX: Final = ".safetensors"
_EVALUATION_BATCH: Final = 250
"""Small enough for a layer's activations to stay in a core's cache; of no effect on the result."""


Shapes: TypeAlias = Mapping[str, tuple[tuple[int, ...], torch.dtype]]
"""What tensors look like, by their names."""


class TorchClassifier:
    """A torch network with the architecture that it was built from."""

    suffix: Final = SUFFIX

    def __init__(self, network: nn.Module, architecture: Architecture) -> None:
        """Take a network that gives logits; it is used as it is, not copied."""
        self.network = network.eval()
        self.architecture: Final = architecture

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the weights, each tensor contiguous."""
        return {
            name: value.detach().clone(memory_format=torch.contiguous_format)
            for name, value in self.network.state_dict().items()
        }

    def log_probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return log-probabilities (n, classes), computed by one thread: see ``Classifier``."""
        with deterministic(threads=1), torch.inference_mode():
            samples = torch.from_numpy(inputs)
            logits = [
                self.network(samples[start : start + _EVALUATION_BATCH])
                for start in range(0, len(samples), _EVALUATION_BATCH)
            ]
            scores: NDArray[np.float64] = torch.cat(logits).double().log_softmax(dim=1).numpy()
        return scores

    def serialize(self) -> bytes:
        """Return a safetensors file without metadata."""
        return safetensors.torch.save(self.state_dict())

    def manifest(self) -> Manifest:
        """Return the identity of the weights."""
        return describe_state_dict(self.state_dict())


def train_torch(
    architecture: Architecture,
    hyperparameters: SgdHyperparameters,
    dataset: Dataset,
    seed: int,
    parent: TorchClassifier | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> TorchClassifier:
    """Train a network from seeded weights, or from those of ``parent``, which is left as it is.

    Raises:
        TrainingDiverged: the loss or a weight became NaN or infinite.
    """
    network = build_network(architecture, derive_seed(seed, "initial weights"))
    if parent is not None:
        network.load_state_dict(parent.network.state_dict())
    with deterministic(threads):
        fit(
            network,
            torch.from_numpy(dataset.train_inputs),
            torch.from_numpy(dataset.train_labels),
            hyperparameters,
            seed,
            progress,
        )
    return TorchClassifier(network, architecture)


def restore_torch(architecture: Architecture, state_dict: Mapping[str, Tensor]) -> TorchClassifier:
    """Build a network and give it weights that were verified before.

    Raises:
        ModelproofError: the weights are not those of such a network.
    """
    check_tensors(architecture, {n: (tuple(t.shape), t.dtype) for n, t in state_dict.items()})
    network = build_network(architecture, seed=0)
    network.load_state_dict(state_dict)
    return TorchClassifier(network, architecture)


def check_tensors(architecture: Architecture, found: Shapes) -> None:
    """Check that tensors of these names, shapes and dtypes are a network's.

    Raises:
        ModelproofError: they are not, or the architecture is scikit-learn's.
    """
    expected = tensors_of(architecture)
    if found != expected:
        name = min(n for n in {*found, *expected} if found.get(n) != expected.get(n))
        raise ModelproofError(
            f"the tensors are not those of a {architecture.name} network: {name!r} should be"
            f" {_described(expected.get(name))} and is {_described(found.get(name))};"
            " use the metadata that was saved with the model"
        )


@lru_cache(maxsize=16)
def tensors_of(architecture: Architecture) -> Shapes:
    """What the tensors of a network look like.

    Raises:
        ModelproofError: the architecture is scikit-learn's.
    """
    tensors = build_network(architecture, seed=0).state_dict()
    return MappingProxyType({name: (tuple(t.shape), t.dtype) for name, t in tensors.items()})


def _described(tensor: tuple[tuple[int, ...], torch.dtype] | None) -> str:
    return f"{tensor[1]} {list(tensor[0])}" if tensor else "absent"
