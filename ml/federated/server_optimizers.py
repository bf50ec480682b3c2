"""Rules that treat what a round changed as a gradient, and remember: FedAvgM and FedAdam.

What a round changed is ``delta = weighted_mean(updates) - base`` in binary64. Every step below is
taken for each element alone, in the order in which it is written, in binary64; what is remembered
is rounded to binary32 before it is used, so that a restored state continues exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.errors import ModelproofError

from .aggregation import (
    Aggregate,
    ClientUpdate,
    Exact,
    ServerState,
    Weights,
    clients_of,
    rounded,
    weighted_mean,
)

_MOMENTUM = "momentum"
_SECOND = "second_moment"


@dataclass(frozen=True, slots=True)
class FedAvgM:
    """Federated averaging with momentum on the server.

    ``m = momentum * m + delta``, ``w = base + learning_rate * m``; m begins with 0.
    Source: Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated
    Visual Classification", 2019 (arXiv 1909.06335).

    Raises:
        ModelproofError: on construction, if a parameter is out of its range.
    """

    momentum: float = 0.9
    learning_rate: float = 1.0
    name: Literal["fedavgm"] = "fedavgm"

    def __post_init__(self) -> None:
        """Check the parameters."""
        _check_share("the momentum", self.momentum)
        _check_positive("the learning rate", self.learning_rate)

    def __call__(
        self, base: Weights, updates: Sequence[ClientUpdate], state: ServerState
    ) -> Aggregate:
        """See `Rule`."""
        delta = _delta(base, updates)
        (before,) = _moments(state, base, {_MOMENTUM: 0.0})
        m = rounded({n: self.momentum * before[n] + delta[n] for n in base})
        step = {n: self.learning_rate * _wide(m[n]) for n in base}
        return _stepped(base, step, updates, {_MOMENTUM: m})


@dataclass(frozen=True, slots=True)
class FedAdam:
    """Adam on the server.

    ``m = beta1 * m + (1 - beta1) * delta``, ``v = beta2 * v + (1 - beta2) * (delta * delta)``,
    ``w = base + learning_rate * m / (sqrt(v) + tau)``; m begins with 0, v with ``tau * tau``.
    Source: Reddi et al., "Adaptive Federated Optimization", 2021 (arXiv 2003.00295), algorithm 2,
    which has no correction of the bias.

    Raises:
        ModelproofError: on construction, if a parameter is out of its range.
    """

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3
    """How adaptive it is: the smaller, the more."""
    name: Literal["fedadam"] = "fedadam"

    def __post_init__(self) -> None:
        """Check the parameters."""
        _check_positive("the learning rate", self.learning_rate)
        _check_share("beta1", self.beta1)
        _check_share("beta2", self.beta2)
        _check_positive("tau", self.tau)

    def __call__(
        self, base: Weights, updates: Sequence[ClientUpdate], state: ServerState
    ) -> Aggregate:
        """See `Rule`."""
        delta = _delta(base, updates)
        b1, b2 = self.beta1, self.beta2
        starts = {_MOMENTUM: 0.0, _SECOND: self.tau * self.tau}
        first, second = _moments(state, base, starts)
        m = rounded({n: b1 * first[n] + (1 - b1) * delta[n] for n in base})
        v = rounded({n: b2 * second[n] + (1 - b2) * (delta[n] * delta[n]) for n in base})
        step = {
            n: self.learning_rate * _wide(m[n]) / (np.sqrt(_wide(v[n])) + self.tau) for n in base
        }
        return _stepped(base, step, updates, {_MOMENTUM: m, _SECOND: v})


def _delta(base: Weights, updates: Sequence[ClientUpdate]) -> Exact:
    mean = weighted_mean(updates)
    return {name: mean[name] - tensor for name, tensor in base.items()}


def _moments(state: ServerState, base: Weights, starts: Mapping[str, float]) -> list[Exact]:
    """What was remembered under some names, or what each begins with."""
    if not state.moments:
        return [{n: np.full(t.shape, start) for n, t in base.items()} for start in starts.values()]
    if state.moments.keys() != starts.keys():
        raise ModelproofError(
            f"the server's state is another rule's: it has {', '.join(sorted(state.moments))},"
            f" not {', '.join(sorted(starts))}"
        )
    return [{n: _wide(t) for n, t in state.moments[name].items()} for name in starts]


def _stepped(
    base: Weights,
    step: Exact,
    updates: Sequence[ClientUpdate],
    moments: Mapping[str, dict[str, NDArray[np.float32]]],
) -> Aggregate:
    weights = rounded({name: tensor + step[name] for name, tensor in base.items()})
    return Aggregate(weights, clients_of(updates), ServerState(moments))


def _wide(tensor: NDArray[np.float32]) -> NDArray[np.float64]:
    return tensor.astype(np.float64)


def _check_share(what: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ModelproofError(f"{what} is at least 0 and below 1, not {value}")


def _check_positive(what: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ModelproofError(f"{what} is above 0, not {value}")
