"""What a few clients can do to a robust aggregate is bounded, whatever they send."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.stats  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from ml.errors import ModelproofError
from ml.federated.aggregation import ClientUpdate, FedAvg, Rule, Weights, aggregate
from ml.federated.robust import (
    CoordinateMedian,
    Krum,
    NormClipped,
    TrimmedMean,
    squared_distance,
    sum_by_halving,
)

from .rounds import BASE, FEWER, bits, extremes, flat, model, models, rounds, update, weights_of

LARGEST = float(np.finfo(np.float32).max)


def at(value: float) -> Weights:
    """A model that is the same number everywhere."""
    return {name: np.full_like(tensor, value) for name, tensor in BASE.items()}


def near(client: int) -> ClientUpdate:
    """An honest update, near 0."""
    return update(client, model(client, 0.1))


# --- Median and trimmed mean ----------------------------------------------------------------------


@FEWER
@given(updates=rounds())
def test_median_is_numpys(updates: list[ClientUpdate]) -> None:
    values = flat(*(each.weights for each in updates)).astype(np.float64)
    made = aggregate(CoordinateMedian(), BASE, updates)
    assert np.array_equal(flat(made.weights)[0], np.median(values, axis=0).astype(np.float32))


@FEWER
@given(updates=rounds(least=3), data=st.data())
def test_trimmed_mean_is_scipys(updates: list[ClientUpdate], data: st.DataObject) -> None:
    trimmed = data.draw(st.integers(0, (len(updates) - 1) // 2))
    values = flat(*(each.weights for each in updates)).astype(np.float64)
    expected = scipy.stats.trim_mean(values, (trimmed + 0.5) / len(updates), axis=0)
    found = flat(aggregate(TrimmedMean(trimmed), BASE, updates).weights)[0]
    scale = np.abs(values).max(axis=0)
    assert np.all(np.abs(found - expected) <= 1e-7 * np.abs(expected) + 1e-14 * scale + 1e-44)


@FEWER
@given(honest=rounds(least=4, most=6), bad=st.lists(models(LARGEST), min_size=3, max_size=3))
@pytest.mark.parametrize("rule", [CoordinateMedian(), TrimmedMean(3)], ids=str)
def test_fewer_than_half_cannot_leave_the_range_of_the_others(
    rule: Rule, honest: list[ClientUpdate], bad: list[Weights]
) -> None:
    low, high = extremes(honest)
    colluding = [update(50 + k, weights) for k, weights in enumerate(bad)]
    found = flat(aggregate(rule, BASE, [*honest, *colluding]).weights)[0]
    assert np.all((low <= found) & (found <= high))


@pytest.mark.parametrize(("rule", "byzantine"), [(CoordinateMedian(), 3), (TrimmedMean(1), 2)])
def test_one_more_than_is_tolerated_can_move_the_model_anywhere(rule: Rule, byzantine: int) -> None:
    honest = [near(client) for client in range(3)]
    bad = [update(10 + k, at(1e30)) for k in range(byzantine)]
    assert flat(aggregate(rule, BASE, [*honest, *bad]).weights).min() > 1e28


@pytest.mark.parametrize("signs", list(itertools.product([0.0, -0.0], repeat=3)), ids=str)
def test_sign_of_zero_does_not_depend_on_how_zeros_are_sorted(signs: tuple[float, ...]) -> None:
    zeros = [update(client, at(zero)) for client, zero in enumerate(signs)]
    for rule in (CoordinateMedian(), TrimmedMean(1), TrimmedMean(0)):
        assert weights_of(aggregate(rule, BASE, zeros).weights) == weights_of(at(0.0))


def test_samples_that_a_client_states_do_not_count() -> None:
    three = [near(client) for client in range(3)]
    boasting = [three[0], three[1], replace(three[2], samples=2**40)]
    for rule in (CoordinateMedian(), TrimmedMean(1), Krum(0, selected=3)):
        assert bits(aggregate(rule, BASE, boasting)) == bits(aggregate(rule, BASE, three))


def test_mean_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(ModelproofError, match="takes at least 5 clients, not 4"):
        aggregate(TrimmedMean(2), BASE, [near(client) for client in range(4)])


# --- Krum -----------------------------------------------------------------------------------------


@FEWER
@given(
    clients=st.integers(5, 8),
    seed=st.integers(0, 2**32),
    byzantine=st.integers(0, 1),
    selected=st.integers(1, 3),
)
def test_krum_is_the_papers_definition(
    clients: int, seed: int, byzantine: int, selected: int
) -> None:
    """On models of whole numbers, whose distances are exact in any order."""
    points = np.random.default_rng(seed).integers(-50, 50, (clients, 3)).tolist()
    updates = [
        ClientUpdate(client, 1, {"w": np.array(point, np.float32)})
        for client, point in enumerate(points)
    ]
    scores = []
    for i, one in enumerate(points):
        others = [math.dist(one, other) ** 2 for j, other in enumerate(points) if j != i]
        nearest = sorted(map(round, others))[: len(points) - byzantine - 2]
        scores.append((sum(nearest), i))
    expected = sorted(i for _, i in sorted(scores)[:selected])
    made = aggregate(Krum(byzantine, selected), {"w": np.zeros(3, np.float32)}, updates)
    assert list(made.used) == expected
    mean = np.mean([points[i] for i in expected], axis=0).astype(np.float32)
    assert np.allclose(made.weights["w"], mean, atol=1e-5)


@FEWER
@given(byzantine=st.integers(1, 3), seed=st.integers(0, 2**32), far=models(LARGEST))
def test_krum_selects_honest_clients_alone(byzantine: int, seed: int, far: Weights) -> None:
    if np.abs(flat(far)).max() < 100:
        far = at(-100.0)
    honest = [update(k, model(seed + k, 0.1)) for k in range(byzantine + 3)]
    colluding = [update(20 + k, far) for k in range(byzantine)]
    for selected in (1, len(honest)):
        made = aggregate(Krum(byzantine, selected), BASE, [*colluding, *honest])
        assert max(made.used) < 20
        assert len(made.used) == selected


def test_colluding_majority_beats_krum() -> None:
    honest = [near(client) for client in range(3)]
    colluding = [update(20 + k, at(9.0)) for k in range(4)]
    assert aggregate(Krum(2), BASE, [*honest, *colluding]).used == (20,)


def test_multi_krum_is_the_plain_average_of_the_selected() -> None:
    updates = [near(client) for client in range(7)]
    made = aggregate(Krum(2, selected=4), BASE, updates)
    chosen = [replace(updates[client], samples=1) for client in made.used]
    assert weights_of(made.weights) == weights_of(aggregate(FedAvg(), BASE, chosen).weights)


def test_equal_scores_go_to_the_lower_index() -> None:
    updates = [update(client, at(1.0)) for client in (7, 3, 5)]
    assert aggregate(Krum(0), BASE, updates).used == (3,)


@pytest.mark.parametrize(("rule", "needed"), [(Krum(2), 7), (Krum(0, selected=9), 9)])
def test_krum_with_too_few_clients_is_refused(rule: Rule, needed: int) -> None:
    with pytest.raises(ModelproofError, match=f"at least {needed} clients, not 6"):
        aggregate(rule, BASE, [near(client) for client in range(6)])


# --- Norm clipping --------------------------------------------------------------------------------


def distance(one: Weights) -> float:
    return float(np.linalg.norm(flat(one)[0].astype(np.float64) - flat(BASE)[0]))


@FEWER
@given(updates=rounds(limit=LARGEST), limit=st.floats(1e-3, 1e3))
def test_no_round_moves_the_model_farther_than_the_limit(
    updates: list[ClientUpdate], limit: float
) -> None:
    made = aggregate(NormClipped(limit, FedAvg()), BASE, updates)
    assert distance(made.weights) <= limit + 1e-6 * (limit + 2)


def test_update_within_the_limit_is_left_as_it_is() -> None:
    updates = [update(0), update(1)]
    limit = max(distance(each.weights) for each in updates)
    clipped = aggregate(NormClipped(limit + 1e-9, FedAvg()), BASE, updates)
    assert bits(clipped) == bits(aggregate(FedAvg(), BASE, updates))


def test_update_beyond_the_limit_keeps_its_direction() -> None:
    made = aggregate(NormClipped(0.5, FedAvg()), BASE, [update(0)])
    moved, wanted = (
        flat(weights)[0].astype(np.float64) - flat(BASE)[0]
        for weights in (made.weights, update(0).weights)
    )
    assert np.allclose(moved, wanted * 0.5 / np.linalg.norm(wanted), atol=1e-6)


# --- Sums -----------------------------------------------------------------------------------------


@given(st.lists(st.integers(-(2**40), 2**40), max_size=40))
def test_sum_by_halving_is_the_sum(numbers: list[int]) -> None:
    assert sum_by_halving(np.array(numbers, np.float64)) == sum(numbers)


def test_order_of_the_sum_is_the_stated_one() -> None:
    a, b, c, d, e = values = [1e16, 1.0, -1e16, 3.0, 0.5]
    assert sum_by_halving(np.array(values)) == ((a + d) + c) + (b + e)
    assert sum_by_halving(np.array(values).reshape(5, 1)[::-1]) == ((e + b) + c) + (d + a)


@FEWER
@given(one=models(), other=models())
def test_squared_distance_is_that_of_the_flat_models(one: Weights, other: Weights) -> None:
    difference = flat(one)[0].astype(np.float64) - flat(other)[0]
    expected = math.fsum(difference**2)
    assert squared_distance(one, other, sorted(BASE)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "build",
    [
        lambda: TrimmedMean(-1),
        lambda: Krum(-1),
        lambda: Krum(1, selected=0),
        lambda: NormClipped(0.0, FedAvg()),
        lambda: NormClipped(math.nan, FedAvg()),
    ],
)
def test_parameter_out_of_range_is_refused(build: Any) -> None:
    with pytest.raises(ModelproofError, match="not "):
        build()
