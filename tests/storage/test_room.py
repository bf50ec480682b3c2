"""Too little room for what passes through files of our own: said before, and no version is lost."""

from __future__ import annotations

import logging
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ml.storage.errors import StorageError
from ml.storage.hot_versions import HotVersions, UnusableCache
from ml.storage.local_store import LocalStore
from ml.storage.places import Places
from ml.storage.sidecar import Sidecar
from ml.storage.spool import spooled
from ml.storage.version_store import KeptVersion

from .versions import KEY, History, base, changed, kept

MUCH = 200_000


@pytest.fixture
def below_a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("in the way")
    return tmp_path / "file" / "folder"


@contextmanager
def room_for(most: int) -> Iterator[None]:
    """No file may become larger: what a full disk does, on any disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(LocalStore(tmp_path / "objects"), HotVersions(tmp_path / "hot", 1 << 20))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[KeptVersion, KeptVersion]:
    """A version, and the next one, which is much smaller."""
    large = {**base(), "large": ("U8", [MUCH], bytes(MUCH))}
    return kept(tmp_path, large, "one"), kept(tmp_path, changed(base()), "two")


def put_second(history: History, pair: tuple[KeptVersion, KeptVersion]) -> Sidecar:
    """The second version, with the first one's file at hand if it is still there."""
    first, second = pair
    at_hand = first.path if first.path.exists() else None
    return history.opened(KEY).put(second, [KEY], first.manifest.weights, at_hand)


def is_kept_whole(history: History, put: Sidecar, caplog: pytest.LogCaptureFixture) -> bool:
    said = [each for each in caplog.messages if each.startswith("a version is kept whole: ")]
    return put.payload.format == "safetensors" and len(said) == 1


def test_version_is_kept_whole_where_the_cache_cannot_be_made(
    history: History,
    pair: tuple[KeptVersion, KeptVersion],
    below_a_file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    history.put(pair[0], None)
    history.hot = HotVersions(below_a_file, 0)
    assert put_second(history, pair).payload.format == "modelproof-delta-v1"  # needs no cache
    pair[0].path.unlink()
    with caplog.at_level(logging.WARNING):
        assert is_kept_whole(history, put_second(history, pair), caplog)
    assert "cannot put versions together in" in caplog.text


def test_version_is_kept_whole_where_the_cache_has_no_room(
    history: History, pair: tuple[KeptVersion, KeptVersion], caplog: pytest.LogCaptureFixture
) -> None:
    history.put(pair[0], None)
    pair[0].path.unlink()
    with room_for(MUCH), caplog.at_level(logging.WARNING):
        assert is_kept_whole(history, put_second(history, pair), caplog)
    assert "File too large" in caplog.text


def test_version_is_kept_whole_where_there_are_no_temporary_files(
    history: History,
    pair: tuple[KeptVersion, KeptVersion],
    below_a_file: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history.put(pair[0], None)
    monkeypatch.setattr(tempfile, "tempdir", str(below_a_file))
    with caplog.at_level(logging.WARNING):
        assert is_kept_whole(history, put_second(history, pair), caplog)
    assert "TMPDIR names another folder" in caplog.text


def test_full_disk_of_temporary_files_is_said_in_one_sentence() -> None:
    """Also where the last bytes are still to be written when the file is closed."""
    for pieces in ([bytes(MUCH)], [bytes(1000)] * 101):
        refused = pytest.raises(StorageError, match="File too large; TMPDIR")
        with room_for(MUCH // 2), refused, spooled(pieces):
            pytest.fail("there was room")


def test_stores_that_are_given_objects_from_a_temporary_file_need_its_room(
    tmp_path: Path, below_a_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(below_a_file))
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    Places([one]).check()
    with pytest.raises(StorageError, match="TMPDIR names another folder"):
        Places([one, two]).check()


def test_cache_is_tried_before_it_is_needed(tmp_path: Path, below_a_file: Path) -> None:
    good = HotVersions(tmp_path / "hot", 0)
    good.check()
    assert list(good.root.iterdir()) == []
    with pytest.raises(UnusableCache, match="Not a directory; MODELPROOF_CACHE names another"):
        HotVersions(below_a_file, 0).check()
    with room_for(10), pytest.raises(UnusableCache, match="File too large"):
        good.check()
