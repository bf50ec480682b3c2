"""The training loop: seeded, deterministic, and free of everything but training."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from ml.errors import ModelproofError

from .hyperparameters import SgdHyperparameters


class TrainingDiverged(ModelproofError):
    """The loss or the weights are no longer finite; the weights are of no use."""


@dataclass(frozen=True, slots=True)
class StepDone:
    """One optimizer step was made: the ``step``-th of ``steps`` in all, in the ``epoch``-th."""

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    """Mean cross-entropy over the batch, in nats."""


class Progress(Protocol):
    """What is told of each step; it must not touch the network."""

    def __call__(self, done: StepDone, /) -> None:
        """Take note of a step."""


def derive_seed(seed: int, purpose: str) -> int:
    """Derive a 63-bit seed, so that no two uses of a run's seed draw the same numbers."""
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextmanager
def deterministic(threads: int) -> Iterator[None]:
    """Make torch deterministic and set its number of threads, within the block.

    The same code, torch build, number of threads and CPU instruction set then give the same bits;
    another number of threads gives others.
    """
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.get_num_threads(),
    )
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.set_num_threads(before[2])


def learning_rate_at(step: int, steps: int, hyperparameters: SgdHyperparameters) -> float:
    """Return the learning rate of a step, counted from 0.

    It rises in a line from 0 to ``learning_rate`` over the first ``warmup`` of all steps, and falls
    in a line to 0 over the rest.
    Source: Smith and Topin, "Super-Convergence", 2017 (arXiv 1708.07120), without its last phase.
    """
    done = (step + 0.5) / steps
    warmup = hyperparameters.warmup
    share = done / warmup if done < warmup else (1 - done) / (1 - warmup)
    return hyperparameters.learning_rate * share


def fit(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    hyperparameters: SgdHyperparameters,
    seed: int,
    progress: Progress | None = None,
) -> list[float]:
    """Train a network in place by stochastic gradient descent with Nesterov's momentum.

    Run it in ``deterministic``. The order of the samples follows from ``seed`` alone.

    Args:
        network: gives logits (n, classes).
        inputs: (n, ...) float32.
        labels: (n,) int64.
        hyperparameters: how.
        seed: of the order of the samples.
        progress: told of each step.

    Returns:
        The mean loss of each epoch, in nats.

    Raises:
        TrainingDiverged: the loss or a weight became NaN or infinite.
    """
    network.train()
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=hyperparameters.learning_rate,
        momentum=hyperparameters.momentum,
        weight_decay=hyperparameters.weight_decay,
        nesterov=hyperparameters.momentum > 0,
    )
    generator = torch.Generator().manual_seed(derive_seed(seed, "order of samples"))
    epochs = hyperparameters.epochs
    steps = epochs * math.ceil(len(labels) / hyperparameters.batch_size)
    step = 0
    losses = []
    for epoch in range(1, epochs + 1):
        total = 0.0
        order = torch.randperm(len(labels), generator=generator)
        for start in range(0, len(order), hyperparameters.batch_size):
            batch = order[start : start + hyperparameters.batch_size]
            optimizer.param_groups[0]["lr"] = learning_rate_at(step, steps, hyperparameters)
            loss = _step(network, optimizer, inputs[batch], labels[batch])
            step += 1
            if not math.isfinite(loss):
                raise _diverged(f"the loss is {loss} at step {step} of {steps}", hyperparameters)
            total += loss * len(batch)
            if progress:
                progress(StepDone(step, steps, epoch, epochs, loss))
        losses.append(total / len(labels))
    if not all(bool(parameter.isfinite().all()) for parameter in network.parameters()):
        raise _diverged("the last step made a weight NaN or infinite", hyperparameters)
    network.eval()
    return losses


def _step(
    network: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, labels: Tensor
) -> float:
    """Make one optimizer step on one batch and return the batch's mean loss."""
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(network(inputs), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def _diverged(what: str, hyperparameters: SgdHyperparameters) -> TrainingDiverged:
    return TrainingDiverged(
        f"training stopped because {what}: lower the learning rate"
        f" (now {hyperparameters.learning_rate}) or check the inputs"
    )
