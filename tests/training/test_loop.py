"""The loop trains, the same way every time, and stops when it makes no sense to go on."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ml.artifact import describe_state_dict
from ml.errors import ModelproofError
from ml.training.datasets import Dataset
from ml.training.hyperparameters import LbfgsHyperparameters, SgdHyperparameters, with_epochs
from ml.training.loop import (
    StepDone,
    TrainingDiverged,
    derive_seed,
    deterministic,
    fit,
    learning_rate_at,
)
from ml.training.networks import build_network
from ml.training.recipes import find_recipe

ARCHITECTURE = find_recipe("iris", "dense").architecture
QUICK = SgdHyperparameters(epochs=2, batch_size=16, learning_rate=0.1)


def run(
    dataset: Dataset, seed: int = 1, hyperparameters: SgdHyperparameters = QUICK, **options: Any
) -> tuple[bytes, list[float]]:
    """Train from the same initial weights; return the identity of the result, and the losses."""
    network = build_network(ARCHITECTURE, seed=0)
    inputs, labels = map(torch.from_numpy, (dataset.train_inputs, dataset.train_labels))
    with deterministic(threads=1):
        losses = fit(network, inputs, labels, hyperparameters, seed, **options)
    return describe_state_dict(network.state_dict()).weights, losses


def test_loss_falls(iris: Dataset) -> None:
    _, losses = run(iris, hyperparameters=SgdHyperparameters(5, 16, 0.1))
    assert losses[-1] < losses[0] / 2


def test_same_seed_gives_the_same_weights_and_losses(iris: Dataset) -> None:
    assert run(iris) == run(iris)


def test_other_seed_gives_other_weights(iris: Dataset) -> None:
    assert run(iris, seed=1)[0] != run(iris, seed=2)[0]


def test_global_random_state_is_neither_used_nor_changed(iris: Dataset) -> None:
    expected = run(iris)
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    assert run(iris) == expected
    assert torch.equal(torch.random.get_rng_state(), before)


def test_each_step_is_reported(iris: Dataset) -> None:
    steps: list[StepDone] = []
    run(iris, progress=steps.append)  # 120 samples in batches of 16: 8 steps an epoch
    assert [(s.step, s.epoch) for s in steps] == [(i, 1 + (i > 8)) for i in range(1, 17)]
    assert {(s.steps, s.epochs) for s in steps} == {(16, 2)}


def test_losses_are_the_means_over_the_samples_of_an_epoch(iris: Dataset) -> None:
    steps: list[StepDone] = []
    _, losses = run(iris, progress=steps.append)
    sizes = [16] * 7 + [8]
    expected = sum(s.loss * n for s, n in zip(steps[:8], sizes, strict=True)) / 120
    assert math.isclose(losses[0], expected, rel_tol=1e-12)


def test_progress_does_not_change_the_weights(iris: Dataset) -> None:
    assert run(iris, progress=lambda done: None) == run(iris)


def test_loss_that_is_not_finite_stops_training(iris: Dataset) -> None:
    with pytest.raises(TrainingDiverged, match=r"loss is (nan|inf) at step \d+ of 80.*1000000"):
        run(iris, hyperparameters=SgdHyperparameters(10, 16, 1e6))


def test_weight_that_is_not_finite_after_the_last_step_is_refused(iris: Dataset) -> None:
    far = replace(iris, train_inputs=iris.train_inputs * np.float32(1e36))
    with pytest.raises(TrainingDiverged, match="last step made a weight NaN or infinite"):
        run(far, hyperparameters=SgdHyperparameters(1, 120, 1e6, warmup=0.0))


def test_deterministic_restores_what_it_set() -> None:
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    with deterministic(threads=2):
        assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (2, True)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


@given(steps=st.integers(2, 300), warmup=st.floats(0, 0.9))
def test_learning_rate_rises_to_its_peak_and_falls(steps: int, warmup: float) -> None:
    settings = SgdHyperparameters(1, 1, learning_rate=0.1, warmup=warmup)
    rates = [learning_rate_at(step, steps, settings) for step in range(steps)]
    top = rates.index(max(rates))
    assert all(a < b for a, b in pairwise(rates[: top + 1]))
    assert all(a >= b for a, b in pairwise(rates[top:]))
    assert min(rates) > 0
    assert max(rates) <= 0.1


def test_learning_rate_is_as_documented() -> None:
    settings = SgdHyperparameters(1, 1, learning_rate=0.4, warmup=0.25)
    rates = [learning_rate_at(step, 4, settings) for step in range(4)]
    assert rates == pytest.approx([0.2, 0.4 * 2.5 / 3, 0.4 * 1.5 / 3, 0.4 * 0.5 / 3])


def test_seeds_for_different_purposes_differ() -> None:
    assert derive_seed(1, "weights") != derive_seed(1, "order")


@given(st.integers(0, 2**63 - 1))
def test_derived_seed_is_one_that_torch_takes(seed: int) -> None:
    torch.Generator().manual_seed(derive_seed(seed, "order"))


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"learning_rate": 1e7},
        {"momentum": 1.0},
        {"weight_decay": -0.1},
        {"warmup": 1.0},
    ],
    ids=str,
)
def test_hyperparameter_out_of_range_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelproofError):
        SgdHyperparameters(**({"epochs": 1, "batch_size": 1, "learning_rate": 0.1} | changes))


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"inverse_regularization": 0.0}], ids=str)
def test_lbfgs_hyperparameter_out_of_range_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelproofError):
        LbfgsHyperparameters(**({"epochs": 1} | changes))


def test_epochs_are_replaced_only_if_given() -> None:
    assert (with_epochs(QUICK, 7).epochs, with_epochs(QUICK, None)) == (7, QUICK)
