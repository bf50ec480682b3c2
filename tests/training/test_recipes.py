"""Each shipped recipe reaches the accuracy that it is shipped for."""

from __future__ import annotations

import pytest

from ml.errors import ModelproofError
from ml.training.datasets import Dataset
from ml.training.recipes import RECIPES, find_recipe
from ml.training.train import train


@pytest.mark.parametrize(
    ("name", "least_ppm"),
    [
        ("digits-cnn", 965_000),
        ("digits-dense", 965_000),
        ("digits-logistic", 970_000),
        ("digits-sklearn", 980_000),
        ("iris-dense", 900_000),
        ("iris-logistic", 930_000),
        ("iris-sklearn", 930_000),
    ],
)
def test_small_data_set_is_learned(
    name: str, least_ppm: int, iris: Dataset, digits: Dataset
) -> None:
    recipe = RECIPES[name]
    trained = train(recipe, iris if recipe.dataset == "iris" else digits, seed=3)
    assert trained.metadata.metrics.test.accuracy_ppm >= least_ppm


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "epochs", "least_ppm"),
    [
        pytest.param("mnist-cnn", 2, 985_000, marks=pytest.mark.long),
        pytest.param("mnist-dense", 3, 970_000, marks=pytest.mark.long),
        ("mnist-logistic", 3, 915_000),
        pytest.param("mnist-sklearn", 20, 915_000, marks=pytest.mark.long),
    ],
)
def test_mnist_is_learned(name: str, epochs: int, least_ppm: int, mnist: Dataset) -> None:
    trained = train(RECIPES[name], mnist, seed=3)
    assert trained.metadata.hyperparameters.epochs == epochs
    assert trained.metadata.metrics.test.samples == 10_000
    assert trained.metadata.metrics.test.accuracy_ppm >= least_ppm


def test_recipe_is_found_by_data_set_and_architecture() -> None:
    assert find_recipe("mnist", "cnn").name == "mnist-cnn"


def test_recipe_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ModelproofError, match=r"'cnn' on the data set 'iris'; choose .*iris-dense"):
        find_recipe("iris", "cnn")


def test_every_recipe_has_a_name_of_its_own() -> None:
    assert all(name == recipe.name for name, recipe in RECIPES.items())
    assert len(RECIPES) == 11
