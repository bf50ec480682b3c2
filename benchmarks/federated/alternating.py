"""Rounds of the whole system in turns with rounds of others, so that load meets all alike.

The coordinator tells of each round that is over and waits meanwhile; after a few rounds, that is
when the others have their turn of as many. Wall time is what passes from the end of one round to
that of the next, processor time that of all processes that a side has in between. The first round
of a turn does not count: where rounds overlap, its clients had begun before the turn of the others.
"""

from __future__ import annotations

import math
import os
import resource
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Final, Self

from ml.federated.coordinator.news import News, RoundOver, VersionRegistered
from ml.federated.plain import PlainTask, PlainTraining
from ml.federated.preparation import Divided
from ml.federated.version_files import weights_of

from .whole_system import WORKERS, whole_system

WARM_UP: Final = 2
"""Rounds at the beginning that never count: files come into the cache, networks into memory."""
BLOCK: Final = 5
"""Rounds of a turn that count."""
_IDLE_S: Final = 0.2
_BUSY_S: Final = 60.0
"""Clients do not take longer than that for what is left of a turn."""
_ROLES: Final = {"clients": "/worker-", "validator": "/validator-", "node": "anvil"}
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def descendants(root: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        parents.setdefault(int(after_name[1]), []).append(int(path.parent.name))
    found, todo = [], [root]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time that processes have taken so far, to 10 ms each."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def _by_role(pids: Iterable[int]) -> dict[str, list[int]]:
    """The processes of a training by what they do, as their command lines tell."""
    found: dict[str, list[int]] = {}
    for pid in pids:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_text()
        except OSError:  # it has just ended
            continue
        role = next((name for name, sign in _ROLES.items() if sign in command), "coordinator")
        found.setdefault(role, []).append(pid)
    return found


def all_cpu_seconds() -> float:
    """Processor time so far of this process and all that it started, those that have ended too."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = cpu_seconds(descendants(os.getpid()))
    return time.process_time() + ended.ru_utime + ended.ru_stime + running


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one round."""

    wall_s: float
    cpu_s: float


class Plain(AbstractContextManager["Plain"]):
    """Rounds without provenance, by as many processes as the whole system has for clients."""

    def __init__(self, task: PlainTask, processes: int = WORKERS) -> None:
        """Start them, by the first round."""
        self.training: Final = PlainTraining(task, processes)
        before = {*descendants(os.getpid())}
        self._advance()
        self.pids: Final = tuple({*descendants(os.getpid())} - before)

    def _advance(self) -> None:
        self.training.advance(self.training.updates())

    def round(self) -> Cost:
        """Run one."""
        pids = (os.getpid(), *self.pids)
        cpu, begun = cpu_seconds(pids), time.perf_counter()
        self._advance()
        return Cost(time.perf_counter() - begun, cpu_seconds(pids) - cpu)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the processes."""
        self.training.__exit__(kind, error, traceback)


class Watch:
    """Told what the coordinator does; measures its rounds, and gives the others their turns."""

    def __init__(
        self,
        others: Mapping[str, Callable[[], Cost]],
        foreign: Iterable[int],
        warm_up: int = WARM_UP,
        block: int = BLOCK,
    ) -> None:
        """Begin with nothing measured.

        Args:
            others: run one round each
            foreign: the numbers of their processes
            warm_up: rounds that do not count
            block: rounds of a turn that count
        """
        self._block: Final = block
        self._others: Final = others
        self._warm_up: Final = warm_up
        self._foreign: Final = {*foreign}
        self._before: tuple[float, dict[str, float]] | None = None
        self._pids: dict[str, list[int]] = {}
        self.ours: list[Cost] = []
        self.theirs: dict[str, list[Cost]] = {name: [] for name in others}
        self.parts: list[dict[str, float]] = []
        self.roles: list[dict[str, float]] = []
        """CPU seconds of a round by what processes do."""
        self.gas: list[int] = []
        self.weights: list[bytes] = []
        self._seen = 0

    def tell(self, news: News) -> None:
        """Take one piece of news."""
        if isinstance(news, VersionRegistered):
            self.gas.append(news.gas_used)
            self.weights.append(news.weights)
        if isinstance(news, RoundOver):
            self._round_over(news)

    def _round_over(self, news: RoundOver) -> None:
        wall = time.perf_counter()
        cpu = {role: cpu_seconds(pids) for role, pids in self._pids.items()}
        self._seen += 1
        if self._seen <= self._warm_up:
            for run in self._others.values():
                run()
            self._pids = _by_role({os.getpid(), *descendants(os.getpid())} - self._foreign)
            return
        if self._before:
            began, cpu_then = self._before
            took = {role: cpu[role] - cpu_then[role] for role in cpu}
            self.ours.append(Cost(wall - began, sum(took.values())))
            self.roles.append(took)
            self.parts.append(dict(news.seconds))
        self._before = wall, cpu
        if (self._seen - self._warm_up) % (self._block + 1) == 0:
            self._let_others()
            self._before = None

    def _let_others(self) -> None:
        self._wait_for_rest()
        for name, run in self._others.items():
            self.theirs[name] += [run() for _ in range(self._block + 1)][1:]

    def _wait_for_rest(self) -> None:
        """Wait until those clients are done who began the next round during the validation."""
        deadline = time.monotonic() + _BUSY_S
        pids = [pid for some in self._pids.values() for pid in some]
        while time.monotonic() < deadline:
            before = cpu_seconds(pids)
            time.sleep(_IDLE_S)
            if cpu_seconds(pids) - before < _IDLE_S / 5:
                return


def rounds_of(counting: int, warm_up: int, block: int) -> int:
    """How many rounds there have to be for so many to count.

    One comes after those that count: where rounds overlap, it begins while the last is validated.
    The others, who have their turns between, run all but that one.
    """
    return warm_up + math.ceil(counting / block) * (block + 1) + 1


def beside_plain(
    data: Divided,
    task: PlainTask,
    rounds: int,
    warm_up: int = WARM_UP,
    block: int = BLOCK,
    *,
    overlaps: bool = False,
) -> dict[str, object]:
    """Measure the whole system beside rounds without provenance, which never overlap.

    Args:
        data: what the task's clients and its validation part are of
        task: what to train
        rounds: that count, at least
        warm_up: rounds before them, in which most clients' samples are read and checked by the
            process that trains them
        block: rounds of a turn that count
        overlaps: whether clients of the whole system train while a version is validated

    Returns:
        Milliseconds and CPU milliseconds of a round with and without, the median of the difference
        of the n-th round of a turn and the n-th of the turn that comes next, the milliseconds of
        each part, and the CPU milliseconds by what processes do.

    Raises:
        AssertionError: the two did not make the same weights.
    """
    with Plain(task) as plain:
        first = weights_of(plain.training.weights)
        made: list[bytes] = [first]

        def advance() -> Cost:
            cost = plain.round()
            made.append(weights_of(plain.training.weights))
            return cost

        with whole_system(data, task, overlaps=overlaps) as system:
            watch = Watch({"plain": advance}, plain.pids, warm_up, block)
            system.train(rounds_of(rounds, warm_up, block), watch.tell)
    if made != watch.weights:
        raise AssertionError("with and without provenance, training made different weights")
    return {
        **summary(watch.ours, watch.theirs["plain"], watch.parts),
        "cpu_ms_by_role": {
            role: _ms(sum(each[role] for each in watch.roles) / len(watch.roles))
            for role in watch.roles[0]
        },
    }


def summary(
    ours: list[Cost], plain: list[Cost], parts: list[dict[str, float]]
) -> dict[str, object]:
    """What rounds in turns come to, milliseconds."""
    more = [one.wall_s - other.wall_s for one, other in zip(ours, plain, strict=True)]
    more_cpu = [one.cpu_s - other.cpu_s for one, other in zip(ours, plain, strict=True)]
    names = sorted({name for part in parts for name in part})
    by_part = {name: median(part.get(name, 0.0) for part in parts) for name in names}
    rest = median(one.wall_s - sum(part.values()) for one, part in zip(ours, parts, strict=True))
    wall = median(one.wall_s for one in plain)
    return {
        "rounds": len(ours),
        "with_ms": _ms(median(one.wall_s for one in ours)),
        "without_ms": _ms(wall),
        "more_ms": _ms(median(more)),
        "more_percent": round(100 * median(more) / wall, 1),
        "with_cpu_ms": _ms(sum(one.cpu_s for one in ours) / len(ours)),
        "without_cpu_ms": _ms(sum(one.cpu_s for one in plain) / len(plain)),
        "more_cpu_ms": _ms(sum(more_cpu) / len(more_cpu)),
        "parts_ms": {name: _ms(value) for name, value in {**by_part, "rest": rest}.items()},
    }


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)
