"""A model file, and a folder of models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.storage.model_files import ModelFiles
from tests.artifact.builders import SMALL, file_bytes, write

from .ipfs_node import begin_to_install, running_node


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have the IPFS node ready by the time that its tests come."""
    if any("ipfs_port" in getattr(item, "fixturenames", ()) for item in session.items):
        begin_to_install()


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


@pytest.fixture(scope="session")
def ipfs_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The RPC's port of a real IPFS node, one for all tests of a process."""
    with running_node(tmp_path_factory.mktemp("ipfs") / "repository") as port:
        yield port
