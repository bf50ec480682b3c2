"""Rounds of small models, for tests of what is made of them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml.federated.aggregation import (
    Aggregate,
    ClientUpdate,
    FedAvg,
    ServerState,
    Weights,
    aggregate,
)
from ml.federated.robust import AnyRule, CoordinateMedian, Krum, NormClipped, TrimmedMean
from ml.federated.server_optimizers import FedAdam, FedAvgM

FEWER = settings(max_examples=settings().max_examples // 4)
"""For tests that aggregate often."""

SHAPES: dict[str, tuple[int, ...]] = {"b": (2, 2), "a": (3,), "scalar": (), "none": (0, 4)}

RULES: tuple[AnyRule, ...] = (
    FedAvg(),
    FedAvgM(0.5),
    FedAdam(0.1),
    CoordinateMedian(),
    TrimmedMean(1),
    Krum(0),
    Krum(1, selected=2),
    NormClipped(0.5, FedAvg()),
    NormClipped(0.5, FedAvgM()),
)
MOST_CLIENTS_NEEDED = 5
"""By any of these rules."""


def model(seed: int, scale: float = 1.0) -> Weights:
    rng = np.random.default_rng(seed)
    return {
        name: np.asarray(scale * rng.normal(size=shape), np.float32)
        for name, shape in SHAPES.items()
    }


def update(client: int, weights: Weights | None = None, samples: int = 600) -> ClientUpdate:
    return ClientUpdate(client, samples, model(100 + client) if weights is None else weights)


BASE = model(1)


def flat(*weights: Weights) -> NDArray[np.float32]:
    """Models as rows: (models, elements)."""
    return np.stack([np.concatenate([one[name].ravel() for name in SHAPES]) for one in weights])


def bits(made: Aggregate) -> dict[str, bytes]:
    """All that is in an aggregate, as bytes."""
    found = {name: tensor.tobytes() for name, tensor in made.weights.items()}
    for moment, tensors in made.state.moments.items():
        found |= {f"{moment}/{name}": tensor.tobytes() for name, tensor in tensors.items()}
    return found | {"used": bytes(made.used)}


def pattern(client: int) -> Weights:
    """Numbers that follow from whole ones alone: (i * 40503 + client * 9973) mod 2**16 / 2**16."""
    return {"w": ((np.arange(500) * 40503 + client * 9973) % 2**16 / 2**16).astype(np.float32)}


def fingerprint(rule: AnyRule) -> str:
    """Of the bits of two rounds of seven clients by a rule."""
    state, weights, digest = ServerState(), pattern(0), hashlib.sha256()
    for number in range(2):
        updates = [ClientUpdate(k, 600 + k, pattern(10 * number + k)) for k in range(1, 8)]
        made = aggregate(rule, weights, updates, state)
        weights, state = made.weights, made.state
    for part in bits(made).values():
        digest.update(part)
    return digest.hexdigest()[:16]


def weights_of(tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, bytes]:
    return {name: tensor.tobytes() for name, tensor in tensors.items()}


@st.composite
def models(draw: st.DrawFn, limit: float = 2.0**120) -> Weights:
    """Models of any numbers up to a limit: zeros of both signs and subnormal ones among them."""
    values = np.frombuffer(draw(st.binary(min_size=32, max_size=32)), np.uint32)
    found = values.view(np.float32)
    # without the highest bit of its exponent, a number is finite and below 2
    small = (values & 0xBFFF_FFFF).astype(np.uint32).view(np.float32)
    with np.errstate(invalid="ignore"):  # comparing NaN
        return model_of(np.where(np.abs(found) <= limit, found, small))


@st.composite
def rounds(
    draw: st.DrawFn, least: int = 1, most: int = 7, limit: float = 2.0**120
) -> list[ClientUpdate]:
    """Updates of one round, in the order of their clients."""
    clients = sorted(draw(st.sets(st.integers(0, 40), min_size=least, max_size=most)))
    return [
        ClientUpdate(client, draw(st.integers(1, 2**48)), draw(models(limit))) for client in clients
    ]


def model_of(elements: NDArray[np.float32]) -> Weights:
    """A model by its elements: the inverse of `flat`."""
    cuts = np.cumsum([math.prod(shape) for shape in SHAPES.values()])[:-1]
    parts = np.split(elements, cuts)
    return {n: part.reshape(s) for (n, s), part in zip(SHAPES.items(), parts, strict=True)}


def extremes(updates: Sequence[ClientUpdate]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The lowest and the highest value of each element."""
    values = flat(*(each.weights for each in updates))
    return values.min(axis=0), values.max(axis=0)


def state_of(**moments: Weights) -> ServerState:
    return ServerState(moments)
