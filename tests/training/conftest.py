"""Data sets and trained models that several tests read and none changes."""

from __future__ import annotations

import pytest

from ml.training.datasets import Dataset, load_dataset
from ml.training.recipes import find_recipe
from ml.training.train import TrainedModel, train


@pytest.fixture(scope="session")
def iris() -> Dataset:
    return load_dataset("iris")


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="session")
def mnist() -> Dataset:
    return load_dataset("mnist")


@pytest.fixture(scope="session")
def digits_cnn(digits: Dataset) -> TrainedModel:
    return train(find_recipe("digits", "cnn"), digits, seed=1, epochs=2)


@pytest.fixture(scope="session")
def iris_dense(iris: Dataset) -> TrainedModel:
    return train(find_recipe("iris", "dense"), iris, seed=1)


@pytest.fixture(scope="session")
def iris_sklearn(iris: Dataset) -> TrainedModel:
    return train(find_recipe("iris", "sklearn"), iris, seed=1)
