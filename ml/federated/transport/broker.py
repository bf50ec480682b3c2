"""Queues by kombu: within a process, or in a RabbitMQ broker, whose restarts are waited out."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from . import TransportError, check_size
from .address import Broker, parse
from .link import HEARTBEAT_S, Arrival, Link, LinkBroken, LinkRefused
from .security import BY_DEFAULT, Security

PATIENCE_S = 60.0
"""How long a broker may be away: RabbitMQ restarts in some ten seconds."""
FIRST_PATIENCE_S = 10.0
"""How long one is waited for that was never there."""
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0

Result = TypeVar("Result")


def connect(
    url: str, security: Security = BY_DEFAULT, *, patience_s: float = PATIENCE_S
) -> BrokerTransport:
    """Connect to the queues of this process, or to a broker.

    Args:
        url: `memory://`, which all threads of a process share; or
            `amqps://USER:PASSWORD@HOST:PORT/VIRTUAL_HOST`, with `amqp` for one without TLS.
        security: how the connection to a broker is kept from others.
        patience_s: how long a broker that was lost is waited for, in seconds.

    Raises:
        TransportError: no such address, no broker there, its certificate is not trusted, or it does
            not let us in. No password is in the text.
    """
    return BrokerTransport(parse(url, security), patience_s)


@dataclass(slots=True)
class _Delivery:
    """A message, and the link that it came through: none other can acknowledge it."""

    queue: str
    body: bytes
    _transport: BrokerTransport
    _link: Link
    _arrival: Arrival
    _settled: bool = False

    def acknowledge(self) -> None:
        self._settle(Link.acknowledge)

    def requeue(self) -> None:
        self._settle(Link.requeue)

    def _settle(self, how: Callable[[Link, Arrival], None]) -> None:
        if not self._settled:
            self._settled = True
            self._transport.settle(self._link, self._arrival, how)


class BrokerTransport:
    """A connection to queues, for one thread; another keeps it alive while that one works.

    As long as a message that came is neither acknowledged nor put back, no other comes.
    """

    def __init__(self, broker: Broker | None, patience_s: float) -> None:
        """Connect; `connect` says what is raised."""
        self._broker = broker
        self._link: Link | None = None
        self._lost_at: float | None = None
        self._pause_s = FIRST_PAUSE_S
        self._was_in = False
        self._patience_s = min(patience_s, FIRST_PATIENCE_S)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._with_link(lambda _: None)
        self._patience_s = patience_s
        if broker is not None:
            threading.Thread(target=self._keep_alive, name="heartbeat", daemon=True).start()

    def publish(self, queue: str, body: bytes) -> None:
        """Put a message into a queue, which is made if there is none.

        After a connection was lost in between, the message may be there twice.

        Raises:
            TransportError: it is too large, or the broker did not take it in time.
        """
        check_size(queue, body)
        with self._lock:
            self._with_link(lambda link: link.publish(queue, body))

    def receive(self, queues: Sequence[str], timeout_s: float) -> _Delivery | None:
        """Wait for a message of one of these queues, which are made if there are none.

        Returns:
            None if none came in time.

        Raises:
            TransportError: the broker has been away for too long.
        """
        until = time.monotonic() + timeout_s
        with self._lock:
            while True:
                found = self._with_link(lambda link: (link, link.next(queues, until)), until)
                if found is None:
                    return None
                link, arrival = found
                if arrival is not None:
                    return _Delivery(arrival.queue, arrival.body, self, link, arrival)
                if time.monotonic() >= until:
                    return None

    def settle(self, link: Link, arrival: Arrival, how: Callable[[Link, Arrival], None]) -> None:
        """Acknowledge a message or put it back; without its link, it comes again anyhow."""
        with self._lock:
            if self._link is link:
                try:
                    how(link, arrival)
                except LinkBroken:
                    self._drop()

    def close(self) -> None:
        """Give up the connection; what was delivered and not acknowledged comes again."""
        self._closed.set()
        with self._lock:
            if self._link is not None:
                # One that is broken is as closed as it can be.
                with contextlib.suppress(LinkBroken):
                    self._link.close()
                self._drop()

    def _with_link(
        self, action: Callable[[Link], Result], until: float = math.inf
    ) -> Result | None:
        """Do something with a connection, again with a new one when it breaks.

        Returns:
            None if there was no connection by `until`, in the clock of `time.monotonic`.

        Raises:
            TransportError: there has been none for as long as it is waited for.
        """
        while True:
            try:
                if self._link is None:
                    self._link = self._new_link()
                result = action(self._link)
            except LinkBroken as broken:
                self._drop()
                self._wait_for_broker(broken, until)
                if time.monotonic() >= until:
                    return None
            else:
                self._lost_at = None
                self._pause_s = FIRST_PAUSE_S
                self._was_in = True
                return result

    def _new_link(self) -> Link:
        if self._closed.is_set():
            raise TransportError("the connection to the queues was closed")
        return Link(self._broker)

    def _wait_for_broker(self, broken: LinkBroken, until: float) -> None:
        now = time.monotonic()
        if self._lost_at is None:
            self._lost_at = now
        # To one that let us in before, it is a broker that is starting.
        if isinstance(broken, LinkRefused) and not self._was_in:
            raise TransportError(f"{self._broker} {broken}") from None
        away_s = now - self._lost_at
        if away_s >= self._patience_s:
            raise TransportError(
                f"{self._broker} could not be used for {away_s:.0f} s ({broken}): see that the"
                " broker runs, and that its address is right"
            ) from None
        time.sleep(max(0.0, min(self._pause_s, self._patience_s - away_s, until - now)))
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _drop(self) -> None:
        if self._link is not None:
            self._link.abandon()
            self._link = None

    def _keep_alive(self) -> None:
        """Send heartbeats while the thread that the connection is for does other work."""
        while not self._closed.wait(HEARTBEAT_S / 3):
            # Whoever has the lock is in a call, and sends them itself.
            if self._lock.acquire(blocking=False):
                try:
                    if self._link is not None:
                        self._link.beat()
                except LinkBroken:
                    self._drop()
                finally:
                    self._lock.release()
