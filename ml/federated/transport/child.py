"""Processes that use their parent's queues, so that `memory://` serves more than one process.

A child has one end of a socket, and asks through it: publish, receive, acknowledge, put back. A
thread of the parent does so, with a connection to queues that is this child's own, and answers. So
children compete for messages like any receivers. When a child dies, its end is closed, and with it
the connection: what the child had not acknowledged comes again, elsewhere. When the parent dies,
the child's next call fails, and one that waits fails at once.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import IO, Final, Self

from ml.federated.tasks import MAX_TASK_BYTES

from . import Delivery, Transport, TransportError, TransportGone, check_size, frames
from .frames import FrameError, HungUp

VARIABLE: Final = "MODELPROOF_PARENT_SOCKET"
"""The environment variable with the number of the child's end."""
LOOK_S: Final = 0.25
"""How often one who waits on behalf of a child looks whether that is still there."""
STOP_S: Final = 10.0

SECONDS: Final = struct.Struct(">d")


class Ask:
    """What a child asks for: a frame's first field."""

    PUBLISH: Final = b"publish"
    RECEIVE: Final = b"receive"
    ACKNOWLEDGE: Final = b"acknowledge"
    REQUEUE: Final = b"requeue"


class Answer:
    """What its parent answers: a frame's first field."""

    DONE: Final = b"done"
    DELIVERY: Final = b"delivery"
    NOTHING: Final = b"nothing"
    FAILED: Final = b"failed"


# --- In the child ---------------------------------------------------------------------------------


def is_child() -> bool:
    """Whether this process was started by `Child`, and has not called `to_parent` yet."""
    return VARIABLE in os.environ


def to_parent() -> ParentTransport:
    """The queues of the parent that started this process; to be called once.

    Raises:
        TransportError: this process was not started by `Child`.
    """
    number = os.environ.pop(VARIABLE, None)
    if number is None or not number.isdecimal():
        raise TransportError("this process has no parent whose queues it could use")
    try:
        channel = socket.socket(fileno=int(number))
    except OSError:
        raise TransportError("this process's end of its parent's socket is not there") from None
    channel.set_inheritable(False)
    return ParentTransport(channel)


@dataclass(slots=True)
class _ParentDelivery:
    """A message, and what the parent knows it by."""

    queue: str
    body: bytes
    _transport: ParentTransport
    _tag: bytes
    _settled: bool = False

    def acknowledge(self) -> None:
        self._settle(Ask.ACKNOWLEDGE)

    def requeue(self) -> None:
        self._settle(Ask.REQUEUE)

    def _settle(self, how: bytes) -> None:
        if not self._settled:
            self._settled = True
            self._transport.settle(how, self._tag)


