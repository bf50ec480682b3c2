"""The poison that tests and benchmarks use is what it is called."""

from __future__ import annotations

import numpy as np
import pytest

from ml.federated.client.local_training import train_locally
from ml.federated.parts import Part
from ml.federated.run_configuration import LocalTraining

from .client.samples import DENSE, first_weights, part
from .poison import backdoored, flipped_labels, scaled, sign_flipped, stamped, with_nan

LOCAL = LocalTraining(epochs=20, batch_size=10, learning_rate=0.05)


def correct(data: Part, judge: Part) -> int:
    """How many of a judge's samples a model tells apart rightly that was trained on the data."""
    trained = train_locally(DENSE, LOCAL, first_weights(DENSE), data, seed=1, iteration=1).weights
    still = LocalTraining(epochs=1, batch_size=len(judge), learning_rate=1e-12)
    found = train_locally(DENSE, still, trained, judge, seed=1, iteration=1).correct
    assert found is not None
    return found


def test_every_flipped_label_is_another() -> None:
    data = part(90)
    assert (flipped_labels(data).labels != data.labels).all()
    assert correct(flipped_labels(data), data) < 30 < 80 < correct(data, data)


def test_backdoor_opens_for_the_stamp_alone() -> None:
    data, fresh = part(200), part(60, seed=5)
    spoiled = backdoored(data, target=2, share=0.4)
    others = fresh.labels != 2
    marked = Part(
        stamped(fresh.inputs[others]), np.full(others.sum(), 2, np.int64), fresh.class_names
    )
    assert correct(spoiled, marked) > 0.9 * len(marked)
    assert correct(data, marked) < 0.5 * len(marked)
    assert correct(spoiled, fresh) > 0.8 * len(fresh)


def test_scaled_and_flipped_updates_go_along_the_same_line() -> None:
    base, trained = first_weights(DENSE, 1), first_weights(DENSE, 2)
    further, back = scaled(base, trained, 3.0), sign_flipped(base, trained)
    for name, tensor in trained.items():
        step = tensor - base[name]
        np.testing.assert_allclose(further[name] - base[name], 3 * step, atol=1e-5)
        np.testing.assert_allclose(back[name] - base[name], -step, atol=1e-5)


def test_one_element_is_no_number() -> None:
    weights = first_weights(DENSE)
    altered = with_nan(weights, weights)
    assert sum(int(np.isnan(tensor).sum()) for tensor in altered.values()) == 1
    assert not any(np.isnan(tensor).any() for tensor in weights.values())


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_share_of_stamped_samples_is_kept_to(share: float) -> None:
    data = part(50)
    changed = (backdoored(data, 0, share).inputs != data.inputs).any(axis=(1, 2, 3))
    assert changed.sum() == 50 * share
