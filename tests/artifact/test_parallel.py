"""Jobs on threads: all are done, and one that fails ends all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from ml.artifact import parallel
from ml.artifact.file_reader import PIECE_BYTES
from ml.artifact.parallel import Job, Meter, Stopped, run_all

LARGE = 100 * PIECE_BYTES


@pytest.fixture(autouse=True)
def _processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many threads as on any machine that the tests may run on."""
    monkeypatch.setattr(parallel, "_processors", lambda: 3)


def jobs(count: int, run: Callable[[int], object], nbytes: int = LARGE) -> list[Job]:
    return [Job(nbytes, lambda _, index=index: run(index)) for index in range(count)]


@pytest.mark.parametrize("nbytes", [0, 1, LARGE])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_every_job_is_done_once(count: int, nbytes: int) -> None:
    done: list[int] = []
    run_all(jobs(count, done.append, nbytes), Meter(0))
    assert sorted(done) == list(range(count))


def test_each_thread_has_a_buffer_of_its_own() -> None:
    met = threading.Barrier(3)
    buffers: list[memoryview] = []

    def run(buffer: memoryview) -> None:
        met.wait(60)  # all three at once
        buffers.append(buffer)

    run_all([Job(LARGE, run)] * 3, Meter(0))
    assert len({id(buffer.obj) for buffer in buffers}) == 3
    assert {len(buffer) for buffer in buffers} == {PIECE_BYTES}


def test_small_work_is_done_without_threads() -> None:
    seen: set[threading.Thread] = set()
    run_all(jobs(50, lambda _: seen.add(threading.current_thread()), 1), Meter(0))
    assert seen == {threading.current_thread()}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_error_of_a_job_is_raised_and_ends_the_others(error: type[BaseException]) -> None:
    failed = threading.Event()
    stopped: list[int] = []
    meter = Meter(0)

    def run(index: int) -> None:
        if index == 0:
            failed.set()
            raise error("first")
        failed.wait(60)
        try:
            while True:
                meter.add(1)
        except Stopped:
            stopped.append(index)
            raise

    with pytest.raises(error, match="first"):
        run_all(jobs(50, run), meter)
    assert len(stopped) <= 2


def test_largest_job_is_begun_first() -> None:
    order: list[int] = []
    sizes = [1, 5, 3, 2, 4]
    run_all([Job(n, lambda _, n=n: order.append(n)) for n in sizes], Meter(0))
    assert order == sorted(sizes, reverse=True)


def test_progress_is_reported_from_one_thread_at_a_time_and_only_grows() -> None:
    reported: list[tuple[int, int]] = []
    lock = threading.Lock()

    def progress(done: int, total: int) -> None:
        assert lock.acquire(blocking=False)
        reported.append((done, total))
        lock.release()

    meter = Meter(50 * PIECE_BYTES, progress)
    run_all(jobs(50, lambda _: meter.add(PIECE_BYTES)), meter)
    meter.finish()
    assert [done for done, _ in reported] == [n * PIECE_BYTES for n in range(1, 51)]


def test_system_that_gives_no_more_threads_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done: list[int] = []
    run_all(jobs(5, done.append), Meter(0))
    assert sorted(done) == list(range(5))
