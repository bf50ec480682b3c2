"""How the samples of a training part are divided among clients. Pure; numpy alone.

Each split is data (what it is called and its parameters) and a function under one protocol,
`Split`. Whatever a split does, `assign` gives each sample to exactly one client, and no client goes
without unless that is asked for. The same labels, split, number of clients and seed give the same
parts wherever numpy's version is the same: its bit generators are stable, its distributions are so
within a release (NEP 19).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml.errors import ModelproofError

Labels: TypeAlias = NDArray[np.int64]
"""The class of each sample, (n,)."""
Indices: TypeAlias = NDArray[np.int64]
"""Places of samples, (m,)."""

MAX_DRAWS: Final = 1_000
"""How often a Dirichlet split is drawn until every client has enough."""


class Split(Protocol):
    """A way to divide samples among clients."""

    @property
    def name(self) -> str:
        """What it is called."""

    def __call__(self, labels: Labels, clients: int, rng: np.random.Generator) -> list[Indices]:
        """Return the places of each client's samples, in any order; all of them exactly once."""


@dataclass(frozen=True, slots=True)
class Iid:
    """All samples shuffled and dealt evenly: sizes differ by one at most."""

    name: Literal["iid"] = "iid"

    def __call__(self, labels: Labels, clients: int, rng: np.random.Generator) -> list[Indices]:
        """See `Split`."""
        return np.array_split(rng.permutation(len(labels)), clients)


@dataclass(frozen=True, slots=True)
class ByClass:
    """Classes dealt in order: of ten classes, the first of two clients has 0 to 4.

    Where there are more clients than classes, as many clients as come out even share a class.
    ``share`` of each class goes to the clients that it was dealt to, and the rest of all classes is
    dealt evenly to all.

    Raises:
        ModelproofError: on construction, if the share is not above 0 and at most 1.
    """

    share: float = 1.0
    name: Literal["class"] = "class"

    def __post_init__(self) -> None:
        """Check the share."""
        if not 0 < self.share <= 1:
            raise ModelproofError(
                f"the share of a class that its own clients get is above 0 and at most 1,"
                f" not {self.share}"
            )

    def __call__(self, labels: Labels, clients: int, rng: np.random.Generator) -> list[Indices]:
        """See `Split`."""
        members = _members(labels)
        parts: list[list[Indices]] = [[] for _ in range(clients)]
        rest = []
        for owners, of_class in zip(_owners(len(members), clients), members, strict=True):
            shuffled = rng.permutation(of_class)
            theirs = round(self.share * len(shuffled))
            for owner, part in zip(
                owners, np.array_split(shuffled[:theirs], len(owners)), strict=True
            ):
                parts[owner].append(part)
            rest.append(shuffled[theirs:])
        spread = np.array_split(rng.permutation(np.concatenate(rest)), clients)
        return [np.concatenate([*part, more]) for part, more in zip(parts, spread, strict=True)]


@dataclass(frozen=True, slots=True)
class Shards:
    """Samples sorted by class and cut into equal shards; each client gets some at random.

    With two shards a client, most clients have samples of two classes only. Source: McMahan et al.,
    "Communication-Efficient Learning of Deep Networks from Decentralized Data", 2017 (arXiv
    1602.05629), section 3: "pathological non-IID", 200 shards of 300 for 100 clients.

    Raises:
        ModelproofError: on construction, if a client is to have no shard.
    """

    per_client: int = 2
    name: Literal["shard"] = "shard"

    def __post_init__(self) -> None:
        """Check the number of shards."""
        if self.per_client < 1:
            raise ModelproofError(f"a client has at least 1 shard, not {self.per_client}")

    def __call__(self, labels: Labels, clients: int, rng: np.random.Generator) -> list[Indices]:
        """See `Split`."""
        shards = np.array_split(np.argsort(labels, kind="stable"), clients * self.per_client)
        dealt = rng.permutation(len(shards)).reshape(clients, self.per_client)
        return [np.concatenate([shards[number] for number in numbers]) for numbers in dealt]


@dataclass(frozen=True, slots=True)
class Quantity:
    """Clients of unequal size, each with samples of all classes.

    Sizes are in the proportions of one draw of a symmetric Dirichlet distribution, beyond one
    sample that each client has in any case; the smaller ``concentration``, the more unequal.
    Source: Li et al., "Federated Learning on Non-IID Data Silos: An Experimental Study", 2022
    (arXiv 2102.02079), "quantity skew".

    Raises:
        ModelproofError: on construction, if the concentration is not a positive number.
    """

    concentration: float = 0.5
    name: Literal["quantity"] = "quantity"

    def __post_init__(self) -> None:
        """Check the concentration."""
        _check_concentration(self.concentration)

    def __call__(self, labels: Labels, clients: int, rng: np.random.Generator) -> list[Indices]:
        """See `Split`."""
        proportions = rng.dirichlet(np.full(clients, self.concentration))
        spare = max(len(labels) - clients, 0)
        cuts = _cuts(proportions, spare) + np.arange(1, clients)
        return np.split(rng.permutation(len(labels)), cuts)


