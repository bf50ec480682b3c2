"""A registry on the chain of these tests, and trainings on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.chain.records import Role
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session


@pytest.fixture(scope="module")
def registry(chain: Session) -> ModelRegistry:
    return chain.deploy(chain.account(None, Role.ADMIN))[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "objects"
