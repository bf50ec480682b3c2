"""Local training: the same bits from the same arguments, and both kernels do the same."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ml.errors import ModelproofError
from ml.federated.aggregation import Weights
from ml.federated.client import local_training
from ml.federated.client.local_training import LocalResult, round_seed, train_locally
from ml.federated.parts import Part
from ml.federated.run_configuration import LocalTraining
from ml.training.architectures import Architecture, ArchitectureName
from ml.training.loop import TrainingDiverged
from ml.training.networks import build_network

from .samples import CNN, DENSE, FEDAVG_CNN, LOGISTIC, ONE_LAYER, first_weights, part

PLAIN = LocalTraining(epochs=2, batch_size=10, learning_rate=0.05)
ALL = (DENSE, ONE_LAYER, LOGISTIC, CNN, FEDAVG_CNN)


def name_of(architecture: Architecture) -> str:
    return f"{architecture.name}-{len(architecture.hidden)}"


def trained(
    architecture: Architecture = DENSE,
    local: LocalTraining = PLAIN,
    samples: Part | None = None,
    seed: int = 7,
    iteration: int = 1,
) -> LocalResult:
    return train_locally(
        architecture,
        local,
        first_weights(architecture),
        samples or part(),
        seed=seed,
        iteration=iteration,
    )


def digest(weights: Weights) -> str:
    joined = b"".join(name.encode() + weights[name].tobytes() for name in sorted(weights))
    return hashlib.sha256(joined).hexdigest()


def by_autograd(
    monkeypatch: pytest.MonkeyPatch, architecture: Architecture, local: LocalTraining, samples: Part
) -> LocalResult:
    with monkeypatch.context() as patch:
        patch.setattr(local_training, "_DENSE", ())
        return trained(architecture, local, samples)


@pytest.mark.parametrize("architecture", ALL, ids=name_of)
def test_training_learns_what_the_samples_show(architecture: Architecture) -> None:
    result = trained(architecture, replace(PLAIN, epochs=40, learning_rate=0.1))
    assert result.correct is not None
    assert result.correct >= 45
    assert result.samples == 53
    assert result.weights.keys() == first_weights(architecture).keys()
    assert all(tensor.dtype == np.float32 for tensor in result.weights.values())


@pytest.mark.parametrize(
    ("architecture", "batch_size", "samples"),
    [
        (DENSE, 10, 53),
        (DENSE, 10, 600),
        (DENSE, 300, 600),
        (ONE_LAYER, 7, 53),
        (LOGISTIC, 10, 53),
        (DENSE, 53, 53),
        (DENSE, 1000, 53),
        (DENSE, 1, 20),
    ],
)
def test_kernels_agree_to_rounding(
    monkeypatch: pytest.MonkeyPatch, architecture: Architecture, batch_size: int, samples: int
) -> None:
    local, data = replace(PLAIN, batch_size=batch_size), part(samples)
    fast = trained(architecture, local, data)
    slow = by_autograd(monkeypatch, architecture, local, data)
    base = first_weights(architecture)
    for name, tensor in fast.weights.items():
        np.testing.assert_allclose(tensor, slow.weights[name], rtol=1e-4, atol=2e-6)
        assert np.abs(tensor - base[name]).max() > 1e-4
    assert (fast.correct, fast.samples) == (slow.correct, slow.samples)


def test_one_step_is_that_of_gradient_descent(monkeypatch: pytest.MonkeyPatch) -> None:
    data, base = part(10), first_weights(DENSE)
    network = build_network(DENSE, seed=1)
    loss = nn.functional.cross_entropy(
        network(torch.from_numpy(data.inputs)), torch.from_numpy(data.labels)
    )
    loss.backward()  # type: ignore[no-untyped-call]
    result = trained(local=LocalTraining(1, 10, 0.05), samples=data)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        expected = base[name] - 0.05 * parameter.grad.numpy()
        np.testing.assert_allclose(result.weights[name], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("architecture", ALL, ids=name_of)
def test_training_again_gives_the_same_bits(architecture: Architecture) -> None:
    first = digest(trained(architecture).weights)
    trained(architecture, seed=8)  # what else is trained in the process does not matter
    torch.manual_seed(99)
    assert digest(trained(architecture).weights) == first


PROGRAM = """
import sys
from tests.federated.client import test_local_training as tests
print(*(tests.digest(tests.trained(architecture).weights) for architecture in tests.ALL))
sys.exit("opacus" in sys.modules)  # takes three seconds to import, and is not needed
"""


def test_another_process_with_other_threads_gives_the_same_bits() -> None:
    other = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads() + 2)},
        capture_output=True,
        text=True,
        check=True,
    )
    here = [digest(trained(architecture).weights) for architecture in ALL]
    assert other.stdout == " ".join(here) + "\n"


def test_base_and_samples_are_left_as_they_are() -> None:
    base, data = first_weights(DENSE), part()
    before = digest(base), data.inputs.tobytes(), data.labels.tobytes()
    train_locally(DENSE, PLAIN, base, data, seed=1, iteration=1)
    assert (digest(base), data.inputs.tobytes(), data.labels.tobytes()) == before


@pytest.mark.parametrize(
    ("changes", "arguments"),
    [
        ({}, {"seed": 8}),
        ({"momentum": 0.5}, {}),
        ({"weight_decay": 0.1}, {}),
        ({"mu": 0.1}, {}),
        ({"epochs": 3}, {}),
        ({"decay": 0.5}, {"iteration": 2}),
        ({"validation_share": 0.1}, {}),
    ],
    ids=str,
)
def test_each_setting_has_an_effect(changes: dict[str, Any], arguments: dict[str, Any]) -> None:
    plain, changed = trained(), trained(local=replace(PLAIN, **changes), **arguments)
    for name, tensor in changed.weights.items():
        # far more than the kernels differ by
        assert np.abs(tensor - plain.weights[name]).max() > 1e-4


def test_learning_rate_follows_from_the_iteration() -> None:
    decayed = trained(local=replace(PLAIN, decay=0.5), iteration=3)
    smaller = trained(local=replace(PLAIN, learning_rate=0.0125))
    assert digest(decayed.weights) == digest(smaller.weights)


def test_penalty_keeps_weights_near_the_base() -> None:
    base = first_weights(DENSE)

    def moved(result: LocalResult) -> float:
        return sum(float(np.square(w - base[n]).sum()) for n, w in result.weights.items())

    assert moved(trained(local=replace(PLAIN, mu=5.0))) < 0.5 * moved(trained())


def test_samples_kept_for_validation_are_the_same_each_round_and_not_trained_on() -> None:
    local = replace(PLAIN, validation_share=0.3, epochs=1)
    data = part(40)
    kept = local_training._divided(40, 0.3)[1].numpy()
    spoiled = Part(data.inputs.copy(), data.labels.copy(), data.class_names)
    spoiled.inputs[kept] = 0
    for seed in (1, 2):
        assert digest(trained(local=local, samples=spoiled, seed=seed).weights) == digest(
            trained(local=local, samples=data, seed=seed).weights
        )
    assert trained(local=local, samples=data).samples == 28


def test_accuracy_on_the_kept_samples_is_reported() -> None:
    local = replace(PLAIN, validation_share=0.25, epochs=10)
    result = trained(local=local, samples=part(200))
    assert result.samples == 150
    assert result.validation_ppm is not None
    assert 900_000 <= result.validation_ppm <= 1_000_000
    assert result.validation_ppm % 20_000 == 0  # of fifty samples


def test_too_few_samples_to_keep_any_are_all_trained_on() -> None:
    result = trained(local=replace(PLAIN, validation_share=0.5), samples=part(1))
    assert (result.samples, result.validation_ppm) == (1, None)


def test_right_answers_are_not_counted_where_nobody_asks() -> None:
    assert trained(local=replace(PLAIN, count_correct=False)).correct is None


@pytest.mark.parametrize("architecture", [DENSE, CNN], ids=name_of)
@pytest.mark.parametrize("learning_rate", [1e6, 1e30])
def test_divergence_is_an_error(architecture: Architecture, learning_rate: float) -> None:
    local = LocalTraining(epochs=20, batch_size=5, learning_rate=learning_rate, momentum=0.9)
    plain = replace(local, momentum=0.0)
    for each in (local, plain):
        with pytest.raises(TrainingDiverged, match=r"in epoch \d+ of 20: lower the learning rate"):
            trained(architecture, each)


def test_base_that_is_not_finite_diverges() -> None:
    base = dict(first_weights(DENSE))
    base["output.bias"] = np.full(3, math.nan, np.float32)
    with pytest.raises(TrainingDiverged, match="became NaN or infinite in epoch 1 of 2"):
        train_locally(DENSE, PLAIN, base, part(), seed=1, iteration=1)


@pytest.mark.parametrize(
    ("name", "tensor", "reason"),
    [
        ("output.bias", None, r"'output.bias' should be torch.float32 \[3\] and is absent"),
        (
            "output.bias",
            np.zeros(4, np.float32),
            r"should be torch.float32 \[3\] and is torch.float32 \[4\]",
        ),
        ("output.bias", np.zeros(3), r"should be torch.float32 \[3\] and is torch.float64 \[3\]"),
        ("more", np.zeros(3, np.float32), r"'more' should be absent and is torch.float32 \[3\]"),
    ],
)
def test_base_of_another_network_is_refused(name: str, tensor: Any, reason: str) -> None:
    base = {**first_weights(DENSE), name: tensor}
    if tensor is None:
        del base[name]
    with pytest.raises(ModelproofError, match=reason):
        train_locally(DENSE, PLAIN, base, part(), seed=1, iteration=1)


def test_samples_of_another_shape_are_refused() -> None:
    data = part()
    smaller = Part(data.inputs[:, :1].copy(), data.labels, data.class_names)
    with pytest.raises(ModelproofError, match=r"has samples of shape \(1, 8, 8\) and 3 classes"):
        trained(samples=smaller)


def test_samples_of_other_classes_are_refused() -> None:
    data = part()
    more = Part(data.inputs, data.labels, (*data.class_names, "three"))
    with pytest.raises(ModelproofError, match=r"3 classes, and this part .* 4 classes"):
        trained(samples=more)


def test_scikit_learns_model_is_refused() -> None:
    architecture = Architecture(ArchitectureName.SKLEARN, (2, 8, 8), 3)
    with pytest.raises(ModelproofError, match="not a torch network"):
        train_locally(architecture, PLAIN, {}, part(), seed=1, iteration=1)


def test_each_client_and_round_has_a_seed_of_its_own() -> None:
    seeds = {
        round_seed(seed, client, epoch, iteration)
        for seed in (0, 1)
        for client in (0, 1, 11)
        for epoch in (1, 2)
        for iteration in (1, 2, 12)
    }
    assert len(seeds) == 36
