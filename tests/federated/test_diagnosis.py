"""Leave-one-out finds who made a round worse, and nobody else, whoever else did too."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.errors import ModelproofError
from ml.federated.aggregation import ClientUpdate, FedAvg, Weights
from ml.federated.diagnosis import Culprit, Diagnosis, diagnose
from ml.federated.robust import Krum
from ml.federated.server_optimizers import FedAvgM

from .rounds import FEWER

TARGET = np.array([1.0, -2.0, 3.0, 0.5], np.float32)
BASE: Weights = {"w": TARGET + 0.4}


def accuracy(weights: Weights) -> int:
    """1,000,000 ppm at the target, and 100,000 less for each unit of distance from it."""
    distance = float(np.linalg.norm(weights["w"] - TARGET))
    return max(0, round(1_000_000 - 100_000 * distance))


def honest(client: int, spread: float = 0.3) -> ClientUpdate:
    """An update near the target: so near that the average of several is nearer than each."""
    noise = np.random.default_rng(client).normal(size=4) * spread
    return ClientUpdate(client, 600, {"w": (TARGET + noise).astype(np.float32)})


def poisoned(client: int, by: float = 8.0) -> ClientUpdate:
    return ClientUpdate(client, 600, {"w": TARGET + np.float32(by)})


def diagnosed(updates: list[ClientUpdate], **changes: Any) -> Diagnosis:
    usual = {"threshold_ppm": 50_000, "active": len(updates), "min_clients": 1}
    return diagnose(FedAvg(), BASE, updates, accuracy, **{**usual, **changes})


def names(diagnosis: Diagnosis) -> set[int]:
    return {culprit.client for culprit in diagnosis.culprits}


CLEAN = [honest(client) for client in range(8)]


# --- Whom it finds --------------------------------------------------------------------------------


def test_nobody_is_accused_in_a_clean_round() -> None:
    found = diagnosed(CLEAN)
    assert found.culprits == ()
    assert found.excluded == ()
    assert found.cleaned_ppm == found.together_ppm


@pytest.mark.parametrize("bad", [1, 2, 3])
def test_poisoners_and_nobody_else_are_found(bad: int) -> None:
    found = diagnosed([*CLEAN, *(poisoned(10 + k) for k in range(bad))])
    assert names(found) == set(range(10, 10 + bad))
    assert found.excluded == tuple(range(10, 10 + bad))
    assert found.cleaned_ppm == diagnosed(CLEAN).together_ppm


def test_poisoners_who_cancel_each_other_out_are_not_found() -> None:
    """They spoil nothing together; what they would do alone is in the trials."""
    found = diagnosed([*CLEAN, poisoned(10, 8.0), poisoned(11, -8.0)])
    assert found.culprits == ()
    assert found.together_ppm > 900_000
    assert [trial.alone_ppm for trial in found.trials[-2:]] == [0, 0]


def test_each_update_alone_is_kept_as_evidence_that_would_accuse_the_honest() -> None:
    found = diagnosed([*CLEAN, poisoned(10)])
    alone = {trial.client: trial.alone_ppm for trial in found.trials}
    assert alone == {each.client: accuracy(each.weights) for each in [*CLEAN, poisoned(10)]}
    below = {client for client, ppm in alone.items() if ppm < found.cleaned_ppm - 5_000}
    assert below > {10}


def test_figures_are_those_of_the_aggregates() -> None:
    one, other = honest(0), poisoned(4)
    found = diagnosed([other, one])
    assert found.baseline_ppm == accuracy(BASE)
    assert found.together_ppm == accuracy({"w": (one.weights["w"] + other.weights["w"]) / 2})
    assert [(trial.client, trial.without_ppm) for trial in found.trials] == [
        (0, accuracy(other.weights)),
        (4, accuracy(one.weights)),
    ]
    gain = accuracy(one.weights) - found.together_ppm
    assert found.culprits == (Culprit(4, gain, True),)


# --- Threshold and minimum ------------------------------------------------------------------------


def test_gain_has_to_exceed_the_threshold() -> None:
    updates = [*CLEAN, poisoned(10)]
    gain = diagnosed(updates).culprits[0].gain_ppm
    assert names(diagnosed(updates, threshold_ppm=gain)) == set()
    assert names(diagnosed(updates, threshold_ppm=gain - 1)) == {10}


@pytest.mark.parametrize(
    ("active", "min_clients", "excluded"),
    [(10, 8, 2), (10, 9, 1), (10, 10, 0), (10, 11, 0), (12, 10, 2)],
)
def test_no_client_is_excluded_below_the_minimum(
    active: int, min_clients: int, excluded: int
) -> None:
    updates = [*CLEAN, poisoned(10), poisoned(11, 9.0)]
    found = diagnosed(updates, active=active, min_clients=min_clients)
    assert names(found) == {10, 11}  # named all the same
    assert len(found.excluded) == excluded


def test_single_update_accuses_nobody() -> None:
    found = diagnosed([poisoned(3)])
    assert found.culprits == ()
    assert [trial.client for trial in found.trials] == [3]


# --- The same for everybody -----------------------------------------------------------------------


@FEWER
@given(dice=st.randoms(use_true_random=False))
def test_order_of_the_updates_does_not_matter(dice: random.Random) -> None:
    updates = [*CLEAN, poisoned(10), poisoned(11)]
    assert diagnosed(dice.sample(updates, len(updates))) == diagnosed(updates)


def test_lower_index_goes_first_among_equals() -> None:
    found = diagnosed([*CLEAN, poisoned(11), poisoned(10)])
    assert [culprit.client for culprit in found.culprits] == [10, 11]


def test_rule_and_state_are_those_of_the_round() -> None:
    calls: list[Weights] = []

    def counting(weights: Weights) -> int:
        calls.append(weights)
        return accuracy(weights)

    rule = FedAvgM(momentum=0.5, learning_rate=0.5)
    diagnose(rule, BASE, CLEAN, counting, threshold_ppm=50_000, active=8, min_clients=1)
    assert len(calls) == 2 * 8 + 2
    half_way = (BASE["w"] + np.mean([each.weights["w"] for each in CLEAN], axis=0)) / 2
    assert np.allclose(calls[0]["w"], half_way, atol=1e-5)


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("diagnosis", "reason"),
    [
        (lambda: diagnosed(CLEAN, threshold_ppm=-1), "0 ppm or more, not -1"),
        (lambda: diagnosed(CLEAN, min_clients=0), "at least 1 client stays active, not 0"),
        (lambda: diagnosed(CLEAN, active=7), "8 clients took part, and only 7 are active"),
        (lambda: diagnosed([], active=3), "no update to aggregate"),
        (lambda: diagnosed([*CLEAN, honest(0)]), "is its second one"),
        (
            lambda: diagnose(
                Krum(1), BASE, CLEAN, accuracy, threshold_ppm=1, active=8, min_clients=1
            ),
            "at least 5 clients, not 1",
        ),
    ],
)
def test_diagnosis_that_cannot_be_made_is_refused(
    diagnosis: Callable[[], Diagnosis], reason: str
) -> None:
    with pytest.raises(ModelproofError, match=reason):
        diagnosis()
