"""SGD of dense networks without autograd: half the time for the small batches of FedAvg.

A batch of ten samples takes a few microseconds in each operation, so that what surrounds them
counts: autograd's graph, a tensor for every result, the gradients that are written only to be read
once. Here results go to memory that is there already, and the update is part of the matrix product
that would give the gradient: W - lr / n · dᵀ x is one call of BLAS. The same as autograd with
`torch.optim.SGD` but for rounding. Imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import torch
from torch import Generator, Tensor

from ml.training.architectures import Architecture
from ml.training.networks import Normalization

from .kernel import Samples, shuffled

_CHUNK: Final = 256
"""So many samples are gathered and scaled at a time: few enough to stay in a core's cache."""
_EVALUATION_BATCH: Final = 500


class _Layer(NamedTuple):
    """A dense layer; the second is a view of the first."""

    weight: Tensor
    """(outputs, inputs)."""
    transposed: Tensor
    bias: Tensor


class _Buffers:
    """Where a batch of so many samples is computed, and which operations have what there.

    Views and tuples are made once: at ten samples a batch, making them takes a tenth of the time.
    """

    def __init__(self, samples: int, layers: list[_Layer]) -> None:
        outputs = [torch.empty(samples, len(layer.bias)) for layer in layers]
        gradients = [torch.empty_like(output) for output in outputs]
        self.ones = torch.ones(samples)
        self.first = (layers[0], outputs[0], gradients[0].t())
        self.forward = list(zip(outputs, layers[1:], outputs[1:], strict=False))
        """What comes in after ReLU, the layer, and what comes out before ReLU."""
        self.loss = (outputs[-1], gradients[-1])
        """Logits, and the gradient of the batch's summed loss by them."""
        self.backward = [
            (gradients[i], layers[i].weight, gradients[i - 1], outputs[i - 1])
            for i in range(len(layers) - 1, 0, -1)
        ]
        """Gradient by a layer's output, its weights, gradient by its input, and its input."""
        self.update = [
            (layer.weight, layer.bias, gradient.t(), below)
            for layer, gradient, below in zip(layers[1:], gradients[1:], outputs, strict=False)
        ]


class DenseKernel:
    """Trains a dense network, or logistic regression; without momentum, decay or penalty."""

    def __init__(
        self,
        architecture: Architecture,
        base: Mapping[str, Tensor],
        samples: Samples,
        batch_size: int,
        learning_rate: float,
    ) -> None:
        """Take the weights to start from, which are changed in place."""
        self._weights = dict(base)
        names = [*(f"dense{i}" for i, _ in enumerate(architecture.hidden, start=1)), "output"]
        self._layers = [
            _Layer(base[f"{name}.weight"], base[f"{name}.weight"].t(), base[f"{name}.bias"])
            for name in names
        ]
        self._inputs = samples.inputs.flatten(start_dim=1)
        self._labels = samples.labels
        scale = Normalization(architecture)
        per_value = math.prod(architecture.input_shape[1:])
        self._mean, self._std = (
            value.flatten().repeat_interleave(per_value if value.numel() > 1 else 1)
            for value in (scale.mean, scale.std)
        )
        self._batch_size = batch_size
        self._learning_rate = learning_rate
        self._buffers: dict[int, _Buffers] = {}
        self._rows = torch.empty(0, self._inputs.shape[1])

    def train_epoch(self, indices: Tensor, generator: Generator) -> None:
        """Train on the samples at these indices, in an order that the generator draws."""
        per_chunk = self._batch_size * max(1, _CHUNK // self._batch_size)
        classes = torch.eye(len(self._layers[-1].bias))
        with torch.inference_mode():
            for chunk in torch.split(shuffled(indices, generator), per_chunk):
                batches = torch.split(self._scaled(chunk), self._batch_size)
                targets = torch.split(classes[self._labels[chunk]], self._batch_size)
                for batch, target in zip(batches, targets, strict=True):
                    self._step(batch, target)

    def correct(self, indices: Tensor) -> int:
        """How many of the samples at these indices the network tells apart rightly."""
        count = 0
        with torch.inference_mode():
            for chunk in torch.split(indices, _EVALUATION_BATCH):
                outputs = self._scaled(chunk)
                for layer in self._layers[:-1]:
                    outputs = torch.addmm(layer.bias, outputs, layer.transposed).relu_()
                last = self._layers[-1]
                found = torch.addmm(last.bias, outputs, last.transposed).argmax(dim=1)
                count += int((found == self._labels[chunk]).sum())
        return count

    def weights(self) -> dict[str, Tensor]:
        """The network's tensors by their names."""
        return self._weights

    def _scaled(self, indices: Tensor) -> Tensor:
        """The inputs at these indices, scaled as the network scales them: (n, features).

        They are there until the next call.
        """
        if len(indices) > len(self._rows):
            self._rows = torch.empty(len(indices), self._inputs.shape[1])
        rows = self._rows[: len(indices)]
        torch.index_select(self._inputs, 0, indices, out=rows)
        return rows.sub_(self._mean).div_(self._std)

    def _step(self, inputs: Tensor, targets: Tensor) -> None:
        """Take one step on one batch; ``targets`` (n, classes) is 1 where the class is, else 0."""
        samples = len(inputs)
        buffers = self._buffers.get(samples)
        if buffers is None:
            buffers = self._buffers[samples] = _Buffers(samples, self._layers)

        first, output, gradient = buffers.first
        torch.addmm(first.bias, inputs, first.transposed, out=output)
        for below, layer, output in buffers.forward:
            torch.addmm(layer.bias, below.relu_(), layer.transposed, out=output)

        logits, by_logits = buffers.loss
        torch.softmax(logits, dim=1, out=by_logits)
        by_logits.sub_(targets)
        for above, weight, by_input, layer_input in buffers.backward:
            torch.mm(above, weight, out=by_input)
            _mask(by_input, layer_input)

        rate = -self._learning_rate / samples
        for weight, bias, transposed, below in buffers.update:
            weight.addmm_(transposed, below, alpha=rate)
            bias.addmv_(transposed, buffers.ones, alpha=rate)
        first.weight.addmm_(gradient, inputs, alpha=rate)
        first.bias.addmv_(gradient, buffers.ones, alpha=rate)


def _mask(gradient: Tensor, output: Tensor) -> None:
    """Turn the gradient by ReLU's output into that by its input, as autograd does it."""
    torch.ops.aten.threshold_backward.grad_input(gradient, output, 0, grad_input=gradient)
