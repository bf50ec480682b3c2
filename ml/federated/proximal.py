"""FedProx: what keeps a client that trains on data of its own kind near the model it started from.

Imports torch, as whoever trains does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ml.errors import ModelproofError


@dataclass(frozen=True, slots=True)
class Proximal:
    """The proximal term of FedProx: ``mu / 2`` times the squared distance from the base.

    A client minimizes its loss plus this; 0 is plain local training. Only what is trained counts,
    that is, a network's parameters and none of its buffers. Source: Li et al., "Federated
    Optimization in Heterogeneous Networks", 2020 (arXiv 1812.06127), equation 2.

    Raises:
        ModelproofError: on construction, if mu is negative or not finite.
    """

    mu: float

    def __post_init__(self) -> None:
        """Check mu."""
        if not (math.isfinite(self.mu) and self.mu >= 0):
            raise ModelproofError(f"mu of FedProx is 0 or above, not {self.mu}")

    def penalty(self, network: nn.Module, base: Mapping[str, Tensor]) -> Tensor:
        """Return what is added to the loss, a scalar that gradients flow through.

        Args:
            network: that is being trained.
            base: the parameters that it started from, by their names, on the same device.

        Raises:
            ModelproofError: the base lacks a parameter of the network.
        """
        distance = torch.zeros(())
        for name, parameter in network.named_parameters():
            if name not in base:
                raise ModelproofError(f"the model that training starts from lacks {name!r}")
            distance = distance + (parameter - base[name].detach()).square().sum()
        return self.mu / 2 * distance
