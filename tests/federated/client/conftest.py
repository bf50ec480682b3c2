"""A training on a chain with clients of its own, for tests of what a worker does."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.chain.records import Role
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session

from .place import HIGH, LOW, Place


@pytest.fixture(scope="module")
def registry(chain: Session) -> ModelRegistry:
    return chain.deploy(chain.account(None, Role.ADMIN))[0]


@pytest.fixture
def place(chain: Session, registry: ModelRegistry, tmp_path: Path) -> Place:
    """Clients of a training of its own, which a test may go on with."""
    return Place.begin(chain, registry, tmp_path)


@pytest.fixture(scope="module")
def beginning(
    chain: Session, registry: ModelRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Place:
    """Before the first round; nobody goes on with it."""
    return Place.begin(chain, registry, tmp_path_factory.mktemp("beginning"))


@pytest.fixture(scope="module")
def gone_back(
    chain: Session, registry: ModelRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Place:
    """After a rollback from v2 to v1: epoch 1, iteration 2; nobody goes on with it."""
    made = Place.begin(chain, registry, tmp_path_factory.mktemp("gone_back"))
    for percent in (HIGH, LOW):
        made.federation.round()
        made.federation.judge(percent)
    return made
