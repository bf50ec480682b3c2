"""What several tests of federated training read and none changes, and a chain for those of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ml.chain.anvil import AnvilNode
from ml.chain.session import Session, connect
from ml.training.datasets import Dataset, load_dataset
from tests.chain.places import kept_apart, network_at


@pytest.fixture(scope="session")
def iris() -> Dataset:
    return load_dataset("iris")


@pytest.fixture(scope="session")
def node() -> Iterator[AnvilNode]:
    with AnvilNode() as anvil:
        yield anvil


@pytest.fixture(scope="module")
def chain(node: AnvilNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A connection for all tests of a module."""
    with kept_apart(tmp_path_factory.mktemp("chain")), connect(network_at(node)) as session:
        yield session
