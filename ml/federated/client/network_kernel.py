"""SGD of any torch network by autograd, with momentum, decay of weights and FedProx's penalty.

Imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Generator, Tensor, nn

from ml.federated.proximal import Proximal
from ml.federated.run_configuration import LocalTraining
from ml.training.architectures import Architecture
from ml.training.networks import build_network

from .kernel import Samples, shuffled

_EVALUATION_BATCH: Final = 250


class NetworkKernel:
    """Trains a network as its settings say."""

    def __init__(
        self,
        architecture: Architecture,
        local: LocalTraining,
        base: Mapping[str, Tensor],
        samples: Samples,
        learning_rate: float,
    ) -> None:
        """Build the network; the weights to start from are left as they are."""
        self.network = build_network(architecture, seed=0)
        self.network.load_state_dict(base)
        self.network.train()
        self.samples: Final = samples
        self._batch_size = local.batch_size
        self._base = base
        self._penalty = Proximal(local.mu)
        self._optimizer = sgd(self.network, local, learning_rate)

    def train_epoch(self, indices: Tensor, generator: Generator) -> None:
        """Train on the samples at these indices, in an order that the generator draws."""
        for batch in torch.split(shuffled(indices, generator), self._batch_size):
            self._optimizer.zero_grad()
            loss = nn.functional.cross_entropy(
                self.network(self.samples.inputs[batch]), self.samples.labels[batch]
            )
            if self._penalty.mu > 0:
                loss = loss + self._penalty.penalty(self.network, self._base)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()

    def correct(self, indices: Tensor) -> int:
        """How many of the samples at these indices the network tells apart rightly."""
        count = 0
        self.network.eval()
        with torch.inference_mode():
            for batch in torch.split(indices, _EVALUATION_BATCH):
                found = self.network(self.samples.inputs[batch]).argmax(dim=1)
                count += int((found == self.samples.labels[batch]).sum())
        self.network.train()
        return count

    def weights(self) -> dict[str, Tensor]:
        """The network's tensors by their names, contiguous."""
        return {
            name: value.detach().clone(memory_format=torch.contiguous_format)
            for name, value in self.network.state_dict().items()
        }


def sgd(network: nn.Module, local: LocalTraining, learning_rate: float) -> torch.optim.SGD:
    """Stochastic gradient descent with the settings' momentum, which starts anew each round."""
    return torch.optim.SGD(
        network.parameters(),
        lr=learning_rate,
        momentum=local.momentum,
        weight_decay=local.weight_decay,
    )
