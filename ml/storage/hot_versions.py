"""A cache of versions' files, bounded in bytes.

They are in the clear, though the objects that they are made from are encrypted: they are their
owner's alone to read, in a folder that is made so that nobody else may enter it, and refused if
others may write to it, who could exchange a file after it was verified.
What is in it is verified again whenever it is used, and what has another name is left alone.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from ml.artifact.errors import quoted_path

from .errors import StorageError
from .model_files import manifest_of

_VERSION: Final = re.compile(r"[0-9a-f]{64}(\..*)?")
"""The name of a version's file; that of one in the making begins with a dot."""
MODE: Final = 0o600
"""Of the files here."""
_FOLDER_MODE: Final = 0o700
_NO_VERSION: Final = "0" * 64


class UnusableCache(StorageError):
    """The folder in which versions are put together cannot be used."""


class HotVersions:
    """Files of versions that were used lately, by their identity, in a folder of bounded size."""

    def __init__(self, root: Path, limit_bytes: int) -> None:
        """Make nothing yet; a limit of 0 keeps no file longer than it is needed."""
        self.root: Final = root
        self.limit_bytes: Final = limit_bytes

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have the folder to oneself: other processes and threads wait. Ends within the limit.

        Meanwhile the folder may hold one file more, or two where one is larger than the limit: the
        one that is being made, and the one before it.

        Raises:
            UnusableCache: the folder cannot be made or opened, or others may write to it.
        """
        with ExitStack() as stack:
            with self.failing_clearly():
                self.root.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
                handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, handle)
                self._check_owner(os.fstat(handle))
                fcntl.flock(handle, fcntl.LOCK_EX)
                for left in self._named("."):  # by a process that was killed
                    left.unlink(missing_ok=True)
                for path in self._named(""):
                    path.chmod(MODE)  # earlier ones were for all to read
            stack.callback(self.trim)
            yield

    def check(self) -> None:
        """See that a file can be made here; raises `UnusableCache`."""
        with self.held(), self.failing_clearly():
            tried = self.root / f".{_NO_VERSION}.tried"
            tried.write_bytes(_NO_VERSION.encode())
            tried.unlink()

    @contextmanager
    def failing_clearly(self) -> Iterator[None]:
        """Say in one sentence what the system has against what is done in the folder."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise UnusableCache(
                f"cannot put versions together in {quoted_path(self.root)}: {reason};"
                " MODELPROOF_CACHE names another folder"
            ) from error

    def place(self, weights: bytes, suffix: str) -> Path:
        """Where the file of a version goes; its suffix says its format, as everywhere."""
        return self.root / f"{weights.hex()}{suffix}"

    def find(self, weights: bytes) -> Path | None:
        """The file of a version, verified, if it is here; one that is not right is removed.

        Raises:
            UnusableCache: the system does not let it be.
        """
        with self.failing_clearly():
            for path in sorted(self.root.glob(f"{weights.hex()}*")):
                if manifest_of(path, weights):
                    os.utime(path)
                    return path
                path.unlink()
        return None

    def trim(self, *needed: Path) -> None:
        """Remove the files that were used longest ago, until the others are within the limit.

        ``needed`` ones stay, and count first.

        Raises:
            UnusableCache: the system does not let go of one.
        """
        with self.failing_clearly():
            here = [(path, path.stat()) for path in self._named("")]
            here.sort(key=lambda each: (each[0] in needed, each[1].st_mtime_ns), reverse=True)
            total = 0
            for path, status in here:
                if path in needed or total + status.st_size <= self.limit_bytes:
                    total += status.st_size
                else:
                    path.unlink()

    def _check_owner(self, folder: os.stat_result) -> None:
        if folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise UnusableCache(
                f"others than its owner may write to {quoted_path(self.root)}, where versions are"
                " put together: `chmod 700` it, or name another folder by MODELPROOF_CACHE"
            )
        if folder.st_uid not in (0, os.geteuid()):
            raise UnusableCache(
                f"{quoted_path(self.root)}, where versions are put together, belongs to somebody"
                " else: name another folder by MODELPROOF_CACHE"
            )

    def _named(self, prefix: str) -> list[Path]:
        """Our own files: this prefix, and then a version's name."""
        return [
            path
            for path in self.root.glob(f"{prefix}*")
            if path.name.startswith(prefix) and _VERSION.fullmatch(path.name[len(prefix) :])
        ]
