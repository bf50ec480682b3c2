"""A progress bar for what takes longer than a second, on standard error if that is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from .file_reader import Progress

if TYPE_CHECKING:
    from typing import TextIO

_SHOWN_AFTER_S: Final = 1.0
_REDRAWN_AFTER_S: Final = 0.1
_WIDTH: Final = 30
_ERASE_LINE: Final = "\r\x1b[K"


class ProgressBar:
    """Draws itself as bytes are done; a context manager that leaves an empty line behind."""

    def __init__(
        self, terminal: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin to count the seconds; ``terminal`` is standard error unless given."""
        self._terminal: Final = terminal or sys.stderr
        self._clock: Final = clock
        self._began = self._drawn = clock()
        self._is_shown = False

    def __enter__(self) -> Progress | None:
        """Return what to report progress to; None where nobody would see it."""
        return self._report if self._terminal.isatty() else None

    def __exit__(self, *error: object) -> None:
        """Erase the bar."""
        if self._is_shown:
            self._terminal.write(_ERASE_LINE)
            self._terminal.flush()

    def _report(self, done: int, total: int) -> None:
        now = self._clock()
        if now - self._began < _SHOWN_AFTER_S or now - self._drawn < _REDRAWN_AFTER_S:
            return
        self._drawn, self._is_shown = now, True
        self._terminal.write(_ERASE_LINE + bar(done, total, now - self._began))
        self._terminal.flush()


def bar(done: int, total: int, elapsed_s: float) -> str:
    """Draw a bar: what share of how many bytes is done, how fast, and how long it will take."""
    share = done / total if total else 1.0
    filled = int(_WIDTH * share)
    speed = done / elapsed_s if elapsed_s else 0.0
    left_s = (total - done) / speed if speed else 0.0
    return (
        f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {share:4.0%} of {total / 1e9:.1f} GB,"
        f" {speed / 1e9:.2f} GB/s, {left_s:.0f} s left"
    )
