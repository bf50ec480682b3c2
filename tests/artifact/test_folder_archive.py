"""A folder in one file: the identity of the folder, and nothing that could be read in two ways."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ml.artifact import (
    AmbiguousModel,
    FileChanged,
    InvalidEntry,
    MalformedFile,
    UnreadableFile,
    UnsupportedFormat,
    WeightsMismatch,
    load_verified,
    open_model,
    read_manifest,
)
from ml.artifact.file_reader import FileReader
from ml.artifact.folder_archive import (
    BLOCK,
    _header,
    pack,
    pack_bytes,
    read_files,
    unpack_bytes,
)
from ml.errors import ModelproofError

from .builders import SMALL, file_bytes, write
from .test_folder import add
from .test_sharded import write_model

LONG = "a" * 99 + "/" + "b" * 50 + "/" + "ß" * 50
FILES = {
    "config.json": b"{}",
    "empty": b"",
    "sub/b.bin": bytes(BLOCK),
    "sub.x": bytes(BLOCK + 1),
    "größe €.txt": b"x",
    LONG: b"long",
}
CONFIG = (b"config.json", b"{}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    root.mkdir()
    write(root, file_bytes(SMALL))
    add(root, FILES)
    return root


@pytest.fixture
def packed(folder: Path) -> Path:
    path = folder.with_name("model.tar")
    pack(folder, path)
    return path


def test_archive_has_the_identity_and_the_manifest_of_its_folder(
    folder: Path, packed: Path
) -> None:
    assert read_manifest(packed).to_json() == read_manifest(folder).to_json()
    with open_model(packed) as model:
        assert model.layout.format == "archive"
        assert model.layout.is_one_file


def test_verified_tensors_of_an_archive_are_those_of_the_folder(folder: Path, packed: Path) -> None:
    weights = read_manifest(folder).weights
    assert load_verified(packed, weights) == load_verified(folder, weights)
    with pytest.raises(WeightsMismatch):
        load_verified(packed, bytes(32))


def test_shards_are_found_in_an_archive(tmp_path: Path) -> None:
    root = tmp_path / "model"
    root.mkdir()
    index = write_model(root)
    pack(root, tmp_path / "m.tar")
    assert read_manifest(tmp_path / "m.tar").weights == read_manifest(index).weights
    next(root.glob("*-00002-of-*")).unlink()
    pack(root, tmp_path / "m.tar")
    with pytest.raises(UnreadableFile, match=r"there is no file '.*' beside '.*m\.tar/"):
        read_manifest(tmp_path / "m.tar")


def test_archive_does_not_depend_on_the_folder_it_was_made_of(folder: Path, packed: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o700)
        os.utime(path, (1, 1))
    (folder / "empty subfolder").mkdir()
    add(folder, {".git/HEAD": b"x", "model.sig": b"{}"})
    other = folder.with_name("other.tar")
    pack(folder.rename(folder.with_name("moved")), other)
    assert other.read_bytes() == packed.read_bytes()


def test_archive_made_in_memory_is_that_of_the_folder(folder: Path, packed: Path) -> None:
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert pack_bytes(files) == packed.read_bytes()
    assert unpack_bytes(packed.read_bytes(), "it") == files


@pytest.mark.parametrize("path", ["../x", "/x", "", ".git/config", "model.sig"])
def test_file_that_no_archive_has_is_not_packed_in_memory(path: str) -> None:
    with pytest.raises(InvalidEntry):
        pack_bytes({path: b""})


def test_any_tar_unpacks_an_archive(folder: Path, packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "unpacked"
    out.mkdir()
    subprocess.run(["tar", "--no-same-owner", "-xf", packed, "-C", out], check=True)
    assert read_manifest(out).weights == read_manifest(folder).weights


def test_any_flipped_bit_is_refused_or_changes_the_identity(tmp_path: Path) -> None:
    root = tmp_path / "model"
    root.mkdir()
    write(root, file_bytes(SMALL))
    add(root, {"config.json": b"{}"})
    path = tmp_path / "m.tar"
    pack(root, path)
    whole, weights = path.read_bytes(), read_manifest(path).weights
    for at in random.Random(5).sample(range(len(whole)), 500):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        try:
            assert read_manifest(path).weights != weights
        except ModelproofError as error:
            assert str(error).isprintable()  # noqa: PT017 - both may happen


def test_any_truncation_is_refused(packed: Path) -> None:
    whole = packed.read_bytes()
    for length in (*range(BLOCK, len(whole), 500), len(whole) - 1):
        packed.write_bytes(whole[:length])
        with pytest.raises(MalformedFile, match="is not a valid archive of a model's folder"):
            read_manifest(packed)


def test_tar_that_was_made_otherwise_is_an_opaque_file(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.tar"
    subprocess.run(["tar", "-cf", path, "-C", folder, "."], check=True)
    assert read_manifest(path).is_opaque


def made(*members: tuple[bytes, bytes], end: bytes = bytes(2 * BLOCK)) -> bytes:
    """An archive of these paths and contents, whether a folder could have them or not."""
    whole = b""
    for path, data in members:
        whole += member(path, len(data)) + data + bytes(-len(data) % BLOCK)
    return whole + end


def member(path: bytes, size: int) -> bytes:
    return _header(path.decode("utf-8", "surrogateescape"), size)


def summed(header: bytes) -> bytes:
    """A header with the right checksum."""
    plain = header[:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(plain) + header[156:]


def changed(at: int, data: bytes) -> bytes:
    """An archive of one file, of whose header some bytes are others."""
    header = member(*CONFIG[:1], 2)
    rest = CONFIG[1] + bytes(BLOCK - 2) + bytes(2 * BLOCK)
    return summed(header[:at] + data + header[at + len(data) :]) + rest


HOSTILE: dict[str, tuple[bytes, str]] = {
    "a path that leads out": (made((b"../x", b"")), "does not stay inside the model"),
    "an absolute path": (made((b"/etc/passwd", b"")), "does not stay inside the model"),
    "a file twice": (made(CONFIG, CONFIG), "'config.json' does not belong there"),
    "files not in order": (made((b"x", b""), CONFIG), "'config.json' does not belong there"),
    "what never counts": (made((b".git/config", b"")), "'.git/config' does not belong there"),
    "a signature": (made((b"model.sig", b"")), "'model.sig' does not belong there"),
    "another mode": (changed(100, b"0004755"), "is not as it is written"),
    "an owner": (changed(108, b"0000001"), "is not as it is written"),
    "a date": (changed(136, b"00000000001"), "is not as it is written"),
    "a symbolic link": (changed(156, b"2"), "is not as it is written"),
    "a hard link": (changed(156, b"1"), "is not as it is written"),
    "a folder": (changed(156, b"5"), "is not as it is written"),
    "a sparse file": (changed(156, b"S"), "is not as it is written"),
    "an extended header": (changed(156, b"x"), "is not as it is written"),
    "a target of a link": (changed(157, b"/etc/passwd"), "is not as it is written"),
    "a group": (changed(297, b"root"), "is not as it is written"),
    "something at the end of a header": (changed(511, b"x"), "is not as it is written"),
    "another prefix": (changed(345, b"sub"), "is not as it is written"),
    "a size that is negative": (changed(124, b"-0000000002"), "a header that is damaged"),
    "a size of other digits": (changed(124, b"0000000000x"), "a header that is damaged"),
    "a size in blanks": (changed(124, b"          2"), "is not as it is written"),
    "an immense size": (changed(124, b"\x80" + b"\xff" * 11), "it is cut off"),
    "a small size in base 256": (changed(124, b"\x80" + bytes(10) + b"\2"), "is not as it is"),
    "a name that is not UTF-8": (changed(0, b"\xff"), "a header that is damaged"),
    "another checksum": (
        made(CONFIG)[:148] + b"000000\0 " + made(CONFIG)[156:],
        "is not as it is written",
    ),
    "something in the padding": (made((b"a", b"x"))[:-1025] + b"x" + bytes(1024), "hides behind"),
    "no end": (made(CONFIG, end=b""), "it is cut off"),
    "half an end": (made(CONFIG, end=bytes(BLOCK)), "it is cut off"),
    "something behind the end": (made(CONFIG) + b"x", "does not end where its files do"),
    "another archive behind the end": (made(CONFIG) + made(CONFIG), "does not end where"),
    "no second block of zeros": (made(CONFIG, end=bytes(BLOCK) + b"x" * BLOCK), "does not end"),
}


@pytest.mark.parametrize(("data", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_archive_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    path = write(tmp_path, data, "m.tar")
    with pytest.raises(MalformedFile, match=f"valid archive of a model's folder: .*{reason}"):
        read_manifest(path)
    with pytest.raises(MalformedFile, match=f"valid archive of a model's folder: .*{reason}"):
        unpack_bytes(data, "m.tar")


def test_file_of_more_than_8_gib_is_found(tmp_path: Path) -> None:
    path, size = tmp_path / "m.tar", 8 << 30
    with path.open("wb") as file:
        file.write(member(b"large.bin", size))
        file.truncate(BLOCK + size + 2 * BLOCK)
    with FileReader(path) as reader:
        (found,) = read_files(reader)
    assert (found.path, found.size) == ("large.bin", size)
    listed = subprocess.run(["tar", "-tvf", path], check=True, capture_output=True, text=True)
    assert str(size) in listed.stdout


def replaced_by_a_link(folder: Path) -> None:
    (folder / "empty").unlink()
    (folder / "empty").symlink_to("config.json")


def left_empty(folder: Path) -> None:
    subprocess.run(["rm", "-r", folder], check=True)
    folder.mkdir()


@pytest.mark.parametrize(
    ("spoil", "error", "reason"),
    [
        (replaced_by_a_link, UnreadableFile, "is neither a file nor a folder"),
        (left_empty, AmbiguousModel, "there is nothing in the folder"),
        (lambda folder: add(folder, {"x" * 101: b""}), UnsupportedFormat, "is too long"),
        (lambda folder: add(folder, {"a\\b": b""}), InvalidEntry, "does not stay inside"),
    ],
)
def test_folder_that_cannot_be_packed_is_refused_and_leaves_nothing(
    folder: Path, spoil: Callable[[Path], object], error: type[Exception], reason: str
) -> None:
    spoil(folder)
    with pytest.raises(error, match=reason):
        pack(folder, folder.with_name("m.tar"))
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_archive_that_shrinks_is_refused(packed: Path) -> None:
    with open_model(packed) as model:
        os.truncate(packed, packed.stat().st_size - 1)
        with pytest.raises(FileChanged, match="changed while it was read"):
            model.manifest()


def test_archive_may_be_named_by_a_link(packed: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(packed)
    assert read_manifest(link) == read_manifest(packed)


def test_key_chooses_in_the_checkpoint_of_an_archive(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    state = {name: torch.arange(3) + number for number, name in enumerate("ab")}
    torch.save({name: {"w": value} for name, value in state.items()}, folder / "model.pt")
    path = tmp_path / "m.tar"
    pack(folder, path)
    with pytest.raises(AmbiguousModel, match="has the state dicts 'a', 'b'; say which"):
        read_manifest(path)
    for key in state:
        assert read_manifest(path, key=key) == read_manifest(folder, key=key)
