"""A registry for all trainings of a module."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ape
import pytest

from ml.chain.registry import ModelRegistry
from ml.chain.session import Session

from .world import World

_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def registry(chain: Session) -> ModelRegistry:
    return chain.deploy(ape.accounts.test_accounts[0])[0]


@pytest.fixture
def make_world(registry: ModelRegistry, tmp_path: Path) -> Callable[..., World]:
    def make(policy: Any = None, **changes: Any) -> World:
        number = next(_NUMBERS)
        given = {} if policy is None else {"policy": policy}
        name = f"iris-{number}"
        return World(registry, tmp_path / name, changes=changes, name=name, **given)

    return make
