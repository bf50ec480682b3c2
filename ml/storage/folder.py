"""A folder of files that are there whole or not at all, whenever a writer is killed.

A new file is written under ``.partial``, and gets its name, by a rename, once its bytes are on the
disk; the name is on the disk before the writer goes on. What a killed writer leaves there, the next
one removes: writers hold a shared lock on ``.partial``, which the system takes from the dead, so
that who gets it exclusively knows that nobody is writing.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from ml.artifact.errors import quoted_path
from ml.files import sync_folder

from .errors import StorageError
from .pieces import Piece

_PARTIAL: Final = ".partial"
_MODE: Final = 0o644


class NewFile:
    """A file that is being written and has no name yet."""

    def __init__(self, folder: Path, handle: int, path: Path) -> None:
        self._folder = folder
        self._file = os.fdopen(handle, "wb")
        self._path = path

    def write(self, piece: Piece) -> None:
        """Append some bytes.

        Raises:
            StorageError: the disk does not take them; so does `publish`.
        """
        with _failing_clearly(self._folder):
            self._file.write(piece)

    def publish(self, name: str) -> None:
        """Give the file its name, in place of one that has it; both are on the disk then."""
        self.finish()
        with _failing_clearly(self._folder):
            self.take(name)
            sync_folder(self._folder)

    def finish(self) -> None:
        """Have all bytes on the disk; no more can be appended."""
        with _failing_clearly(self._folder):
            self._file.flush()
            os.fchmod(self._file.fileno(), _MODE)
            os.fsync(self._file.fileno())
            self._file.close()

    def take(self, name: str) -> None:
        """Take a name, which the folder has on the disk once it is synced."""
        self._path.replace(self._folder / name)

    def close(self) -> None:
        """Close the file, and remove it if it was not published."""
        with suppress(OSError):  # bytes that nobody wants any more need not fit the disk
            self._file.close()
        self._path.unlink(missing_ok=True)


class Folder:
    """The files in a folder, which is made when the first one is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path / _PARTIAL

    @contextmanager
    def new_file(self) -> Iterator[NewFile]:
        """Begin a file; unless the block publishes it, nothing of it stays.

        Raises:
            StorageError: the folder cannot be made or written to.
        """
        with self._writing(), closing(self._begin()) as file:
            yield file

    def write_all(self, files: Mapping[str, bytes]) -> None:
        """Write small files, each in place of one that has its name; all are on the disk then.

        Raises:
            StorageError: the folder cannot be made or written to; none is there then, as a rule.
        """
        with self._writing(), ExitStack() as stack:
            finished: list[tuple[str, NewFile]] = []
            for name, data in files.items():
                file = stack.enter_context(closing(self._begin()))
                file.write(data)
                file.finish()
                finished.append((name, file))
            with _failing_clearly(self.path):
                for name, file in finished:
                    file.take(name)
                sync_folder(self.path)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Let nobody take for a dead writer's what is begun in the block."""
        with ExitStack() as stack:
            with _failing_clearly(self.path):
                _make(self._partial)
                stack.enter_context(_locked_by_writer(self._partial))
            yield

    def _begin(self) -> NewFile:
        with _failing_clearly(self.path):
            handle, path = tempfile.mkstemp(dir=self._partial)
            return NewFile(self.path, handle, Path(path))

    def delete(self, name: str) -> None:
        """Remove a file, if there is one of that name; it is gone from the disk then.

        Raises:
            StorageError: the system does not let go of it.
        """
        with _failing_clearly(self.path), suppress(FileNotFoundError):
            (self.path / name).unlink()
            sync_folder(self.path)

    def changed_at(self, name: str) -> float | None:
        """When what has this name was written last, in seconds since the epoch, or None.

        Nothing but a name that is not there is None: a folder that does not say what it has, as
        one below a file, or on a disk that fails, does not count as an empty one.

        Raises:
            StorageError: the system does not tell.
        """
        path = self.path / name
        with _failing_clearly(path, "read"):
            try:
                return path.stat().st_mtime
            except FileNotFoundError:
                return None

    def read(self, name: str) -> bytes | None:
        """Return what is in a small file, or None if there is none of that name.

        Raises:
            StorageError: the system does not give it.
        """
        path = self.path / name
        with _failing_clearly(path, "read"):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

    def names(self) -> list[str]:
        """The names of what is in the folder; none if there is no folder yet.

        Raises:
            StorageError: the system does not tell.
        """
        with _failing_clearly(self.path, "read"):
            try:
                return [each.name for each in self.path.iterdir() if each.name != _PARTIAL]
            except FileNotFoundError:
                return []

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Wait until no other process or thread is in such a block of this folder.

        Raises:
            StorageError: the folder cannot be opened.
        """
        with ExitStack() as stack:
            # without the folder, there is nothing to update either
            with _failing_clearly(self.path), suppress(FileNotFoundError):
                handle = stack.enter_context(_open_folder(self.path))
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield


@contextmanager
def _failing_clearly(path: Path, doing: str = "write to") -> Iterator[None]:
    """Say in one sentence what the system says in a code."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StorageError(f"cannot {doing} {quoted_path(path)}: {reason}") from error


@contextmanager
def _locked_by_writer(partial: Path) -> Iterator[None]:
    """Hold the lock of a writer; where nobody else does, remove first what the dead left."""
    with _open_folder(partial) as handle:
        with suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in partial.iterdir():
                left.unlink(missing_ok=True)
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield


@contextmanager
def _open_folder(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def _make(path: Path) -> None:
    """Make a folder and those above it, all of them on the disk."""
    if path.is_dir():
        return
    _make(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)
