"""Processes beside the test's own, and ones that are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


def in_child(work: Callable[[], None]) -> int:
    """Do something in a process of its own; returns its number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def status_of(child: int) -> int:
    """How a child ended, once it has."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at(step: int) -> Callable[..., None]:
    """Ends this process without a word at the n-th call."""
    left = [step]

    def count(*happening: object) -> None:
        reads = any(str(part).startswith(("SELECT", "PRAGMA", "LOCK")) for part in happening)
        left[0] -= not reads
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return count
