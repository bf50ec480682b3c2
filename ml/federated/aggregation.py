"""From what clients send to one model: the checks, the canonical average, and what a rule is.

A rule is data (its name and parameters) and a pure function under one protocol, `Rule`. Each states
the order in which it reduces, so that anybody who has the updates recomputes the aggregate bit for
bit: floating-point sums depend on the order, and 200 orders of ten clients gave 200 hashes. Numpy
alone, no BLAS, whose order of summation is its own; every step is one of IEEE 754's basic
operations (with the square root), in binary64 and rounded to nearest, then once to binary32.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml.errors import ModelproofError

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]
"""A model's tensors by their names, binary32."""
Exact: TypeAlias = dict[str, NDArray[np.float64]]
"""Tensors before they are rounded to binary32."""

MAX_SAMPLES: Final = 2**53
"""Of all clients together: up to here, counts are exact in binary64."""
_BLOCK: Final = 1 << 15
"""How many elements are averaged at a time, so that they stay in a core's cache."""


class UnfitUpdate(ModelproofError):
    """An update cannot be part of any aggregate."""

    def __init__(self, client: int, reason: str) -> None:
        """Name the client, and the first thing that is wrong, as the end of a sentence."""
        super().__init__(f"the update of client {client} {reason}")
        self.client = client
        self.reason = reason


class NonFiniteUpdate(UnfitUpdate):
    """An update has NaN or infinity among its weights."""


@dataclass(frozen=True, eq=False, slots=True)
class ClientUpdate:
    """The weights that a client's training ended with."""

    client: int
    """Its index."""
    samples: int
    """That it trained on: its weight in an average."""
    weights: Weights


@dataclass(frozen=True, eq=False, slots=True)
class ServerState:
    """What a rule remembers from one round to the next: it belongs to the version it made.

    A rollback that restores the version's files restores this too.
    """

    moments: Mapping[str, Weights] = field(default_factory=dict)
    """By their names, each with the model's tensors; none before a rule's first round."""


NO_STATE: Final = ServerState()


@dataclass(frozen=True, eq=False, slots=True)
class Aggregate:
    """What a rule makes of a round."""

    weights: dict[str, NDArray[np.float32]]
    used: tuple[int, ...]
    """The clients whose updates went into it, in ascending order."""
    state: ServerState = NO_STATE


class Rule(Protocol):
    """A way to make one model of several updates."""

    @property
    def name(self) -> str:
        """What it is called."""

    def __call__(
        self, base: Weights, updates: Sequence[ClientUpdate], state: ServerState, /
    ) -> Aggregate:
        """Aggregate updates that were checked, in the order of their clients.

        Args:
            base: the model that the clients started from.
            updates: one or more, each with the tensors of the base, all finite.
            state: that of the version that the base is.
        """


def aggregate(
    rule: Rule, base: Weights, updates: Iterable[ClientUpdate], state: ServerState = NO_STATE
) -> Aggregate:
    """Check updates, put them in the order of their clients, and apply a rule.

    Args:
        rule: how.
        base: the model that the clients started from.
        updates: of one round, in any order.
        state: that of the version that the base is.

    Raises:
        UnfitUpdate: an update is not finite, not of the base's names, shapes and dtype, states
            samples that cannot be, or is its client's second.
        ModelproofError: there is no update, the base cannot be used, the rule does not work with so
            few clients or with this state, or the result is beyond binary32.
    """
    _check_base(base)
    _check_state(base, state)
    ordered = sorted(updates, key=lambda update: update.client)
    if not ordered:
        raise ModelproofError("there is no update to aggregate")
    for update in ordered:
        check_update(base, update)
    for first, second in pairwise(ordered):
        if first.client == second.client:
            raise UnfitUpdate(second.client, "is its second one in this round")
    total = sum(update.samples for update in ordered)
    if total > MAX_SAMPLES:
        raise ModelproofError(
            f"the clients state {total} samples together, more than the 2**53 that can be counted"
        )
    made = rule(base, ordered, state)
    for tensors in (made.weights, *made.state.moments.values()):
        for name, tensor in tensors.items():
            if not np.isfinite(tensor).all():
                raise ModelproofError(
                    f"the aggregate by {rule.name!r} is beyond 32-bit floats in tensor {name!r}:"
                    " an update is far too large, or the rule's learning rate is"
                )
    return made


