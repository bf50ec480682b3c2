"""What a client does with the weights that it is sent: some epochs of SGD on its own samples.

The learning rate is the same for a whole round, as in McMahan et al., "Communication-Efficient
Learning of Deep Networks from Decentralized Data", 2017. One torch thread and a seeded order of
samples: the same arguments give the same bits with the same build of torch on the same kind of
processor, whatever else was trained in the process. Imports torch.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml.chain.types import MAX_PPM
from ml.errors import ModelproofError
from ml.federated.aggregation import Weights
from ml.federated.parts import Part
from ml.federated.run_configuration import LocalTraining
from ml.training import canonical
from ml.training.architectures import Architecture, ArchitectureName
from ml.training.loop import TrainingDiverged, derive_seed, deterministic
from ml.training.torch_model import check_tensors

from .dense_kernel import DenseKernel
from .kernel import Kernel, Samples
from .network_kernel import NetworkKernel
from .privacy_ledger import NoisySteps, NoisyTraining
from .private_training import PrivateKernel, epsilon, noisy_steps

_DENSE: Final = (ArchitectureName.DENSE, ArchitectureName.LOGISTIC)


@dataclass(frozen=True, eq=False, slots=True)
class LocalResult:
    """What local training ended with."""

    weights: dict[str, NDArray[np.float32]]
    samples: int
    """That it trained on."""
    correct: int | None
    """How many of these the model then told apart rightly; None if it did not look."""
    validation_ppm: int | None
    """Accuracy on the samples that were kept from training; None if there are none."""
    epsilon: float | None
    """What this and earlier rounds spent of the client's privacy; None if it is not counted."""


def round_seed(seed: int, client: int, epoch: int, iteration: int) -> int:
    """The seed of a client's training in one round, from that of the run."""
    return derive_seed(seed, f"client {client}, epoch {epoch}, iteration {iteration}")


def trained_samples(samples: int, validation_share: float) -> int:
    """How many samples a client that has so many trains on."""
    return samples - int(samples * validation_share)


def private_seed(secret: bytes, training: NoisyTraining) -> int:
    """The seed of one private training: from a secret of the client's, and all that it is known by.

    So no two trainings have the same noise, whose difference would be free of it.
    """
    told = canonical.dump(training).encode()
    digest = hmac.digest(secret, b"modelproof.noise.v1" + told, "sha256")
    return int.from_bytes(digest[:8], "big") >> 1


def train_locally(
    architecture: Architecture,
    local: LocalTraining,
    base: Weights,
    part: Part,
    *,
    seed: int,
    iteration: int,
    earlier: Sequence[NoisySteps] = (),
) -> LocalResult:
    """Train a model on a client's samples; ``base`` and ``part`` are left as they are.

    Args:
        architecture: of the model.
        local: how.
        base: the weights to start from.
        part: the client's samples.
        seed: of the order of samples: see `round_seed`. With privacy, sampling and noise follow
            from it, and it must be known by nobody else: see `private_seed`.
        iteration: the round, counted from 1.
        earlier: with privacy, what was spent on these samples before: see `privacy_ledger`.

    Raises:
        TrainingDiverged: a weight became NaN or infinite.
        ModelproofError: the base or the samples are not those of such a network.
    """
    _check_part(architecture, part)
    rate = local.learning_rate_of(iteration)
    with deterministic(threads=1):  # a second thread would only be waited for, even in copying
        tensors = {name: torch.tensor(tensor) for name, tensor in base.items()}
        check_tensors(architecture, {n: (tuple(t.shape), t.dtype) for n, t in tensors.items()})
        samples = Samples(
            torch.from_numpy(part.inputs).reshape(-1, *architecture.input_shape),
            torch.from_numpy(part.labels),
        )
        trained, kept = _divided(len(part), local.validation_share)
        generator = torch.Generator().manual_seed(derive_seed(seed, "order of samples"))
        kernel = _kernel(architecture, local, tensors, samples, rate, seed)
        for epoch in range(1, local.epochs + 1):
            kernel.train_epoch(trained, generator)
            _check_finite(kernel.weights(), f"in epoch {epoch} of {local.epochs}", rate)
        # what epsilon covers is the weights: with privacy, nothing else is told of the samples
        tells = local.privacy is None
        correct = kernel.correct(trained) if local.count_correct and tells else None
        kept_correct = kernel.correct(kept) if len(kept) and tells else None
        weights = kernel.weights()
    return LocalResult(
        weights={name: weights[name].numpy() for name in base},
        samples=len(trained),
        correct=correct,
        validation_ppm=None if kept_correct is None else kept_correct * MAX_PPM // len(kept),
        epsilon=_epsilon(local, len(trained), earlier),
    )


def _kernel(
    architecture: Architecture,
    local: LocalTraining,
    base: Mapping[str, Tensor],
    samples: Samples,
    rate: float,
    seed: int,
) -> Kernel:
    """The fastest kernel that does what the settings say."""
    if local.privacy is not None:
        privacy = local.privacy
        return PrivateKernel(architecture, local, privacy, base, samples, rate, seed)
    if architecture.name in _DENSE and not (local.momentum or local.weight_decay or local.mu):
        return DenseKernel(architecture, base, samples, local.batch_size, rate)
    return NetworkKernel(architecture, local, base, samples, rate)


def _epsilon(local: LocalTraining, samples: int, earlier: Sequence[NoisySteps]) -> float | None:
    if local.privacy is None:
        return None
    return epsilon((*earlier, noisy_steps(local, samples)), local.privacy.delta)


def _divided(samples: int, share: float) -> tuple[Tensor, Tensor]:
    """The indices to train on, and those that are kept for validation.

    Which are kept follows from the number of samples alone, so that it is the same ones each round.
    """
    seed = derive_seed(samples, "kept for validation")
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
    kept = samples - trained_samples(samples, share)
    return order[kept:].sort().values, order[:kept].sort().values


def _check_part(architecture: Architecture, part: Part) -> None:
    if len(part.class_names) != architecture.classes or (
        part.inputs[0].size != math.prod(architecture.input_shape)
    ):
        raise ModelproofError(
            f"the network takes samples of shape {architecture.input_shape} and"
            f" {architecture.classes} classes, and this part of a data set has samples of shape"
            f" {part.inputs.shape[1:]} and {len(part.class_names)} classes"
        )


def _check_finite(weights: Mapping[str, Tensor], when: str, rate: float) -> None:
    for name, tensor in weights.items():
        least, most = tensor.aminmax()  # of NaN is NaN; faster than asking each element
        if not (math.isfinite(least) and math.isfinite(most)):
            raise TrainingDiverged(
                f"local training stopped because {name!r} became NaN or infinite {when}: lower the"
                f" learning rate (now {rate}) or check the client's data"
            )
