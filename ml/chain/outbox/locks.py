"""One at a time: among the threads of this process, and among all processes that use a file."""

from __future__ import annotations

import fcntl
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from ml.chain.outbox.journal import JournalError
from ml.errors import ModelproofError

_PATIENCE_S: Final = 300.0
_FIRST_PAUSE_S: Final = 0.001
_LONGEST_PAUSE_S: Final = 0.05


class StillHeld(ModelproofError):
    """Another process does not let go."""


class Locks:
    """Locks by name.

    Args:
        folder: for their files, made if missing; None for locks among threads alone.
    """

    def __init__(self, folder: Path | None, patience_s: float = _PATIENCE_S) -> None:
        self._folder = folder
        self._patience_s = patience_s
        self._threads: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
        self._held: set[str] = set()
        self._making = threading.Lock()

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Hold a lock for the length of the block, again in a block within it.

        The kernel lets go of it if the process dies (flock(2)).

        Raises:
            JournalError: its file cannot be written.
            StillHeld: another process has held it for five minutes.
        """
        with self._making:
            lock = self._threads[name]
        with lock:
            if self._folder is None or name in self._held:
                yield
                return
            path = self._folder / f"{name}.lock"
            with _opened(path) as file:
                self._wait_for(file.fileno(), path)
                self._held.add(name)
                try:
                    yield
                finally:
                    self._held.discard(name)

    def _wait_for(self, file: int, path: Path) -> None:
        deadline, pause_s = time.monotonic() + self._patience_s, _FIRST_PAUSE_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StillHeld(
                        f"another process has held {path} for {self._patience_s:g} seconds: find"
                        " out what it is doing, or end it."
                    ) from None
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                return


def _opened(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w")
    except OSError as error:
        raise JournalError(
            f"the journal's lock {path} cannot be written ({error.strerror}): nothing is sent; see"
            " to the disk, the folder's rights, or MODELPROOF_OUTBOX."
        ) from error