def check_update(base: Weights, update: ClientUpdate) -> None:
    """Check one update against the model that it started from.

    Raises:
        NonFiniteUpdate: it has NaN or infinity, and is well-shaped up to there.
        UnfitUpdate: it is not of the base's names, shapes and dtype, or states samples that cannot
            be.
    """
    samples: object = update.samples
    if type(samples) is not int or not 1 <= samples <= MAX_SAMPLES:
        raise UnfitUpdate(update.client, f"states {samples!r} samples, and not 1 to 2**53")
    for name in sorted({*base, *update.weights}):
        if name not in update.weights:
            raise UnfitUpdate(update.client, f"lacks the tensor {name!r}")
        if name not in base:
            raise UnfitUpdate(update.client, f"has the tensor {name!r}, which the model lacks")
        tensor = update.weights[name]
        if tensor.dtype != np.float32 or tensor.shape != base[name].shape:
            raise UnfitUpdate(
                update.client,
                f"has a tensor {name!r} of {tensor.dtype} {list(tensor.shape)}, not of float32"
                f" {list(base[name].shape)}",
            )
        if not np.isfinite(tensor).all():
            raise NonFiniteUpdate(update.client, f"has NaN or infinity in the tensor {name!r}")


def weighted_mean(updates: Sequence[ClientUpdate]) -> Exact:
    """The canonical average, before it is rounded.

    For each element: ``acc`` begins with +0; for each update in the order given, the number of its
    samples times the weight is rounded to binary64 and added to ``acc``; then ``acc`` is divided by
    the number of all samples, once.
    """
    total = float(sum(update.samples for update in updates))
    mean = {}
    for name, first in updates[0].weights.items():
        acc = np.zeros(first.size)
        parts = [(update.weights[name].reshape(-1), float(update.samples)) for update in updates]
        for start in range(0, first.size, _BLOCK):
            block = acc[start : start + _BLOCK]
            product = np.empty(len(block))
            for weights, samples in parts:
                # two steps: fused into one, they would round once
                np.multiply(weights[start : start + _BLOCK], samples, out=product, dtype=np.float64)
                np.add(block, product, out=block)
            np.divide(block, total, out=block)
        mean[name] = acc.reshape(first.shape)
    return mean


def rounded(exact: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float32]]:
    """Round tensors to binary32; what is beyond it becomes infinite."""
    with np.errstate(over="ignore"):
        return {name: np.asarray(tensor, np.float32) for name, tensor in exact.items()}


def clients_of(updates: Sequence[ClientUpdate]) -> tuple[int, ...]:
    """The clients that updates are of."""
    return tuple(update.client for update in updates)


@dataclass(frozen=True, slots=True)
class FedAvg:
    """The average of the clients' weights, weighted by their samples: `weighted_mean`, rounded.

    Source: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized
    Data", 2017 (arXiv 1602.05629), algorithm 1.
    """

    name: Literal["fedavg"] = "fedavg"

    def __call__(
        self, _base: Weights, updates: Sequence[ClientUpdate], _state: ServerState
    ) -> Aggregate:
        """See `Rule`."""
        return Aggregate(rounded(weighted_mean(updates)), clients_of(updates))


def _check_base(base: Weights) -> None:
    for name, tensor in base.items():
        if tensor.dtype != np.float32 or not np.isfinite(tensor).all():
            raise ModelproofError(
                f"the model to start from has a tensor {name!r} that is not of finite float32:"
                " only models that are can be aggregated"
            )


def _check_state(base: Weights, state: ServerState) -> None:
    shapes = {name: tensor.shape for name, tensor in base.items()}
    for moment, tensors in state.moments.items():
        if {name: tensor.shape for name, tensor in tensors.items()} != shapes or not all(
            tensor.dtype == np.float32 and np.isfinite(tensor).all() for tensor in tensors.values()
        ):
            raise ModelproofError(
                f"the server's {moment!r} does not fit the model: it has other tensors, or some"
                " that are not of finite float32"
            )
