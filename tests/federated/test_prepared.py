"""What was prepared is written whole, and nothing of it is used before its hash is checked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml.errors import ModelproofError, NotVerified
from ml.federated import prepared
from ml.federated.configuration import Preparation
from ml.federated.preparation import Divided, divide, files_of
from ml.federated.splits import Iid
from ml.training import canonical
from ml.training.datasets import Dataset

CLIENT = "config/client_1_config.json"
SERVICE = "config/main_service_config.json"


@pytest.fixture(scope="module")
def divided(iris: Dataset) -> Divided:
    return divide(iris, Preparation(3, Iid()))


@pytest.fixture(scope="module")
def files(divided: Divided) -> dict[str, bytes]:
    return files_of(divided, "2026-01-31T12:00:00Z")


@pytest.fixture
def folder(files: dict[str, bytes], tmp_path: Path) -> Path:
    prepared.write(tmp_path / "iris", files)
    return tmp_path / "iris"


# --- Writing --------------------------------------------------------------------------------------


def test_all_files_and_no_others_are_written(folder: Path, files: dict[str, bytes]) -> None:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}
    assert found == files
    assert [path.name for path in folder.parent.iterdir()] == ["iris"]


def test_empty_folder_is_filled(files: dict[str, bytes], tmp_path: Path) -> None:
    prepared.write(tmp_path, files)
    prepared.check_files(tmp_path)


def test_nothing_is_overwritten(folder: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(ModelproofError, match="is there already"):
        prepared.write(folder, {"train/client_0.safetensors": b"other"})
    prepared.check_files(folder)
    with pytest.raises(ModelproofError, match="is there already"):
        prepared.write(folder / CLIENT, files)


def test_folder_is_not_there_where_it_could_not_be_written_whole(tmp_path: Path) -> None:
    with pytest.raises(ModelproofError, match=r"data cannot be written \(File exists"):
        prepared.write(tmp_path / "data", {"train": b"a file", "train/client_0": b"not below it"})
    assert list(tmp_path.iterdir()) == []


# --- Reading --------------------------------------------------------------------------------------


def test_client_reads_its_own_part(folder: Path, divided: Divided) -> None:
    data = prepared.read_client(folder / CLIENT)
    assert data.part.root == divided.clients[1].root
    assert data.configuration.client_id == 1


def test_client_needs_its_two_files_alone(folder: Path, divided: Divided) -> None:
    shutil.rmtree(folder / "test")
    for path in (SERVICE, "config/client_0_config.json", "train/client_0.safetensors"):
        (folder / path).unlink()
    assert prepared.read_client(folder / CLIENT).part.root == divided.clients[1].root


def test_service_reads_both_its_parts_and_needs_no_training_data(
    folder: Path, divided: Divided
) -> None:
    shutil.rmtree(folder / "train")
    assert prepared.read_validation(folder / SERVICE).root == divided.validation.root
    assert prepared.read_holdout(folder / SERVICE).root == divided.holdout.root


def test_configuration_is_found_by_any_path_to_it(
    folder: Path, divided: Divided, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "config")
    assert prepared.read_client(Path("client_1_config.json")).part.root == divided.clients[1].root


def test_metadata_is_read(folder: Path, divided: Divided) -> None:
    metadata = prepared.check_files(folder)
    assert metadata.preparation == divided.preparation
    assert metadata.dataset_version == divided.version


def test_only_the_files_that_are_named_are_checked(folder: Path) -> None:
    (folder / "test/holdout.safetensors").unlink()
    prepared.check_files(folder, ["test/validation.safetensors"])
    with pytest.raises(ModelproofError, match=r"does not name test/other\.safetensors"):
        prepared.check_files(folder, ["test/other.safetensors"])


# --- Faults ---------------------------------------------------------------------------------------

READERS: list[tuple[str, Callable[[Path], Any]]] = [
    ("train/client_1.safetensors", lambda folder: prepared.read_client(folder / CLIENT)),
    ("test/validation.safetensors", lambda folder: prepared.read_validation(folder / SERVICE)),
    ("test/holdout.safetensors", lambda folder: prepared.read_holdout(folder / SERVICE)),
    (CLIENT, prepared.check_files),
    ("train/client_0.safetensors", prepared.check_files),
]


@pytest.mark.parametrize(("path", "read"), READERS)
def test_flipped_bit_is_found(folder: Path, path: str, read: Callable[[Path], Any]) -> None:
    data = bytearray((folder / path).read_bytes())
    data[-1] ^= 1
    (folder / path).write_bytes(data)
    with pytest.raises(NotVerified, match=f"{path} is not the file that was prepared: its SHA-256"):
        read(folder)


@pytest.mark.parametrize(("path", "read"), READERS)
def test_missing_file_is_named(folder: Path, path: str, read: Callable[[Path], Any]) -> None:
    (folder / path).unlink()
    with pytest.raises(ModelproofError, match=f"{path} cannot be read .*`ape run prepare`"):
        read(folder)


def test_another_clients_part_is_not_taken(folder: Path) -> None:
    shutil.copy(folder / "train/client_0.safetensors", folder / "train/client_1.safetensors")
    with pytest.raises(NotVerified, match=r"client_1\.safetensors is not the file"):
        prepared.read_client(folder / CLIENT)


def restate(path: Path, **changes: Any) -> None:
    stated = json.loads(path.read_bytes())
    path.write_text(canonical.canonical_json({**stated, **changes}))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dataset_size": 41}, "another number of samples, or another root"),
        ({"dataset_root": "0x" + "00" * 32}, "another number of samples, or another root"),
        ({"classes_distribution": {"setosa": 40}}, "other numbers of samples per class"),
        ({"dataset_path": "../iris/train/client_1.safetensors"}, "does not lead to a file in"),
        ({"dataset_path": "/etc/passwd"}, "'/etc/passwd' does not lead to a file in"),
        ({"dataset_path": "train//client_1.safetensors"}, "does not lead to a file in"),
        ({"dataset_hash": "0x12"}, "dataset_hash: it must have 32 bytes"),
        ({"client_id": "1"}, "client_id"),
        ({"test_dataset_path": "test/validation.safetensors"}, "test_dataset_path"),
        ({"format": "modelproof.client-data.v2"}, "format"),
    ],
)
def test_configuration_that_states_anything_else_is_refused(
    folder: Path, changes: dict[str, Any], reason: str
) -> None:
    restate(folder / CLIENT, **changes)
    with pytest.raises(ModelproofError, match=reason):
        prepared.read_client(folder / CLIENT)


def test_paths_in_the_metadata_stay_in_the_folder(folder: Path) -> None:
    restate(folder / "train/metadata.json", hashes={"../secret": "0x" + "00" * 32})
    with pytest.raises(ModelproofError, match=r"'\.\./secret' does not lead"):
        prepared.check_files(folder)
