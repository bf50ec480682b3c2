"""Splits give each sample to exactly one client, the same ones for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.errors import ModelproofError
from ml.federated.splits import (
    AnySplit,
    ByClass,
    Dirichlet,
    Iid,
    Indices,
    Labels,
    Quantity,
    Shards,
    Split,
    assign,
)

TEN_CLASSES = np.repeat(np.arange(10), 60)
SPLITS: tuple[AnySplit, ...] = (
    Iid(),
    ByClass(),
    ByClass(share=0.8),
    Shards(),
    Shards(per_client=3),
    Quantity(),
    Dirichlet(),
    Dirichlet(concentration=0.05, min_samples=0),
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def classes_of(labels: Labels, part: Indices) -> set[int]:
    return set(labels[part].tolist())


# --- All splits -----------------------------------------------------------------------------------


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    clients=st.integers(1, 12),
    seed=st.integers(0, 2**64),
    split=st.sampled_from(SPLITS),
)
def test_each_sample_goes_to_exactly_one_client(
    labels: list[int], clients: int, seed: int, split: Split
) -> None:
    known = np.array(labels, np.int64)
    try:
        parts = assign(split, known, clients, rng(seed), allow_empty=True)
    except ModelproofError:
        assert isinstance(split, Dirichlet)  # whose own minimum was not met
        assert len(labels) < 5 * clients
        return
    assert len(parts) == clients
    assert sorted(index for part in parts for index in part.tolist()) == list(range(len(labels)))


@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_same_seed_gives_the_same_parts_and_another_seed_others(split: Split) -> None:
    first, again, other = (
        assign(split, TEN_CLASSES, 13, rng(s), allow_empty=True) for s in (1, 1, 2)
    )
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))


@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_one_client_gets_all_samples(split: Split) -> None:
    (only,) = assign(split, TEN_CLASSES, 1, rng())
    assert only.tolist() == list(range(600))


# --- Each of them ---------------------------------------------------------------------------------


def test_iid_sizes_differ_by_one_at_most() -> None:
    assert [len(part) for part in assign(Iid(), TEN_CLASSES, 7, rng())] == [86] * 5 + [85] * 2


def test_iid_gives_every_client_every_class() -> None:
    for part in assign(Iid(), TEN_CLASSES, 4, rng()):
        assert classes_of(TEN_CLASSES, part) == set(range(10))


def test_class_split_for_two_clients_is_the_thesis_example() -> None:
    first, second = assign(ByClass(), TEN_CLASSES, 2, rng())
    assert classes_of(TEN_CLASSES, first) == {0, 1, 2, 3, 4}
    assert classes_of(TEN_CLASSES, second) == {5, 6, 7, 8, 9}


def test_class_is_shared_where_clients_outnumber_classes() -> None:
    parts = assign(ByClass(), TEN_CLASSES, 15, rng())
    assert [sorted(classes_of(TEN_CLASSES, part)) for part in parts] == [
        *([label] for label in range(5) for _ in range(2)),
        *([label] for label in range(5, 10)),
    ]
    assert [len(part) for part in parts] == [30] * 10 + [60] * 5


def test_class_split_with_a_share_gives_mostly_the_clients_own_classes() -> None:
    for client, part in enumerate(assign(ByClass(share=0.8), TEN_CLASSES, 2, rng())):
        own = np.isin(TEN_CLASSES[part], range(5 * client, 5 * client + 5)).sum()
        assert 0.8 * 300 <= own < len(part)


def test_two_shards_a_client_are_two_classes_at_most() -> None:
    parts = assign(Shards(), TEN_CLASSES, 10, rng())
    assert {len(part) for part in parts} == {60}
    held = [len(classes_of(TEN_CLASSES, part)) for part in parts]
    assert max(held) == 2


def test_shards_of_a_client_are_runs_of_the_sorted_samples() -> None:
    labels = rng(3).permutation(TEN_CLASSES)
    order = {index: place for place, index in enumerate(np.argsort(labels, kind="stable"))}
    for part in assign(Shards(), labels, 20, rng()):
        places = sorted(order[index] for index in part)
        assert np.count_nonzero(np.diff(places) > 1) <= 1  # two runs of 15, or one of 30


def test_quantity_split_gives_unequal_sizes_and_all_classes_to_the_large() -> None:
    parts = sorted(assign(Quantity(0.5), TEN_CLASSES, 10, rng()), key=len)
    assert len(parts[-1]) > 5 * len(parts[0])
    assert classes_of(TEN_CLASSES, parts[-1]) == set(range(10))


@pytest.mark.parametrize("seed", range(20))
def test_quantity_split_leaves_no_client_empty(seed: int) -> None:
    assert min(map(len, assign(Quantity(1e-9), TEN_CLASSES, 100, rng(seed)))) >= 1


def test_dirichlet_split_of_low_concentration_skews_classes() -> None:
    def skew(concentration: float) -> float:
        """How much of a class its largest holder has, on average."""
        parts = assign(Dirichlet(concentration), TEN_CLASSES, 10, rng())
        counts = np.array([np.bincount(TEN_CLASSES[part], minlength=10) for part in parts])
        return float((counts.max(axis=0) / 60).mean())

    assert skew(1000) < 0.2 < 0.5 < skew(0.1)


def test_dirichlet_split_is_drawn_until_every_client_has_enough() -> None:
    for seed in range(5):
        parts = assign(Dirichlet(0.3, min_samples=20), TEN_CLASSES, 10, rng(seed))
        assert min(map(len, parts)) >= 20


# --- Refusals -------------------------------------------------------------------------------------


def test_no_samples_are_refused() -> None:
    with pytest.raises(ModelproofError, match="no samples to split"):
        assign(Iid(), np.zeros(0, np.int64), 1, rng(), allow_empty=True)


class Losing:
    """A split that loses the last sample, and gives the first one twice."""

    name = "losing"

    def __call__(self, labels: Labels, clients: int, _: np.random.Generator) -> list[Indices]:
        places = np.arange(len(labels))
        places[-1] = 0
        return np.array_split(places, clients)


@pytest.mark.parametrize(
    ("split", "clients", "reason"),
    [
        (Iid(), 0, "at least 1 client, not 0"),
        (Iid(), 601, "600 samples do not go round 601 clients"),
        (Losing(), 2, "'losing' does not give each of 600 samples to exactly one of 2"),
        (Dirichlet(0.01, min_samples=50), 10, "fewer than 50 samples each time"),
        (Dirichlet(1e-6, min_samples=0), 50, "'dirichlet' leaves client .* without a sample"),
    ],
)
def test_split_that_cannot_be_made_is_refused(split: Split, clients: int, reason: str) -> None:
    with pytest.raises(ModelproofError, match=reason):
        assign(split, TEN_CLASSES, clients, rng())


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        (ByClass, {"share": 0.0}),
        (ByClass, {"share": 1.1}),
        (ByClass, {"share": float("nan")}),
        (Shards, {"per_client": 0}),
        (Quantity, {"concentration": 0.0}),
        (Quantity, {"concentration": float("nan")}),
        (Dirichlet, {"concentration": float("inf")}),
        (Dirichlet, {"min_samples": -1}),
    ],
)
def test_parameter_out_of_range_is_refused(kind: Any, parameters: dict[str, float]) -> None:
    with pytest.raises(ModelproofError, match=r"not (0|1\.1|nan|inf|-1)"):
        kind(**parameters)
