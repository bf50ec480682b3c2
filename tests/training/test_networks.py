"""Networks are what their architecture says, and their weights follow from the seed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ml.artifact import describe_state_dict
from ml.errors import ModelproofError
from ml.training.architectures import Architecture, ArchitectureName
from ml.training.networks import build_network
from ml.training.recipes import RECIPES

CNN = Architecture(ArchitectureName.CNN, (1, 8, 8), 10, hidden=(64,), channels=(16, 16))
TORCH_RECIPES = [r for r in RECIPES.values() if r.architecture.name != "sklearn"]


def weights_of(network: torch.nn.Module) -> bytes:
    return describe_state_dict(network.state_dict()).weights


@pytest.mark.parametrize("recipe", TORCH_RECIPES, ids=lambda recipe: recipe.name)
def test_network_gives_a_logit_per_class(recipe: Any) -> None:
    network = build_network(recipe.architecture, seed=0)
    outputs = network(torch.zeros(3, *recipe.architecture.input_shape))
    assert outputs.shape == (3, recipe.architecture.classes)


def test_dense_network_has_three_layers_and_an_output_layer() -> None:
    network = build_network(RECIPES["mnist-dense"].architecture, seed=0)
    assert {name: tuple(t.shape) for name, t in network.state_dict().items()} == {
        "dense1.weight": (128, 784),
        "dense1.bias": (128,),
        "dense2.weight": (128, 128),
        "dense2.bias": (128,),
        "dense3.weight": (128, 128),
        "dense3.bias": (128,),
        "output.weight": (10, 128),
        "output.bias": (10,),
    }


@pytest.mark.parametrize(
    ("architecture", "parameters"),
    [
        (Architecture(ArchitectureName.DENSE, (784,), 10, hidden=(200, 200)), 199_210),
        (
            Architecture(
                ArchitectureName.FEDAVG_CNN, (1, 28, 28), 10, hidden=(512,), channels=(32, 64)
            ),
            1_663_370,
        ),
    ],
    ids=["2NN", "CNN"],
)
def test_networks_of_the_paper_of_fedavg_have_its_numbers_of_parameters(
    architecture: Architecture, parameters: int
) -> None:
    network = build_network(architecture, seed=0)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_dense_network_has_as_many_layers_as_are_named(layers: int) -> None:
    architecture = Architecture(ArchitectureName.DENSE, (4,), 3, hidden=(8,) * layers)
    names = [name for name, _ in build_network(architecture, seed=0).named_parameters()]
    assert len(names) == 2 * layers + 2
    assert names[-3:] == [f"dense{layers}.bias", "output.weight", "output.bias"]


def test_dense_network_without_a_hidden_layer_is_refused() -> None:
    with pytest.raises(ModelproofError, match="with 0 hidden layers: it has 1 or more"):
        Architecture(ArchitectureName.DENSE, (4,), 3)


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 5, 7), (2, 11, 6)])
@pytest.mark.parametrize("name", [ArchitectureName.CNN, ArchitectureName.FEDAVG_CNN])
def test_cnn_takes_images_of_any_size(name: ArchitectureName, shape: tuple[int, ...]) -> None:
    architecture = Architecture(name, shape, 2, hidden=(8,), channels=(4, 4))
    assert build_network(architecture, seed=0)(torch.zeros(2, *shape)).shape == (2, 2)


def test_inputs_are_scaled_by_the_architecture() -> None:
    scaled = Architecture(ArchitectureName.LOGISTIC, (2,), 2, mean=(10.0, 20.0), std=(2.0, 4.0))
    plain = Architecture(ArchitectureName.LOGISTIC, (2,), 2)
    found = build_network(scaled, seed=0)(torch.tensor([[12.0, 16.0]]))
    assert torch.equal(found, build_network(plain, seed=0)(torch.tensor([[1.0, -1.0]])))


def test_same_seed_gives_the_same_weights() -> None:
    assert weights_of(build_network(CNN, seed=5)) == weights_of(build_network(CNN, seed=5))


def test_other_seed_gives_other_weights() -> None:
    assert weights_of(build_network(CNN, seed=5)) != weights_of(build_network(CNN, seed=6))


def test_global_random_state_is_left_as_it_was() -> None:
    before = torch.random.get_rng_state()
    build_network(CNN, seed=5)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_architecture_of_scikit_learn_has_no_network() -> None:
    with pytest.raises(ModelproofError, match="sklearn model is not a torch network"):
        build_network(Architecture(ArchitectureName.SKLEARN, (4,), 3), seed=0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hidden": ()}, "with 0 hidden layers: it has 1"),
        ({"channels": (16,)}, "with 1 convolutions: it has 2"),
        ({"channels": (16, 0)}, "each must be at least 1"),
        ({"input_shape": (64,)}, "takes images"),
        ({"input_shape": (1, 8, 3)}, "at least 4 pixels a side"),
        ({"input_shape": ()}, "each must be at least 1"),
        ({"classes": 0}, "each must be at least 1"),
        ({"mean": (0.0, 0.0)}, "2 means and 1 deviations"),
        ({"std": (0.0,)}, "deviations"),
        ({"mean": (float("nan"),)}, "scales its inputs by the means"),
    ],
)
def test_architecture_that_cannot_be_is_refused(changes: dict[str, Any], reason: str) -> None:
    fields: dict[str, Any] = {
        "input_shape": (1, 8, 8),
        "classes": 10,
        "hidden": (64,),
        "channels": (16, 16),
    }
    with pytest.raises(ModelproofError, match=f"no cnn network .*{reason}"):
        Architecture(name=ArchitectureName.CNN, **(fields | changes))
