"""Files that are missing, special, or change while they are read."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ml.artifact import (
    FileChanged,
    UnreadableFile,
    load_verified,
    load_verified_file,
    read_manifest,
)
from ml.artifact.file_reader import PIECE_BYTES, FileReader

from .builders import file_bytes, write

MIB = 1 << 20
NOBODY = 65_534


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A model of one tensor of three pieces and a bit."""
    data = bytes(3 * MIB + 5)
    return write(tmp_path, file_bytes({"a": ("U8", [len(data)], data)}))


def resize(path: Path, size: int) -> Callable[[int, int], None]:
    """A progress callback that resizes the file once the first piece was read."""

    def progress(done: int, total: int) -> None:
        if MIB <= done < 2 * MIB:
            os.truncate(path, size)

    return progress


@pytest.mark.parametrize("size", [0, 100, 2 * MIB])
def test_file_that_shrinks_while_it_is_read_is_refused(large: Path, size: int) -> None:
    before = large.stat().st_size
    with pytest.raises(FileChanged, match=f"from {before} to {size} bytes"):
        read_manifest(large, progress=resize(large, size))


def test_file_that_shrinks_while_it_is_loaded_is_refused(large: Path) -> None:
    weights = read_manifest(large).weights
    with pytest.raises(FileChanged):
        load_verified(large, weights, progress=resize(large, 100))


def test_file_that_grows_while_it_is_read_is_refused(large: Path) -> None:
    size = large.stat().st_size + 1
    with pytest.raises(FileChanged, match=f"to {size} bytes"):
        read_manifest(large, progress=resize(large, size))


def test_opaque_file_that_grows_while_it_is_read_is_refused(large: Path) -> None:
    opaque = large.rename(large.with_suffix(".joblib"))
    with pytest.raises(FileChanged):
        read_manifest(opaque, progress=resize(opaque, 4 * MIB))


def test_progress_counts_up_to_the_bytes_of_the_tensors(large: Path) -> None:
    calls: list[tuple[int, int]] = []
    read_manifest(large, progress=lambda done, total: calls.append((done, total)))
    size = 3 * MIB + 5
    assert calls[-1] == (size, size)
    assert len(calls) == 4
    assert calls == sorted(set(calls))


def test_progress_of_many_small_tensors_is_reported_rarely(tmp_path: Path) -> None:
    tensors = {str(i): ("U8", [1], b"x") for i in range(1000)}
    calls: list[int] = []
    path = write(tmp_path, file_bytes(tensors))
    read_manifest(path, progress=lambda done, _: calls.append(done))
    assert calls == [1000]


def test_identifying_takes_memory_for_one_piece(tmp_path: Path) -> None:
    data = bytes(24 * MIB)
    path = write(tmp_path, file_bytes({"a": ("U8", [len(data)], data)}))
    tracemalloc.start()
    try:
        read_manifest(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * MIB


def test_pieces_are_whole_but_the_last(large: Path) -> None:
    with FileReader(large) as reader:
        sizes = [len(piece) for piece in reader.pieces(7, reader.size)]
    assert sizes[:-1] == [PIECE_BYTES] * (len(sizes) - 1)
    assert sum(sizes) == large.stat().st_size - 7


def test_folder_under_the_name_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="is a folder; name one model file in it"):
        load_verified_file(tmp_path, bytes(32))


def test_named_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "model.safetensors"
    os.mkfifo(pipe)
    with pytest.raises(UnreadableFile, match="is not a regular file"):
        read_manifest(pipe)


def test_endless_device_is_refused() -> None:
    with pytest.raises(UnreadableFile, match="is not a regular file"):
        read_manifest("/dev/zero")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.joblib", "there is no file"),
        ("a\0b.joblib", "null byte"),
        (300 * "x", "File name too long"),
        ("file/inside", "Not a directory"),
    ],
)
def test_path_that_cannot_be_opened_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    write(tmp_path, b"", "file")
    with pytest.raises(UnreadableFile, match=reason):
        read_manifest(tmp_path / name)


def test_link_to_itself_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "model.safetensors"
    link.symlink_to(link)
    with pytest.raises(UnreadableFile, match="cannot read"):
        read_manifest(link)


def test_file_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, b"")
    path.chmod(0)
    monkeypatch.chdir(tmp_path)  # whose parents only their owner may enter
    with as_nobody(), pytest.raises(UnreadableFile, match="check the path and its permissions"):
        read_manifest(path.name)


@contextmanager
def as_nobody() -> Iterator[None]:
    """The superuser may read everything, so a test that runs as root steps down for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_path_that_is_not_unicode_is_shown_escaped(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.joblib")
    with pytest.raises(UnreadableFile) as caught:
        read_manifest(path)
    assert r"\udcff.joblib" in str(caught.value)
    assert str(caught.value).isprintable()
