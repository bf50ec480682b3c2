"""What several tests of federated training read and none changes."""

from __future__ import annotations

import pytest

from ml.training.datasets import Dataset, load_dataset


@pytest.fixture(autouse=True)
def _function_isolation() -> None:
    """Instead of Ape's, which takes snapshots of a node that these tests have no use for."""


@pytest.fixture(scope="session")
def iris() -> Dataset:
    return load_dataset("iris")


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")