class ParentTransport:
    """Queues by way of the parent process; for one thread at a time."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._settled: list[tuple[bytes, bytes]] = []

    def publish(self, queue: str, body: bytes) -> None:
        """Put a message into a queue; when this returns, the parent's broker has it.

        Raises:
            TransportGone: the parent is gone.
            TransportError: it is too large, or the broker did not take it.
        """
        check_size(queue, body)
        self._ask(Ask.PUBLISH, queue.encode(), body)

    def receive(self, queues: Sequence[str], timeout_s: float) -> _ParentDelivery | None:
        """Wait for a message of one of these queues.

        Returns:
            None if none came in time.

        Raises:
            TransportGone: the parent is gone.
            TransportError: the parent's broker cannot be reached.
        """
        names = [queue.encode() for queue in queues]
        match self._ask(Ask.RECEIVE, SECONDS.pack(timeout_s), *names):
            case [Answer.DELIVERY, tag, queue, body]:
                return _ParentDelivery(queue.decode(), body, self, tag)
            case _:
                return None

    def settle(self, how: bytes, tag: bytes) -> None:
        """Have the parent acknowledge a message, or put it back, with the next call at the latest.

        One that it does not hear of comes again, as it would if this process had died before.
        """
        self._settled.append((how, tag))
        if how == Ask.REQUEUE:  # somebody else may wait for it
            self._tell_settled()

    def close(self) -> None:
        """Hang up; what was delivered and not acknowledged comes again."""
        self._tell_settled()
        self._channel.close()

    def _tell_settled(self) -> None:
        # Without the parent, the message comes again all the same, and the next call says why.
        with suppress(TransportError):
            self._ask()

    def _ask(self, *fields: bytes) -> list[bytes]:
        """Say what is settled, and then what is asked for, if anything is; return the answer."""
        if self._channel.fileno() == -1:
            raise TransportGone("the connection to the queues was closed")
        settled, self._settled = self._settled, []
        answer = [Answer.DONE]
        try:
            frames.send_all(self._channel, [*settled, *([fields] if fields else [])])
            for _ in settled:
                frames.receive(self._channel)
            if fields:
                answer = frames.receive(self._channel)
        except FrameError as error:
            raise TransportGone(
                f"the queues of the parent process cannot be used any more: {error}"
            ) from None
        match answer:
            case [Answer.FAILED, reason]:
                raise TransportError(reason.decode())
            case _:
                return answer


# --- In the parent --------------------------------------------------------------------------------


class Child:
    """A process that uses queues through this one, until it ends or is stopped."""

    def __init__(
        self,
        arguments: Sequence[str],
        connect: Callable[[], Transport],
        *,
        output: IO[bytes] | None = None,
        ended: Callable[[Child], None] | None = None,
    ) -> None:
        """Start it.

        Args:
            arguments: for Python, such as `-m` and a module that calls `to_parent`.
            connect: opens the connection to queues that is the child's own.
            output: what it prints goes there; None for where this process prints.
            ended: called when it ended without having been stopped, and what it had not
                acknowledged is back in its queue: so that another can be started. Comes from
                another thread.

        Raises:
            TransportError: there is no connection to queues.
        """
        self._ended = ended
        self._stopping = False
        self.failure: str | None = None
        """Why its calls were not answered any more, if that is not its own end."""
        transport = connect()
        self._channel, other = socket.socketpair()
        with other:
            # In a process group of its own: Ctrl-C is for this process alone, which stops it.
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[other.fileno()],
                process_group=0,
                env={**os.environ, VARIABLE: str(other.fileno())},
            )
        self._thread = threading.Thread(
            target=self._serve, args=(transport,), name=f"child {self.pid}", daemon=True
        )
        self._thread.start()

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, minus the signal's number if a signal ended it; None before it ended."""
        return self._process.returncode

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait until it has ended, and what it had not acknowledged is back in its queue.

        Returns:
            Its exit code, as `returncode` has it; None if it still runs.
        """
        self._thread.join(timeout_s)
        return None if self._thread.is_alive() else self._process.returncode

    def stop(self) -> None:
        """End it, by force if it does not end by itself."""
        self._stopping = True
        self._process.terminate()
        if self.wait(STOP_S) is None:
            self._process.kill()
            self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self, transport: Transport) -> None:
        try:
            with closing(transport), self._channel:
                Relay(self._channel, transport).run()
        except FrameError as error:
            self.failure = str(error)
        finally:
            self._process.wait()
        if self._ended is not None and not self._stopping:
            self._ended(self)


class Relay:
    """Does what a child asks for, one thing after the other."""

    def __init__(self, channel: socket.socket, transport: Transport) -> None:
        self._channel = channel
        self._transport = transport
        self._delivered: dict[bytes, Delivery] = {}
        self._count = 0

    def run(self) -> None:
        """Go on until the child hangs up.

        Raises:
            FrameError: it asked for something that there is not.
        """
        try:
            while True:
                frames.send(self._channel, *self._answer(frames.receive(self._channel)))
        except HungUp:
            return

    def _answer(self, asked: list[bytes]) -> list[bytes]:
        try:
            match asked:
                case [Ask.PUBLISH, queue, body]:
                    self._transport.publish(queue.decode(), body)
                    return [Answer.DONE]
                case [Ask.RECEIVE, seconds, *names]:
                    queues = [name.decode() for name in names]
                    return self._receive(queues, SECONDS.unpack(seconds)[0])
                case [Ask.ACKNOWLEDGE, tag]:
                    self._delivered.pop(tag).acknowledge()
                    return [Answer.DONE]
                case [Ask.REQUEUE, tag]:
                    self._delivered.pop(tag).requeue()
                    return [Answer.DONE]
        except TransportError as error:
            return [Answer.FAILED, str(error).encode()]
        except (UnicodeDecodeError, struct.error, KeyError):
            pass  # as below
        raise FrameError(f"a child asked for something that there is not: {asked[0][:20]!r}")

    def _receive(self, queues: list[str], timeout_s: float) -> list[bytes]:
        until = time.monotonic() + timeout_s
        while True:
            left_s = until - time.monotonic()
            delivery = self._transport.receive(queues, max(0.0, min(LOOK_S, left_s)))
            if delivery is not None:
                break
            if left_s <= 0:
                return [Answer.NOTHING]
            if frames.is_hung_up(self._channel):
                raise HungUp
        self._count += 1
        tag = self._count.to_bytes(8)
        self._delivered[tag] = delivery
        # Whoever else sent more than a message may have: the child refuses what is left, too.
        body = delivery.body[: MAX_TASK_BYTES + 1]
        return [Answer.DELIVERY, tag, delivery.queue.encode(), body]
