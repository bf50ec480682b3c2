"""The accuracy of many models on one part.

The same as `ml.federated.plain.measure`, but that inputs are scaled once and a model that was
measured before is not measured again: diagnoses of one round differ in few of their aggregates.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import torch

from ml.chain.types import MAX_PPM
from ml.federated.aggregation import Weights
from ml.federated.parts import Part
from ml.training.architectures import Architecture
from ml.training.loop import deterministic
from ml.training.networks import Normalization, build_network

_BATCH: Final = 500


class Accuracy:
    """Measures models of one architecture."""

    def __init__(self, architecture: Architecture, part: Part) -> None:
        """Scale the inputs."""
        self._network = build_network(architecture, seed=0).eval()
        self._batches = Normalization(architecture)(torch.from_numpy(part.inputs)).split(_BATCH)
        self._labels = torch.from_numpy(part.labels)
        self._known: dict[bytes, int] = {}

    def __call__(self, weights: Weights) -> int:
        """The accuracy of a model, ppm, rounded down."""
        hashed = hashlib.sha256()
        for name in sorted(weights):
            hashed.update(np.ascontiguousarray(weights[name]).data)
        digest = hashed.digest()
        if digest not in self._known:
            self._known[digest] = self._measure(weights)
        return self._known[digest]

    def _measure(self, weights: Weights) -> int:
        self._network.load_state_dict({name: torch.tensor(each) for name, each in weights.items()})
        scaled = self._network[1:]
        with deterministic(threads=1), torch.inference_mode():
            found = torch.cat([scaled(batch).argmax(dim=1) for batch in self._batches])
        return int((found == self._labels).sum()) * MAX_PPM // len(self._labels)
