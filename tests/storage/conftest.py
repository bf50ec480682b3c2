"""A model file, and a folder of models."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.storage.model_files import ModelFiles
from tests.artifact.builders import SMALL, file_bytes, write


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file that somebody wants to keep."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return write(folder, file_bytes(SMALL))


@pytest.fixture
def kept(tmp_path: Path) -> ModelFiles:
    """An empty folder of models."""
    return ModelFiles(tmp_path / "artifacts")


def flip_last_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
