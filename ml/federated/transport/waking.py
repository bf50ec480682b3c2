"""kombu's transport within a process, for which a thread that waits is woken and need not ask.

Kombu's own looks for messages at an interval, once a second or, at the price of a processor, more
often; loses one if two threads make a queue at the same moment; and forgets what was delivered and
not acknowledged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from kombu.transport import memory, virtual


class _Arrivals:
    """How many messages were put into any queue, for whoever waits for the next."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    @property
    def count(self) -> int:
        return self._count

    def add(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait_beyond(self, count: int, timeout_s: float | None) -> bool:
        """Wait until there are more than so many; False if the time is over first."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count > count, timeout_s)


_arrivals = _Arrivals()
_queues: dict[str, SimpleQueue[Any]] = {}


class Channel(memory.Channel):
    """A thread's access to the queues of the process."""

    queues = _queues
    do_restore = True
    _turn = 0

    def _queue_for(self, queue: str) -> SimpleQueue[Any]:
        return self.queues.setdefault(queue, SimpleQueue())

    def _new_queue(self, queue: str, **_: object) -> None:
        self._queue_for(queue)

    def _put(self, queue: str, message: object, **_: object) -> None:
        self._queue_for(queue).put(message)
        _arrivals.add()

    def _poll(
        self,
        cycle: object,  # noqa: ARG002 (kombu's signature)
        callback: Callable[[Any, str], None],
        timeout: object = None,  # noqa: ARG002 (kombu's signature)
    ) -> None:
        """Take a message from the first queue that has one, each queue in its turn.

        Raises:
            Empty: none has.
        """
        names = self._active_queues
        for offset in range(len(names)):
            index = (self._turn + offset) % len(names)
            if not self.queues[names[index]].empty():
                try:
                    message = self.queues[names[index]].get(block=False)
                except Empty:  # another thread was faster
                    continue
                self._turn = index + 1
                callback(message, names[index])
                return
        raise Empty


class Transport(memory.Transport):
    """All connections of a process, which have their queues in common."""

    Channel = Channel
    global_state = virtual.BrokerState()

    def drain_events(
        self,
        connection: object,  # noqa: ARG002 (kombu's signature)
        timeout: float | None = None,
        **_: object,
    ) -> None:
        """Deliver one message, as soon as there is one.

        Raises:
            TimeoutError: none came in time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            seen = _arrivals.count
            try:
                self.cycle.get(self._deliver)  # type: ignore[union-attr]
            except Empty:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not _arrivals.wait_beyond(seen, left):
                    raise TimeoutError from None
            else:
                return
