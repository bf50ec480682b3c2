"""Processes on this machine: one that is killed is started again, one that fails ends the run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ml.federated.local import processes as module
from ml.federated.local.process import Where
from ml.federated.local.processes import Processes, ProcessFailed
from ml.federated.transport import Transport
from ml.federated.transport.broker import BrokerTransport, connect
from ml.federated.transport.security import Security

from .player import QUEUE, TOLD

WAIT_S = 120.0


@pytest.fixture
def transport() -> Iterator[Transport]:
    with closing(connect("memory://")) as opened:
        while left := opened.receive([QUEUE, TOLD], 0):
            left.acknowledge()
        yield opened


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    """Whose processes are players."""
    monkeypatch.setattr(module, "_MODULE", "tests.federated.local.player")
    with Processes(where_at(tmp_path), "memory://") as opened:
        yield opened


def where_at(path: Path) -> Where:
    """A training whose files are all in one folder."""
    folder = str(path)
    return Where(folder, folder, (folder,), "all", "dev", 1, folder)


def told(transport: Transport) -> int:
    """The number of the process that has told of itself next."""
    delivery = transport.receive([TOLD], WAIT_S)
    assert delivery is not None
    delivery.acknowledge()
    return int(delivery.body)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def fails(processes: Processes, transport: Transport) -> str:
    """What the coordinator is told when it waits."""
    watched = processes.watched(transport)
    with pytest.raises(ProcessFailed) as failed:
        wait_until(lambda: watched.receive(["nothing"], 0.01) is not None)
    return str(failed.value)


def test_worker_that_is_killed_is_started_again_and_gets_its_message_again(
    processes: Processes, transport: Transport
) -> None:
    processes.start_workers(1, [0])
    transport.publish(QUEUE, b"hello")
    first = told(transport)
    os.kill(first, signal.SIGKILL)
    transport.publish(QUEUE, b"hello")
    second = told(transport)
    assert first != second
    wait_until(lambda: processes.pids == [second])
    processes.check()


@pytest.mark.parametrize("code", [1, 2])
def test_worker_that_fails_is_told_of_in_a_sentence_while_the_coordinator_waits(
    processes: Processes, transport: Transport, code: int
) -> None:
    processes.start_workers(1, [0])
    transport.publish(QUEUE, f"end {code}".encode())
    said = fails(processes, transport)
    assert said == f"a worker ended with exit code {code}: see what it said above."
    assert processes.pids == []


def test_validator_that_fails_is_named(processes: Processes, transport: Transport) -> None:
    processes.start_validator(3, "test:2")
    transport.publish(QUEUE, b"end 1")
    assert fails(processes, transport).startswith("validator 3 ended with exit code 1")


def test_worker_that_is_killed_whenever_it_is_started_is_given_up(
    processes: Processes, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_STARTS", 3)
    processes.start_workers(1, [0])
    transport.publish(QUEUE, b"die")
    assert fails(processes, transport).startswith("a worker ended with exit code -9")
    assert len({told(transport) for _ in range(3)}) == 3


def test_worker_whose_training_is_over_is_not_started_again(
    processes: Processes, transport: Transport
) -> None:
    processes.start_workers(2, [0])
    transport.publish(QUEUE, b"end 0")
    over = told(transport)
    wait_until(lambda: len(processes.pids) == 1)
    assert over not in processes.pids
    processes.check()
    transport.publish(QUEUE, b"hello")
    assert [told(transport)] == processes.pids


def test_queues_of_a_process_are_secured_as_the_coordinators_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[object, ...]] = []

    def connected(*given: object) -> BrokerTransport:
        made.append(given)
        return connect("memory://")

    monkeypatch.setattr("ml.federated.local.processes.broker.connect", connected)
    monkeypatch.setattr(module, "_MODULE", "tests.federated.local.player")
    security = Security(tmp_path / "ca.pem")
    with Processes(where_at(tmp_path), "amqps://broker/", security) as processes:
        processes.start_workers(1, [0])
        wait_until(lambda: bool(made))
    assert made == [("amqps://broker/", security)]


def test_processes_end_with_the_block(processes: Processes, transport: Transport) -> None:
    processes.start_workers(2, [0])
    running = processes.pids
    with processes:
        transport.publish(QUEUE, b"hello")
        told(transport)
    assert len(running) == 2
    for pid in running:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
