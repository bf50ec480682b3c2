"""Which rounds count where engines take turns, and what belongs together where rounds overlap."""

from __future__ import annotations

import time

import pytest

from benchmarks.federated import alternating, overhead
from benchmarks.federated.alternating import Cost, Watch, rounds_of
from benchmarks.federated.questions import Clock
from ml.chain.types import Verdict
from ml.federated.coordinator.news import (
    News,
    RoundGivenUp,
    RoundOver,
    UpdateCame,
    VersionRegistered,
)

REGISTERED = VersionRegistered(1, b"weights", gas_used=1)


def over(iteration: int) -> RoundOver:
    """A round whose version passed."""
    return RoundOver(
        0, iteration, iteration, 0, (0,), 1, Verdict.NEW_BEST, "passed", {"clients": 1.0}
    )


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the clock, to be set."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_updates_of_the_next_round_wait_for_its_own_verdict(now: list[float]) -> None:
    clock = Clock()
    news: list[tuple[float, News]] = [
        (1.0, UpdateCame(0, 1, 2)),
        (2.0, UpdateCame(1, 2, 2)),
        (3.0, REGISTERED),
        (4.0, UpdateCame(2, 1, 2)),  # of the next round
        (5.0, over(1)),
        (6.0, UpdateCame(3, 2, 2)),
        (7.0, REGISTERED),
        (8.0, over(2)),
    ]
    for now[0], piece in news:
        clock.tell(piece)
    assert clock.waits == [(4.0, 3.0), (4.0, 2.0)]


def test_updates_of_a_round_that_is_given_up_do_not_count(now: list[float]) -> None:
    clock = Clock()
    news: list[tuple[float, News]] = [
        (1.0, UpdateCame(0, 1, 1)),
        (2.0, REGISTERED),
        (3.0, UpdateCame(1, 1, 1)),
        (4.0, RoundGivenUp(0, 2, "the version failed")),
        (5.0, over(1)),
        (6.0, UpdateCame(2, 1, 1)),
        (7.0, REGISTERED),
        (8.0, over(2)),
    ]
    for now[0], piece in news:
        clock.tell(piece)
    assert clock.waits == [(4.0,), (2.0,)]


@pytest.mark.parametrize(("warm_up", "block"), [(2, 1), (1, 3)])
def test_round_after_the_last_that_counts_is_trained(
    monkeypatch: pytest.MonkeyPatch, warm_up: int, block: int
) -> None:
    monkeypatch.setattr(alternating, "_BUSY_S", 0.0)
    ran: list[int] = []

    def other() -> Cost:
        ran.append(len(ran))
        return Cost(float(len(ran)), 0.0)

    watch = Watch({"other": other}, (), warm_up, block)
    total = rounds_of(6, warm_up, block)
    for number in range(1, total):
        watch.tell(over(number))
    assert len(watch.ours) == len(watch.theirs["other"]) == 6
    assert len(ran) == total - 1
    watch.tell(over(total))
    assert len(watch.ours) == 6
    assert len(ran) == total - 1


@pytest.mark.parametrize(
    ("name", "overlaps", "is_kept"),
    [("2NN", False, True), ("2NN", True, False), ("2NN, overlapping", True, True)],
)
def test_case_stands_if_its_rounds_overlapped_as_they_are_to(
    name: str, overlaps: bool, is_kept: bool
) -> None:
    assert overhead.stands(name, {"overlaps": overlaps}) is is_kept


def test_targets_are_of_rounds_that_follow_each_other() -> None:
    slow = {"more_ms": 60.0, "more_percent": 6.0}
    assert len(list(overhead.missed({"2NN": slow, "CNN": slow}))) == 2
    assert not list(overhead.missed(dict.fromkeys(overhead.OVERLAPPING, slow)))
