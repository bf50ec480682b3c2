"""Children that use their parent's queues, which are in its memory."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ml.federated.tasks import MAX_TASK_BYTES
from ml.federated.transport import Transport, TransportError, child, frames
from ml.federated.transport.broker import connect
from ml.federated.transport.child import Child, ParentTransport, Relay
from ml.federated.transport.frames import FrameError, HungUp

ROOT = Path(__file__).parents[3]
RECEIVER = ["-m", "tests.federated.transport.receiver"]
PARENT = """
import sys, time
from ml.federated.transport.broker import connect
from ml.federated.transport.child import Child
with open(sys.argv[1], "wb") as output:
    child = Child(["-m", "tests.federated.transport.receiver", "queue", "replies"],
                  lambda: connect("memory://"), output=output)
transport = connect("memory://")
transport.publish("queue", b"anything")
assert transport.receive(["replies"], 60) is not None
print(child.pid, flush=True)
time.sleep(600)
"""
WAIT_S = 60.0


@pytest.fixture
def queue() -> str:
    return f"test.{uuid.uuid4().hex}"


@pytest.fixture
def transport() -> Iterator[Transport]:
    with closing(connect("memory://")) as opened:
        yield opened


def started(queue: str, **options: object) -> Child:
    replies = f"{queue}.replies"
    return Child([*RECEIVER, queue, replies], lambda: connect("memory://"), **options)  # type: ignore[arg-type]


def reply(transport: Transport, queue: str) -> tuple[int, str]:
    """Who received what, as the next one tells."""
    delivery = transport.receive([f"{queue}.replies"], WAIT_S)
    assert delivery is not None
    delivery.acknowledge()
    pid, _, body = delivery.body.decode().partition(" ")
    return int(pid), body


@contextmanager
def gone(pid: int) -> Iterator[select.poll]:
    """Tells when a process that is none of our children has ended."""
    number = os.pidfd_open(pid)
    process = select.poll()
    process.register(number, select.POLLIN)
    yield process
    os.close(number)


def test_child_that_is_killed_leaves_its_message_to_another(
    transport: Transport, queue: str
) -> None:
    told: list[int | None] = []
    ended = threading.Event()

    def tell(one: Child) -> None:
        told.append(one.returncode)
        ended.set()

    with started(queue, ended=tell) as first:
        transport.publish(queue, b"hold this")
        assert reply(transport, queue) == (first.pid, "hold this")
        with started(queue) as second:
            os.kill(first.pid, signal.SIGKILL)
            assert reply(transport, queue) == (second.pid, "hold this")
        assert ended.wait(WAIT_S)
        assert told == [-signal.SIGKILL]
        assert not Path(f"/proc/{first.pid}").exists()  # not even as a zombie


def test_child_that_is_busy_leaves_the_next_message_to_another(
    transport: Transport, queue: str
) -> None:
    with started(queue) as first, started(queue) as second:
        transport.publish(queue, b"hold one")
        transport.publish(queue, b"hold two")
        replies = {reply(transport, queue), reply(transport, queue)}
    assert {pid for pid, _ in replies} == {first.pid, second.pid}
    assert {body for _, body in replies} == {"hold one", "hold two"}


def test_child_that_is_stopped_is_not_reported_as_ended(transport: Transport, queue: str) -> None:
    told: list[Child] = []
    with started(queue, ended=told.append) as one:
        transport.publish(queue, b"anything")
        assert reply(transport, queue) == (one.pid, "anything")
    assert one.wait(0) == one.returncode == -signal.SIGTERM
    assert told == []


def test_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, output], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        with gone(pid) as process:
            parent.kill()
            assert process.poll(1000 * WAIT_S)
    assert output.read_text().startswith("the queues of the parent process cannot be used any more")


def test_error_of_the_parents_broker_reaches_the_child(transport: Transport, queue: str) -> None:
    ours, theirs = socket.socketpair()
    transport.close()
    relay = threading.Thread(target=Relay(theirs, transport).run)
    relay.start()
    with closing(ParentTransport(ours)) as parent, pytest.raises(TransportError, match="closed"):
        parent.publish(queue, b"anything")
    relay.join()
    theirs.close()


def test_message_of_others_that_is_too_large_is_cut_for_a_child(queue: str) -> None:
    class Careless:
        """Delivers what `publish` would have refused."""

        queue, body = "other", bytes(3 * MAX_TASK_BYTES)

        def receive(self, *_: object) -> Careless:
            return self

        def acknowledge(self) -> None:
            pass

    ours, theirs = socket.socketpair()
    relay = threading.Thread(target=Relay(theirs, Careless()).run)  # type: ignore[arg-type]
    relay.start()
    with closing(ParentTransport(ours)) as parent:
        delivery = parent.receive([queue], 0)
        assert delivery is not None
        assert len(delivery.body) == MAX_TASK_BYTES + 1
    relay.join()
    theirs.close()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ([b"sing"], "sing"),
        ([b"publish", b"queue"], "publish"),
        ([b"publish", b"\xff", b""], "publish"),
        ([b"receive", b"soon"], "receive"),
        ([b"acknowledge", b"nothing of the kind"], "acknowledge"),
    ],
)
def test_relay_ends_with_what_it_was_asked_for_in_vain(
    transport: Transport, sent: list[bytes], said: str
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        frames.send(ours, *sent)
        with pytest.raises(FrameError, match=f"asked for something that there is not: b'{said}"):
            Relay(theirs, transport).run()


def length(number: int) -> bytes:
    return struct.pack(">I", number)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", "gone"),
        (length(8)[:3], "gone"),
        (length(8) + length(4), "gone"),
        (length(0), "no fields"),
        (length(frames.MAX_FRAME_BYTES + 1), "more than"),
        (length(3) + b"abc", "ends within a length"),
        (length(6) + length(3) + b"ab", "goes beyond"),
    ],
)
def test_malformed_frame_is_refused(sent: bytes, said: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(sent)
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises(FrameError, match=said):
            frames.receive(theirs)


def test_frame_that_is_too_long_is_not_sent() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(FrameError, match="more than"):
        frames.send(ours, bytes(frames.MAX_FRAME_BYTES))


def test_frame_to_nobody_says_that_they_are_gone() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours, pytest.raises(HungUp, match="gone"):
        frames.send(ours, b"anything")


@pytest.mark.parametrize("number", [None, "first", "1000000"])
def test_process_without_a_parent_is_told_so(
    number: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if number is None:
        monkeypatch.delenv(child.VARIABLE, raising=False)
    else:
        monkeypatch.setenv(child.VARIABLE, number)
    with pytest.raises(TransportError, match="this process"):
        child.to_parent()
