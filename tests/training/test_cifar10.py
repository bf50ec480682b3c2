"""CIFAR-10 is read from the files of its binary version, byte by byte as they are described."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.errors import ModelproofError, NotVerified
from ml.training import cifar10
from ml.training.datasets import load_dataset

PUBLISHED_BYTES = cifar10.BATCH_RECORDS * cifar10.RECORD_BYTES
RECORDS = 100
"""Of a file, in these tests: as many as there really are would take a gigabyte as float32."""


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "BATCH_RECORDS", RECORDS)


def test_file_has_the_size_of_the_published_ones() -> None:
    assert PUBLISHED_BYTES == 30_730_000


def write(folder: Path, name: str, seed: int) -> NDArray[np.uint8]:
    records = np.random.default_rng(seed).integers(0, 256, (RECORDS, 3073), np.uint8)
    records[:, 0] %= 10
    (folder / name).write_bytes(records.tobytes())
    return records


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, cifar10.TEST_BATCH, 0)
    return tmp_path


def test_record_is_a_label_and_three_planes_of_pixels(folder: Path) -> None:
    written = write(folder, "data_batch_1.bin", 1)
    images, labels = cifar10.read_batches(folder, ["data_batch_1.bin"])
    assert images.shape == (RECORDS, 3, 32, 32)
    assert images.dtype == np.float32
    assert labels.tolist() == written[:, 0].tolist()
    assert images[7, 0, 0, 1] == written[7, 1 + 1]  # red, first row
    assert images[7, 1, 0, 0] == written[7, 1 + 1024]  # green
    assert images[7, 2, 31, 31] == written[7, 3072]  # blue, last row


def test_batches_follow_each_other(folder: Path) -> None:
    first, second = write(folder, "data_batch_1.bin", 1), write(folder, "data_batch_2.bin", 2)
    images, labels = cifar10.read_batches(folder, ["data_batch_2.bin", "data_batch_1.bin"])
    assert labels.tolist() == [*second[:, 0].tolist(), *first[:, 0].tolist()]
    assert images[RECORDS].ravel().tolist() == first[0, 1:].tolist()


def test_data_set_is_the_five_batches_and_the_test_batch(folder: Path) -> None:
    data = (folder / cifar10.TEST_BATCH).read_bytes()
    for name in cifar10.TRAIN_BATCHES:
        (folder / name).write_bytes(data)
    dataset = load_dataset("cifar10", folder)
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (5 * RECORDS, RECORDS)
    assert dataset.input_shape == (3, 32, 32)
    assert dataset.class_names[9] == "truck"


def test_without_a_folder_one_is_asked_for() -> None:
    with pytest.raises(ModelproofError, match="does not come with this project: name the folder"):
        load_dataset("cifar10")


def test_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(ModelproofError, match=r"data_batch_1\.bin is missing; name the folder"):
        load_dataset("cifar10", folder)


@pytest.mark.parametrize(("change", "size"), [(-1, "307299"), (1, "more")])
def test_other_size_is_refused(folder: Path, change: int, size: str) -> None:
    path = folder / cifar10.TEST_BATCH
    data = path.read_bytes()
    path.write_bytes(data[:change] if change < 0 else data + b"\0")
    with pytest.raises(NotVerified, match=f"has {size} bytes, not 307300"):
        cifar10.read_batches(folder, [cifar10.TEST_BATCH])


def test_label_that_is_none_is_refused(folder: Path) -> None:
    path = folder / cifar10.TEST_BATCH
    data = bytearray(path.read_bytes())
    data[3073 * 9] = 10
    path.write_bytes(data)
    with pytest.raises(NotVerified, match="has the label 10"):
        cifar10.read_batches(folder, [cifar10.TEST_BATCH])
