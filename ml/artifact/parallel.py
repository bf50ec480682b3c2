"""Jobs on as many threads as there are processors, each with a buffer of its own.

Threads suffice: reading and digesting let go of Python's global lock.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from .file_reader import PIECE_BYTES, Progress

if TYPE_CHECKING:
    from threading import Thread

_WORTH_A_THREAD_BYTES: Final = 4 * PIECE_BYTES


class Job(NamedTuple):
    """Something to do, given a buffer of ``PIECE_BYTES`` to do it in, or of ``nbytes`` at least."""

    nbytes: int
    """How much there is to read: what is large is begun first."""
    run: Callable[[memoryview], None]


class Stopped(Exception):
    """Raised inside a job when another has failed."""


class Meter:
    """Counts the bytes that jobs have done, and reports them, from one thread at a time."""

    def __init__(self, total: int, progress: Progress | None = None) -> None:
        self.stopped = False
        """Set when a job has failed: the others end at their next piece."""
        self._total = total
        self._progress = progress
        self._done = 0
        self._reported = -1
        self._lock = allocate_lock()

    def count(self, pieces: Iterable[memoryview]) -> Iterator[memoryview]:
        """Yield the pieces, each counted once it was used."""
        for piece in pieces:
            yield piece
            self.add(len(piece))

    def add(self, nbytes: int) -> None:
        """Count some bytes.

        Raises:
            Stopped: another job has failed.
        """
        if self.stopped:
            raise Stopped
        if self._progress is None:
            return
        with self._lock:
            self._done += nbytes
            if self._done - self._reported >= PIECE_BYTES:
                self._report()

    def finish(self) -> None:
        """Report all bytes, unless that was done."""
        if self._reported != self._done:
            self._report()

    def _report(self) -> None:
        self._reported = self._done
        if self._progress is not None:
            self._progress(self._done, self._total)


def run_all(jobs: list[Job], meter: Meter) -> None:
    """Run every job, the largest first; when one fails the others stop, and its error is raised."""
    total = sum(job.nbytes for job in jobs)
    # Fresh memory costs more than small models do.
    buffer_bytes = min(PIECE_BYTES, max((job.nbytes for job in jobs), default=0))
    workers = min(_processors(), len(jobs), max(1, total // _WORTH_A_THREAD_BYTES))
    # A list's iterator hands each job out once, whichever thread asks.
    waiting = iter(sorted(jobs, key=lambda job: job.nbytes, reverse=True))
    failures: list[BaseException] = []

    def work() -> None:
        buffer = memoryview(bytearray(buffer_bytes))
        try:
            for job in waiting:
                job.run(buffer)
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            failures.append(error)
            meter.stopped = True

    threads = _started(work, workers - 1)
    work()
    try:
        _join(threads)
    except BaseException:  # interrupted: what they read from is about to be closed
        meter.stopped = True
        _join(threads)
        raise
    if failures:
        raise failures[0]


def _started(work: Callable[[], None], count: int) -> list[Thread]:
    """Start threads; a small model does without them and without what importing them costs."""
    if count == 0:
        return []
    from threading import Thread

    threads: list[Thread] = []
    for _ in range(count):
        thread = Thread(target=work)
        try:
            thread.start()
        except RuntimeError:  # the system has no more to give: these will do
            break
        threads.append(thread)
    return threads


def _join(threads: Iterable[Thread]) -> None:
    for thread in threads:
        thread.join()


def _processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))
