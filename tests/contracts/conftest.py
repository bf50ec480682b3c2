"""One registry for the session; a model of its own for every test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ml.chain.registry import ModelRegistry
from ml.chain.types import Policy

from .batch import Batch
from .story import THESIS, Cast, Story


@pytest.fixture(scope="session")
def cast(accounts: Any) -> Cast:
    return Cast(*accounts[: len(Cast._fields)])


@pytest.fixture(scope="session")
def registry(project: Any, cast: Cast) -> ModelRegistry:
    contract = cast.deployer.deploy(project.ModelRegistry)
    return ModelRegistry(contract, contract.creation_metadata.receipt.block_number)


@pytest.fixture(scope="session")
def batch(project: Any, cast: Cast, registry: ModelRegistry) -> Batch:
    return Batch(cast.deployer.deploy(project.BatchCaller), registry)


@pytest.fixture
def create(registry: ModelRegistry, cast: Cast) -> Callable[[Policy], Story]:
    """A new model under a policy, as often as it is called."""
    return lambda policy=THESIS: Story.begin(registry, cast, policy)


@pytest.fixture
def story(create: Callable[[], Story]) -> Story:
    """A new model under the preset ``thesis``."""
    return create()
