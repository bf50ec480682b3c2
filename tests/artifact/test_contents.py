"""What files and folders are known by in a log."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from eth_abi.abi import encode

from ml.artifact import ArtifactError, InvalidEntry, UnreadableFile, merkle
from ml.artifact.contents import contents_of, files_of
from ml.artifact.keccak import keccak256

TYPES = ["string", "uint256", "bytes32"]
FILES = {"labels.csv": b"7,2,1\n", "images/0": b"\x00\x01", "images/raw/0": b"", "ö": b"\xff"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "set"


def test_file_is_known_by_its_sha256_whatever_it_is_called(folder: Path) -> None:
    for name, data in FILES.items():
        contents = contents_of(folder / name)
        assert (contents.digest, contents.files) == (hashlib.sha256(data).digest(), 1)


def test_folder_is_known_by_the_standard_tree_over_its_files(folder: Path) -> None:
    values = [
        (name, len(data), hashlib.sha256(data).digest()) for name, data in sorted(FILES.items())
    ]
    leaves = [keccak256(keccak256(encode(TYPES, value))) for value in values]
    contents = contents_of(folder)
    assert (contents.digest, contents.files) == (merkle.MerkleTree(leaves).root, len(FILES))


def test_folder_is_the_same_wherever_it_is_and_with_empty_folders(
    folder: Path, tmp_path: Path
) -> None:
    before = contents_of(folder)
    moved = folder.rename(tmp_path / "elsewhere")
    (moved / "empty" / "too").mkdir(parents=True)
    assert contents_of(moved) == before


@pytest.mark.parametrize("change", ["content", "name", "more", "less", "place"])
def test_changed_folder_is_another_one(folder: Path, change: str) -> None:
    before = contents_of(folder)
    match change:
        case "content":
            (folder / "labels.csv").write_bytes(b"7,2,2\n")
        case "name":
            (folder / "labels.csv").rename(folder / "labels.CSV")
        case "more":
            (folder / ".hidden").touch()
        case "less":
            (folder / "images/raw/0").unlink()
        case "place":
            (folder / "images/0").rename(folder / "0")
    assert contents_of(folder).digest != before.digest


def test_nothing_is_not_digested(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="there is no file"):
        contents_of(tmp_path / "nowhere")
    (tmp_path / "empty" / "too").mkdir(parents=True)
    with pytest.raises(ArtifactError, match="has no files"):
        contents_of(tmp_path / "empty")


@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "broken link", "pipe"])
def test_what_is_neither_file_nor_folder_is_refused(folder: Path, kind: str) -> None:
    odd = folder / "images" / "odd"
    match kind:
        case "link to a file":
            odd.symlink_to(folder / "labels.csv")
        case "link to a folder":
            odd.symlink_to(folder)
        case "broken link":
            odd.symlink_to("nowhere")
        case "pipe":
            os.mkfifo(odd)
    with pytest.raises(UnreadableFile, match="odd' is neither a file nor a folder"):
        contents_of(folder)


@pytest.mark.parametrize("name", [b"\xff", b"a\\b"])
def test_file_whose_name_has_two_readings_is_refused(folder: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).touch()
    with pytest.raises(InvalidEntry):
        contents_of(folder)


# --- The files of several paths -------------------------------------------------------------------


def names(*paths: Path) -> list[str]:
    return [name for name, file in files_of(paths) if file.is_file()]


def test_files_are_named_below_what_is_common_to_the_paths(folder: Path) -> None:
    whole = ["set/images/0", "set/images/raw/0", "set/labels.csv", "set/ö"]
    assert names(folder) == whole
    assert names(folder / "labels.csv") == ["labels.csv"]
    assert names(folder / "images/raw", folder / "images/0") == ["0", "raw/0"]
    assert names(folder / "images/raw/0", folder / "images/0") == ["0", "raw/0"]
    assert names(folder / "images/raw/0", folder / "labels.csv") == ["images/raw/0", "labels.csv"]


def test_files_are_named_wherever_the_paths_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "images")
    assert names(Path("0"), Path("../labels.csv")) == ["images/0", "labels.csv"]


def test_file_that_is_named_twice_is_refused(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="'set/images/0' is named twice"):
        files_of([folder, folder / "images/0"])
