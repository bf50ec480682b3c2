"""Rules that bound what a few clients can do to the model, whatever they send.

None of them weighs clients by their samples, of which a client can state any number; norm clipping
alone leaves that to the rule that it is put before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml.errors import ModelproofError

from .aggregation import (
    Aggregate,
    ClientUpdate,
    FedAvg,
    ServerState,
    Weights,
    clients_of,
    rounded,
    weighted_mean,
)
from .server_optimizers import FedAdam, FedAvgM


@dataclass(frozen=True, slots=True)
class CoordinateMedian:
    """The median of each element over the clients.

    The middle one in ascending order; of an even number, the sum of the two middle ones in
    binary64, halved. A zero is +0. Up to (n - 1) // 2 of n clients cannot move an element out of
    the range of the others. Source: Yin et al., "Byzantine-Robust Distributed Learning: Towards
    Optimal Statistical Rates", 2018 (arXiv 1803.01498), definition 1.
    """

    name: Literal["median"] = "median"

    def __call__(self, base: Weights, updates: Sequence[ClientUpdate], _: ServerState) -> Aggregate:
        """See `Rule`."""
        low, high = (len(updates) - 1) // 2, len(updates) // 2
        middle = {}
        for name in base:
            ordered = _sorted(updates, name)[low : high + 1].astype(np.float64)
            # + 0.0: which of -0 and +0 comes first is left open when they are sorted
            middle[name] = (ordered[0] + ordered[-1]) / 2 + 0.0
        return Aggregate(rounded(middle), clients_of(updates))


@dataclass(frozen=True, slots=True)
class TrimmedMean:
    """The mean of each element over the clients, without its lowest and its highest values.

    The rest is added in ascending order, from +0 on, in binary64, and divided by their number,
    once. Up to ``trimmed`` clients cannot move an element out of the range of the others. Source:
    Yin et al., 2018 (arXiv 1803.01498), definition 2.

    Raises:
        ModelproofError: on construction, if a negative number is to be trimmed.
    """

    trimmed: int
    """How many values are left out at each end."""
    name: Literal["trimmed-mean"] = "trimmed-mean"

    def __post_init__(self) -> None:
        """Check the number."""
        if self.trimmed < 0:
            raise ModelproofError(f"at least 0 values are trimmed at each end, not {self.trimmed}")

    def __call__(self, base: Weights, updates: Sequence[ClientUpdate], _: ServerState) -> Aggregate:
        """See `Rule`.

        Raises:
            ModelproofError: nothing would be left.
        """
        kept = len(updates) - 2 * self.trimmed
        if kept < 1:
            raise ModelproofError(
                f"a mean without {self.trimmed} values at each end takes at least"
                f" {2 * self.trimmed + 1} clients, not {len(updates)}"
            )
        means = {}
        for name, tensor in base.items():
            acc = np.zeros(tensor.shape)
            for values in _sorted(updates, name)[self.trimmed : self.trimmed + kept]:
                acc += values
            means[name] = acc / kept
        return Aggregate(rounded(means), clients_of(updates))


@dataclass(frozen=True, slots=True)
class Krum:
    """The updates that are nearest to most others: one of them, or the mean of several.

    A client's score is the sum of the squared distances to its n - byzantine - 2 nearest others.
    The ``selected`` clients of the lowest scores are averaged (`weighted_mean`, each with one
    sample); among equal scores the lower index goes first. Selecting one is Krum, more are
    multi-Krum. Every pair is compared.

    A squared distance is taken in binary64: of each tensor, the squared differences are summed by
    halving (`sum_by_halving`); the tensors' sums are added in the order of their names, from +0 on;
    and the distances of a score in ascending order, likewise. Source: Blanchard et al., "Machine
    Learning with Adversaries: Byzantine Tolerant Gradient Descent", 2017 (arXiv 1703.02757),
    section 4, which also has the condition n > 2 byzantine + 2.

    Raises:
        ModelproofError: on construction, if a number is out of its range.
    """

    byzantine: int
    """How many clients may send anything."""
    selected: int = 1
    name: Literal["krum"] = "krum"

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.byzantine < 0 or self.selected < 1:
            raise ModelproofError(
                "Krum tolerates 0 clients or more and selects 1 or more, not"
                f" {self.byzantine} and {self.selected}"
            )

    def __call__(self, base: Weights, updates: Sequence[ClientUpdate], _: ServerState) -> Aggregate:
        """See `Rule`.

        Raises:
            ModelproofError: there are too few clients.
        """
        needed = max(2 * self.byzantine + 3, self.byzantine + self.selected)
        if len(updates) < needed:
            raise ModelproofError(
                f"Krum that tolerates {self.byzantine} clients and selects {self.selected} takes at"
                f" least {needed} clients, not {len(updates)}"
            )
        scores = _scores(updates, sorted(base), len(updates) - self.byzantine - 2)
        best = sorted(sorted(range(len(updates)), key=scores.__getitem__)[: self.selected])
        chosen = [replace(updates[place], samples=1) for place in best]
        return Aggregate(rounded(weighted_mean(chosen)), clients_of(chosen))


UnclippedRule: TypeAlias = FedAvg | FedAvgM | FedAdam | CoordinateMedian | TrimmedMean | Krum
"""The rules that ship and work on updates as they are."""


@dataclass(frozen=True, slots=True)
class NormClipped:
    """Another rule, after every update was brought within ``limit`` of the base.

    An update's distance is the square root of the sum that `Krum` describes. One that is farther
    becomes ``base + (limit / distance) * (weights - base)``, in binary64, rounded, and so is within
    the limit but for rounding; others stay as they are. Source: Sun et al., "Can You Really
    Backdoor Federated Learning?", 2019 (arXiv 1911.07963), "norm thresholding".

    Raises:
        ModelproofError: on construction, if the limit is not a positive number.
    """

    limit: float
    """L2 norm of what an update may change."""
    rule: UnclippedRule
    name: Literal["norm-clipped"] = "norm-clipped"

    def __post_init__(self) -> None:
        """Check the limit."""
        if not (math.isfinite(self.limit) and self.limit > 0):
            raise ModelproofError(f"the limit of a norm is above 0, not {self.limit}")

    def __call__(
        self, base: Weights, updates: Sequence[ClientUpdate], state: ServerState
    ) -> Aggregate:
        """See `Rule`."""
        return self.rule(base, [self._clipped(base, update) for update in updates], state)

    def _clipped(self, base: Weights, update: ClientUpdate) -> ClientUpdate:
        distance = math.sqrt(squared_distance(update.weights, base, sorted(base)))
        if distance <= self.limit:
            return update
        share = self.limit / distance
        nearer = {
            name: tensor + share * _difference(update.weights[name], tensor)
            for name, tensor in base.items()
        }
        return replace(update, weights=rounded(nearer))


AnyRule: TypeAlias = UnclippedRule | NormClipped
"""The rules that ship."""


def squared_distance(one: Weights, other: Weights, names: Sequence[str]) -> float:
    """The squared L2 distance of two models, over the tensors named, in that order."""
    total = 0.0
    for name in names:
        total += sum_by_halving(np.square(_difference(one[name], other[name])))
    return total


def sum_by_halving(values: NDArray[np.float64]) -> float:
    """Sum values in an order that is the same everywhere.

    In row-major order, the second half is added to the first, element by element, until one is
    left; of an odd number, the middle one waits at the end of the first half. None sum to +0.
    """
    rest = np.ravel(values)
    while len(rest) > 1:
        half = (len(rest) + 1) // 2
        paired = len(rest) - half
        rest = np.concatenate([rest[:paired] + rest[half:], rest[paired:half]])
    return float(rest[0]) if len(rest) else 0.0


def _scores(updates: Sequence[ClientUpdate], names: Sequence[str], nearest: int) -> list[float]:
    """The score of each update by `Krum`."""
    count = len(updates)
    squared = np.zeros((count, count))
    for i in range(count):
        for j in range(i):
            squared[i, j] = squared_distance(updates[i].weights, updates[j].weights, names)
            squared[j, i] = squared[i, j]
    scores = []
    for i in range(count):
        distances = sorted(float(squared[i, j]) for j in range(count) if j != i)
        score = 0.0
        for distance in distances[:nearest]:
            score += distance
        scores.append(score)
    return scores


def _sorted(updates: Sequence[ClientUpdate], name: str) -> NDArray[np.float32]:
    """A tensor's values in ascending order over the updates: (n, ...)."""
    return np.sort(np.stack([update.weights[name] for update in updates]), axis=0)


def _difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.subtract(one, other, dtype=np.float64))
