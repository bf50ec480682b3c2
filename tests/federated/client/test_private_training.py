"""DP-SGD: gradients are clipped, noise is reproducible, and what is spent is counted once."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.errors import ModelproofError
from ml.federated.client import privacy_ledger
from ml.federated.client.local_training import LocalResult, private_seed, train_locally
from ml.federated.client.privacy_ledger import NoisySteps, NoisyTraining
from ml.federated.client.private_training import epsilon, noisy_steps
from ml.federated.parts import Part
from ml.federated.run_configuration import LocalTraining, Privacy
from ml.training.architectures import Architecture

from .samples import CNN, DENSE, FEDAVG_CNN, LOGISTIC, first_weights, part

PRIVACY = Privacy(noise_multiplier=1.0, max_grad_norm=1.0, delta=1e-5)
LOCAL = LocalTraining(epochs=1, batch_size=10, learning_rate=0.05, privacy=PRIVACY)
NEXT_TO_NONE = replace(PRIVACY, noise_multiplier=1e-9)
TRAINING = NoisyTraining(b"r" * 32, 1, 2, b"w" * 32, NoisySteps(1.0, 0.1, 60))


def trained(
    local: LocalTraining = LOCAL,
    architecture: Architecture = DENSE,
    samples: Part | None = None,
    seed: int = 7,
    earlier: tuple[NoisySteps, ...] = (),
) -> LocalResult:
    base = first_weights(architecture)
    data = samples or part()
    return train_locally(architecture, local, base, data, seed=seed, iteration=1, earlier=earlier)


def distance(result: LocalResult, architecture: Architecture = DENSE) -> float:
    base = first_weights(architecture)
    return math.sqrt(sum(float(np.square(w - base[n]).sum()) for n, w in result.weights.items()))


@pytest.mark.parametrize("architecture", [DENSE, LOGISTIC, CNN, FEDAVG_CNN], ids=str)
def test_same_seed_gives_the_same_bits_and_another_seed_others(architecture: Architecture) -> None:
    first, again, other = (trained(architecture=architecture, seed=seed) for seed in (7, 7, 8))
    for name, tensor in first.weights.items():
        assert tensor.tobytes() == again.weights[name].tobytes()
        assert tensor.tobytes() != other.weights[name].tobytes()


def test_steps_are_bounded_by_the_clipping_norm() -> None:
    """One step on all samples moves by the learning rate times the norm, at most."""
    data = part(20)
    privacy = replace(NEXT_TO_NONE, max_grad_norm=0.01)
    whole = LocalTraining(epochs=1, batch_size=20, learning_rate=0.5, privacy=privacy)
    assert 0 < distance(trained(whole, samples=data)) <= 0.5 * 0.01 * 1.001


def test_without_clipping_or_noise_it_is_gradient_descent() -> None:
    data = part(20)
    privacy = replace(NEXT_TO_NONE, max_grad_norm=1e4)
    whole = LocalTraining(epochs=2, batch_size=20, learning_rate=0.05, mu=0.1, privacy=privacy)
    noisy = trained(whole, samples=data)
    plain = trained(replace(whole, privacy=None), samples=data)
    for name, tensor in noisy.weights.items():
        np.testing.assert_allclose(tensor, plain.weights[name], rtol=1e-3, atol=2e-5)


def test_noise_has_the_deviation_that_is_stated() -> None:
    data = part(20)
    privacy = Privacy(noise_multiplier=50.0, max_grad_norm=0.1, delta=1e-5)
    whole = LocalTraining(epochs=1, batch_size=20, learning_rate=1.0, privacy=privacy)
    base = first_weights(DENSE)
    moved = trained(whole, samples=data).weights["dense1.weight"] - base["dense1.weight"]
    assert moved.std() == pytest.approx(50.0 * 0.1 / 20, rel=0.05)


def test_noise_follows_from_the_seed() -> None:
    """Sampling does not: every step takes all samples."""
    whole = replace(LOCAL, batch_size=20)
    first, other = (trained(whole, samples=part(20), seed=seed).weights for seed in (7, 8))
    for name, tensor in first.items():
        assert np.abs(tensor - other[name]).max() > 1e-4


def test_batches_that_drew_no_sample_are_steps_too() -> None:
    local = replace(LOCAL, batch_size=1)
    result = trained(local, samples=part(8))
    assert result.samples == 8
    assert distance(result) > 0


def test_nothing_but_weights_is_told_of_the_samples() -> None:
    result = trained(replace(LOCAL, validation_share=0.2))
    assert (result.correct, result.validation_ppm) == (None, None)
    assert result.samples == 43


def test_epsilon_is_that_of_the_known_example() -> None:
    """Opacus's and TensorFlow Privacy's tutorials: 60,000 images, batches of 256, 15 epochs."""
    steps = NoisySteps(noise_multiplier=1.3, sample_rate=256 / 60_000, steps=15 * 60_000 // 256)
    assert epsilon([steps], 1e-5) == pytest.approx(0.93, abs=0.1)


def test_epsilon_grows_with_each_round_and_is_that_of_all_steps_together() -> None:
    one = noisy_steps(LOCAL, 53)
    first, second = trained().epsilon, trained(earlier=(one,)).epsilon
    assert first is not None
    assert second is not None
    assert 0 < first < second
    together = replace(one, steps=2 * one.steps)
    assert second == pytest.approx(epsilon([together], PRIVACY.delta))


def test_no_steps_spend_nothing() -> None:
    assert epsilon([], 1e-5) == 0


def test_noise_too_small_for_any_epsilon_is_refused() -> None:
    with pytest.raises(ModelproofError, match="raise the noise multiplier"):
        epsilon([NoisySteps(1e-200, 0.5, 1)], 1e-5)


def test_steps_of_a_round_are_as_many_as_it_has_batches() -> None:
    assert noisy_steps(replace(LOCAL, epochs=3), 53) == NoisySteps(1.0, 10 / 53, 18)
    assert noisy_steps(replace(LOCAL, batch_size=100), 53) == NoisySteps(1.0, 1.0, 1)


def test_without_privacy_nothing_is_counted() -> None:
    assert trained(replace(LOCAL, privacy=None)).epsilon is None


def test_seed_follows_from_the_secret_and_the_training() -> None:
    seeds = {
        private_seed(secret, training)
        for secret in (b"s" * 32, b"t" * 32)
        for training in (
            TRAINING,
            replace(TRAINING, run=b"q" * 32),
            replace(TRAINING, epoch=2),
            replace(TRAINING, iteration=1),
            replace(TRAINING, base_weights=b"v" * 32),
        )
    }
    assert len(seeds) == 10
    assert private_seed(b"s" * 32, TRAINING) in seeds


def test_ledger_counts_a_training_once(tmp_path: Path) -> None:
    ledger = tmp_path / "privacy.json"
    later = replace(TRAINING, iteration=3, spent=NoisySteps(2.0, 0.1, 60))
    assert privacy_ledger.enter(ledger, TRAINING) == ()
    assert privacy_ledger.enter(ledger, later) == (TRAINING.spent,)
    assert privacy_ledger.enter(ledger, TRAINING) == ()
    assert privacy_ledger.enter(ledger, later) == (TRAINING.spent,)
    assert privacy_ledger.read(ledger) == (TRAINING, later)


def test_damaged_ledger_is_not_written_over(tmp_path: Path) -> None:
    ledger = tmp_path / "privacy.json"
    privacy_ledger.enter(ledger, TRAINING)
    damaged = ledger.read_bytes().replace(b'"steps":60', b'"steps":-6')
    ledger.write_bytes(damaged)
    with pytest.raises(ModelproofError, match="no noisy steps"):
        privacy_ledger.enter(ledger, replace(TRAINING, iteration=3))
    assert ledger.read_bytes() == damaged


def test_ledger_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "privacy.json").mkdir()
    with pytest.raises(ModelproofError, match="cannot be written"):
        privacy_ledger.enter(tmp_path / "privacy.json", TRAINING)
