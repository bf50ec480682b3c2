"""A copy with one bit flipped: exactly that bit, and never the original."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.artifact import compare, load_verified, read_manifest
from ml.artifact.errors import MalformedFile, UnknownTensor, UnreadableFile
from ml.artifact.folder_archive import pack
from ml.artifact.tampering import tamper
from ml.errors import NotVerified

from .builders import SMALL, Tensors, file_bytes, write


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path, file_bytes(SMALL))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "copy" / "tampered.safetensors"


def flipped(original: Path, copy: Path) -> list[tuple[int, int]]:
    """Where two files of one length differ, and in which bits."""
    pairs = zip(original.read_bytes(), copy.read_bytes(), strict=True)
    return [(at, one ^ other) for at, (one, other) in enumerate(pairs) if one != other]


def test_one_bit_is_flipped_and_no_more(model: Path, target: Path) -> None:
    tamper(model, target)
    assert [bits for _, bits in flipped(model, target)] == [1]


def test_original_stays_as_it_is(model: Path, target: Path) -> None:
    before = model.read_bytes()
    tamper(model, target)
    assert model.read_bytes() == before


@pytest.mark.parametrize("tensor", list(SMALL))
def test_named_tensor_is_the_one_that_differs(model: Path, target: Path, tensor: str) -> None:
    assert repr(tensor) in tamper(model, target, tensor)
    (difference,) = compare(read_manifest(model), read_manifest(target))
    assert difference.name == tensor


def test_tampered_copy_still_parses_and_is_not_verified(model: Path, target: Path) -> None:
    tamper(model, target)
    original = read_manifest(model)
    with pytest.raises(NotVerified, match=r"fc\.weight"):
        load_verified(target, original.weights, expected=original)


def test_first_tensor_that_has_weights_is_taken(tmp_path: Path, target: Path) -> None:
    tensors: Tensors = {"empty": ("F32", [0], b""), **SMALL}
    assert "'fc.weight'" in tamper(write(tmp_path, file_bytes(tensors)), target)


@pytest.mark.parametrize("tensor", ["fc.wait", "empty", "\x1b[31m"])
def test_tensor_without_weights_is_refused_with_those_that_have_some(
    tmp_path: Path, target: Path, tensor: str
) -> None:
    tensors: Tensors = {"empty": ("F32", [0], b""), **SMALL}
    with pytest.raises(UnknownTensor, match=r"it has fc\.weight, fc\.bias, steps") as caught:
        tamper(write(tmp_path, file_bytes(tensors)), target, tensor)
    assert str(caught.value).isprintable()
    assert not target.exists()


def test_opaque_file_is_changed_in_its_middle(tmp_path: Path, target: Path) -> None:
    opaque = write(tmp_path, bytes(101), "forest.joblib")
    assert tamper(opaque, target) == "its middle byte"
    assert flipped(opaque, target) == [(50, 1)]


def test_tensor_of_an_opaque_file_is_refused(tmp_path: Path, target: Path) -> None:
    with pytest.raises(UnknownTensor, match="has no tensors, so none is called"):
        tamper(write(tmp_path, b"joblib", "forest.joblib"), target, "fc.weight")


def folder_of(tmp_path: Path, files: dict[str, bytes]) -> Path:
    """The archive of a folder with these files."""
    (folder := tmp_path / "folder").mkdir()
    for name, data in files.items():
        write(folder, data, name)
    pack(folder, tmp_path / "packed.tar")
    return tmp_path / "packed.tar"


@pytest.mark.parametrize("tensor", [None, "steps"])
def test_archive_of_a_folder_is_changed_in_one_tensor(
    tmp_path: Path, target: Path, tensor: str | None
) -> None:
    files = {"a.json": b"{}", "model.safetensors": file_bytes(SMALL), "z.json": b"[]"}
    archive, copy = folder_of(tmp_path, files), target.with_suffix(".tar")
    wanted = tensor or "fc.weight"
    assert repr(wanted) in tamper(archive, copy, tensor)
    assert [bits for _, bits in flipped(archive, copy)] == [1]
    (difference,) = compare(read_manifest(archive), read_manifest(copy))
    assert difference.name == wanted


def test_archive_without_tensors_is_changed_in_one_file(tmp_path: Path, target: Path) -> None:
    archive = folder_of(tmp_path, {"a.bin": b"", "b.joblib": bytes(101)})
    copy = target.with_suffix(".tar")
    assert tamper(archive, copy) == "the middle byte of 'b.joblib'"
    (difference,) = compare(read_manifest(archive), read_manifest(copy))
    assert difference.name == "b.joblib"


def test_empty_file_is_refused_and_nothing_is_left_behind(tmp_path: Path, target: Path) -> None:
    with pytest.raises(UnknownTensor, match="nothing to change"):
        tamper(write(tmp_path, b"", "forest.joblib"), target)
    assert list(target.parent.iterdir()) == []


def test_model_without_weights_is_refused(tmp_path: Path, target: Path) -> None:
    with pytest.raises(UnknownTensor, match="no weights"):
        tamper(write(tmp_path, file_bytes({"empty": ("F32", [0], b"")})), target)


def test_malformed_file_is_refused(tmp_path: Path, target: Path) -> None:
    with pytest.raises(MalformedFile):
        tamper(write(tmp_path, b"no header"), target)
    assert not target.exists()


@pytest.mark.parametrize("name", ["gone.safetensors", "gone.joblib"])
def test_missing_file_is_refused_in_a_sentence(tmp_path: Path, target: Path, name: str) -> None:
    with pytest.raises(UnreadableFile, match="there is no file"):
        tamper(tmp_path / name, target)
    assert not target.exists()