@dataclass(frozen=True, slots=True)
class Dirichlet:
    """Each class divided in proportions drawn from a symmetric Dirichlet distribution.

    The smaller ``concentration``, the fewer clients have most of a class; 0.5 is usual, and above
    100 the split is nearly IID. It is drawn again until each client has ``min_samples``. Source:
    Yurochkin et al., "Bayesian Nonparametric Federated Learning of Neural Networks", 2019 (arXiv
    1905.12022).

    Raises:
        ModelproofError: on construction, if a parameter is out of its range.
    """

    concentration: float = 0.5
    min_samples: int = 1
    name: Literal["dirichlet"] = "dirichlet"

    def __post_init__(self) -> None:
        """Check the parameters."""
        _check_concentration(self.concentration)
        if self.min_samples < 0:
            raise ModelproofError(f"a client has at least 0 samples, not {self.min_samples}")

    def __call__(self, labels: Labels, clients: int, rng: np.random.Generator) -> list[Indices]:
        """See `Split`.

        Raises:
            ModelproofError: in `MAX_DRAWS` draws, some client had too few samples each time.
        """
        members = _members(labels)
        for _ in range(MAX_DRAWS):
            drawn = rng.dirichlet(np.full(clients, self.concentration), size=len(members))
            sizes = [
                np.diff(_cuts(row, len(m)), prepend=0, append=len(m))
                for row, m in zip(drawn, members, strict=True)
            ]
            if np.sum(sizes, axis=0).min() >= self.min_samples:
                break
        else:
            raise ModelproofError(
                f"in {MAX_DRAWS} draws of a Dirichlet split with concentration"
                f" {self.concentration:g}, one of {clients} clients had fewer than"
                f" {self.min_samples} samples each time: raise the concentration, or ask for fewer"
                " samples or clients"
            )
        by_class = [
            np.split(rng.permutation(of_class), np.cumsum(size)[:-1])
            for of_class, size in zip(members, sizes, strict=True)
        ]
        return [np.concatenate(parts) for parts in zip(*by_class, strict=True)]


AnySplit: TypeAlias = Iid | ByClass | Shards | Quantity | Dirichlet
"""The splits that ship."""


def assign(
    split: Split,
    labels: Labels,
    clients: int,
    rng: np.random.Generator,
    *,
    allow_empty: bool = False,
) -> tuple[Indices, ...]:
    """Divide samples among clients, each sample to exactly one.

    Args:
        split: how.
        labels: the class of each sample, (n,).
        clients: how many.
        rng: what is random is drawn from it.
        allow_empty: whether clients may have no sample.

    Returns:
        For each client the places of its samples, in ascending order.

    Raises:
        ModelproofError: there is no client or no sample, or fewer samples than clients, a client
            has no sample, or the split gives a sample twice or not at all.
    """
    if clients < 1:
        raise ModelproofError(f"data is split among at least 1 client, not {clients}")
    if not len(labels):
        raise ModelproofError("there are no samples to split among clients")
    if len(labels) < clients and not allow_empty:
        raise ModelproofError(
            f"{len(labels)} samples do not go round {clients} clients: ask for fewer clients"
        )
    parts = tuple(np.sort(part) for part in split(labels, clients, rng))
    if len(parts) != clients or not _is_partition(parts, len(labels)):
        raise ModelproofError(
            f"the split {split.name!r} does not give each of {len(labels)} samples to exactly one"
            f" of {clients} clients"
        )
    empty = [client for client, part in enumerate(parts) if not len(part)]
    if empty and not allow_empty:
        raise ModelproofError(
            f"the split {split.name!r} leaves client {empty[0]} of {clients} without a sample:"
            " ask for fewer clients, or allow empty ones"
        )
    return parts


def _is_partition(parts: tuple[Indices, ...], samples: int) -> bool:
    return np.array_equal(np.sort(np.concatenate(parts)), np.arange(samples))


def _members(labels: Labels) -> list[Indices]:
    """The places of each class that occurs, in the order of the classes."""
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def _owners(classes: int, clients: int) -> list[list[int]]:
    """Which clients each class is dealt to."""
    if clients > classes:
        return [list(map(int, part)) for part in np.array_split(np.arange(clients), classes)]
    dealt = np.array_split(np.arange(classes), clients)
    return [[client] for client, part in enumerate(dealt) for _ in part]


def _cuts(proportions: NDArray[np.float64], samples: int) -> Indices:
    """Where to cut some samples into parts of these proportions: one cut fewer than parts."""
    return np.minimum(np.cumsum(proportions)[:-1] * samples, samples).astype(np.int64)


def _check_concentration(value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ModelproofError(f"a Dirichlet distribution's concentration is above 0, not {value}")
