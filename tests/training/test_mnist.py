"""MNIST's files are used only if they are MNIST's."""

from __future__ import annotations

import gzip
import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ml.errors import ModelproofError, NotVerified
from ml.training.datasets import Dataset
from ml.training.mnist import (
    DEFAULT_FOLDER,
    TEST_LABELS,
    PinnedFile,
    read_labels,
    read_pinned,
)

REAL = (DEFAULT_FOLDER / TEST_LABELS.name).read_bytes()


def place(folder: Path, data: bytes, suffix: str = "") -> Path:
    (folder / (TEST_LABELS.name + suffix)).write_bytes(data)
    return folder


def test_whole_data_set_has_its_published_sizes(mnist: Dataset) -> None:
    assert mnist.train_inputs.shape == (60_000, 1, 28, 28)
    assert mnist.test_inputs.shape == (10_000, 1, 28, 28)
    assert np.bincount(mnist.test_labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip


def test_pixels_are_unscaled(mnist: Dataset) -> None:
    assert (mnist.test_inputs.min(), mnist.test_inputs.max()) == (0, 255)


def test_files_in_a_folder_of_the_users_are_read(tmp_path: Path) -> None:
    assert len(read_labels(place(tmp_path, REAL), TEST_LABELS)) == 10_000


def test_compressed_file_is_read_by_the_hash_of_its_content(tmp_path: Path) -> None:
    folder = place(tmp_path, gzip.compress(REAL), ".gz")
    assert read_pinned(folder, TEST_LABELS) == REAL


@pytest.mark.parametrize("position", [0, 8, len(REAL) - 1])
def test_flipped_bit_is_refused(tmp_path: Path, position: int) -> None:
    data = bytearray(REAL)
    data[position] ^= 1
    with pytest.raises(NotVerified, match=r"labels-idx1-ubyte is not the file of MNIST: its SHA"):
        read_pinned(place(tmp_path, bytes(data)), TEST_LABELS)


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotVerified, match="SHA-256"):
        read_pinned(place(tmp_path, REAL[:-1]), TEST_LABELS)


def test_flipped_bit_in_compressed_content_is_refused(tmp_path: Path) -> None:
    data = REAL[:-1] + bytes((REAL[-1] ^ 1,))
    with pytest.raises(NotVerified, match="SHA-256"):
        read_pinned(place(tmp_path, gzip.compress(data), ".gz"), TEST_LABELS)


@pytest.mark.parametrize(
    "damage",
    [lambda z: z[:-9], lambda z: b"plain" + z, lambda z: z[:20] + b"\xff" * 20 + z[40:]],
    ids=["truncated", "no gzip", "damaged"],
)
def test_broken_compressed_file_is_refused(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    folder = place(tmp_path, damage(gzip.compress(REAL)), ".gz")
    with pytest.raises(NotVerified, match="get it again"):
        read_pinned(folder, TEST_LABELS)


def test_compressed_file_is_not_expanded_beyond_its_size(tmp_path: Path) -> None:
    folder = place(tmp_path, gzip.compress(bytes(100_000_000), compresslevel=1), ".gz")
    tracemalloc.start()
    with pytest.raises(NotVerified):
        read_pinned(folder, TEST_LABELS)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 5_000_000


def test_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelproofError, match=r"t10k-labels-idx1-ubyte is missing.*make setup"):
        read_pinned(tmp_path, TEST_LABELS)


def test_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / TEST_LABELS.name).mkdir()
    with pytest.raises(ModelproofError, match="cannot be read"):
        read_pinned(tmp_path, TEST_LABELS)


def test_right_hash_does_not_excuse_a_malformed_file(tmp_path: Path) -> None:
    pinned = PinnedFile("labels", 3, hashlib.sha256(b"abc").hexdigest())
    (tmp_path / "labels").write_bytes(b"abc")
    with pytest.raises(ModelproofError, match="not a valid IDX file"):
        read_labels(tmp_path, pinned)
