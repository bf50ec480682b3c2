"""Differential privacy on the client: DP-SGD with Opacus, and what it spends.

Each step takes every sample with the same probability (Poisson sampling), clips each sample's
gradient, and adds Gaussian noise to their sum: Abadi et al., "Deep Learning with Differential
Privacy", 2016 (arXiv 1607.00133). What all rounds of a client spend together is bounded by Opacus's
accountant of Rényi differential privacy (Mironov et al. 2019, arXiv 1908.10530), for data sets that
differ by the presence of one sample. It covers the weights that a client sends, and so nothing else
that depends on its samples may be sent beside them.

It protects from whoever does not know the seed that sampling and noise follow from: that must come
from a secret of the client's. Torch draws by a Mersenne Twister, which is no cryptographic one.
Importing Opacus takes three seconds, and happens on first use.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping

import torch
from torch import Generator, Tensor, nn

from ml.errors import ModelproofError
from ml.federated.run_configuration import LocalTraining, Privacy
from ml.training.architectures import Architecture
from ml.training.loop import derive_seed

from .kernel import Samples
from .network_kernel import NetworkKernel
from .privacy_ledger import NoisySteps


class PrivateKernel(NetworkKernel):
    """Trains a network on clipped gradients with noise.

    Momentum, decay of weights and FedProx's penalty are applied after the noise and cost no
    privacy. A batch takes as many copies of the network's gradients as it has samples.
    """

    def __init__(
        self,
        architecture: Architecture,
        local: LocalTraining,
        privacy: Privacy,
        base: Mapping[str, Tensor],
        samples: Samples,
        learning_rate: float,
        seed: int,
    ) -> None:
        """Build the network; the seed of the noise must be known by nobody else."""
        super().__init__(architecture, local, base, samples, learning_rate)
        from opacus import GradSampleModule
        from opacus.optimizers import DPOptimizer

        # Opacus makes gradients of each sample that are contiguous
        self.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self._local = local
        self._mu = local.mu
        self._per_sample = GradSampleModule(self.network, loss_reduction="sum")
        self._private = DPOptimizer(
            self._optimizer,
            noise_multiplier=privacy.noise_multiplier,
            max_grad_norm=privacy.max_grad_norm,
            expected_batch_size=None,
            loss_reduction="sum",
            generator=Generator().manual_seed(derive_seed(seed, "noise")),
            secure_mode=True,  # of how floating point rounds noise, nothing can be learnt
        )

    def train_epoch(self, indices: Tensor, generator: Generator) -> None:
        """Take as many steps as the samples at these indices have batches."""
        steps = noisy_steps(self._local, len(indices))
        with warnings.catch_warnings():
            # Opacus's hooks listen to gradients by inputs too, which the first layer has none of
            warnings.filterwarnings("ignore", "Full backward hook is firing")
            for _ in range(steps.steps // self._local.epochs):
                drawn = torch.rand(len(indices), generator=generator, dtype=torch.float64)
                self._step(indices[drawn < steps.sample_rate], steps.sample_rate * len(indices))

    def _step(self, batch: Tensor, expected: float) -> None:
        """Take one step on what was drawn, which may be nothing, of so many expected samples."""
        self._private.zero_grad()
        loss = nn.functional.cross_entropy(
            self._per_sample(self.samples.inputs[batch]),
            self.samples.labels[batch],
            reduction="sum",
        )
        loss.backward()  # type: ignore[no-untyped-call]
        self._private.pre_step()
        for name, parameter in self.network.named_parameters():
            if parameter.grad is None:
                raise ModelproofError(f"Opacus gives no gradient of {name!r}")
            parameter.grad /= expected
            if self._mu > 0:
                parameter.grad += self._mu * (parameter.detach() - self._base[name])
        self._optimizer.step()


def noisy_steps(local: LocalTraining, samples: int) -> NoisySteps:
    """The noisy steps of one round of a client that trains on so many samples.

    Raises:
        ModelproofError: there is no privacy in these settings.
    """
    if local.privacy is None:
        raise ModelproofError("these settings have no privacy, and so no noise")
    return NoisySteps(
        noise_multiplier=local.privacy.noise_multiplier,
        sample_rate=min(1.0, local.batch_size / samples),
        steps=local.epochs * math.ceil(samples / local.batch_size),
    )


def epsilon(spent: Iterable[NoisySteps], delta: float) -> float:
    """The ε that noisy steps on the same samples spent together, for a δ.

    Raises:
        ModelproofError: there is so little noise that no ε can be stated.
    """
    from opacus.accountants import RDPAccountant

    steps: Counter[tuple[float, float]] = Counter()
    for one in spent:
        steps[one.noise_multiplier, one.sample_rate] += one.steps
    accountant = RDPAccountant()
    accountant.history = [(*kind, count) for kind, count in steps.items()]
    with warnings.catch_warnings():
        # that the best order is the first or last one tried: the bound holds, but could be lower
        warnings.simplefilter("ignore")
        try:
            found = float(accountant.get_epsilon(delta=delta)) if steps else 0.0
        except ArithmeticError:
            found = math.inf
    if not math.isfinite(found):
        raise ModelproofError(
            "there is so little noise that no epsilon can be stated: raise the noise multiplier"
        )
    return found
