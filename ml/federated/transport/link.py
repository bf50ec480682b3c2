"""One connection to queues, by kombu, until it breaks: then everything that it knew is void."""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from amqp.exceptions import AccessRefused, AMQPError, MessageNacked, NotAllowed
from kombu.connection import Connection

from . import waking
from .address import Broker
from .security import CA_VARIABLE

HEARTBEAT_S = 30
"""How often either side shows that it is there; the broker gives up one that misses two."""
CONNECT_S = 5.0
ANSWER_S = 20.0
"""How long the broker may take for one answer, after which the connection is taken for dead."""
CLOSE_S = 5.0
HANG_UP_S = 0.1
"""How long to wait, by TLS, for the end of what is given up anyhow."""
PERSISTENT = 2


class LinkBroken(Exception):
    """The connection is of no use any more; the text says why."""


class LinkRefused(LinkBroken):
    """The broker does not let us in, and will not until something is changed; text: a predicate."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that came through a link."""

    queue: str
    body: bytes
    tag: object


class Link:
    """A connection with one channel, on which every publication is confirmed.

    Every method raises LinkBroken if the connection is lost, and is of no use after that.
    """

    def __init__(self, broker: Broker | None) -> None:
        """Connect.

        Raises:
            LinkRefused: the broker does not accept user, password or virtual host, or it is not
                the one that it says.
            LinkBroken: there is none.
        """
        self._arrived: deque[Arrival] = deque()
        self._held: Arrival | None = None
        self._declared: set[str] = set()
        self._consumed: dict[str, str] = {}
        self._queues: Sequence[str] = ()
        self._in_process = broker is None
        # kombu's `Connection` would connect again by itself, with nothing of what is known here.
        self._transport: Any = _client(broker, self._on_blocked).transport
        self._blocked = False
        try:
            with self._breaking():
                self._connection: Any = self._transport.establish_connection()
        except LinkBroken as broken:
            if broker and (why := _refusal(broker, broken.__cause__)):
                raise LinkRefused(why) from broken.__cause__
            raise
        # py-amqp's own attribute would connect again once the connection is lost
        self._socket: socket.socket | None = None if broker is None else self._connection.sock
        try:
            self._open_channel()
        except LinkBroken:
            self.abandon()
            raise

    def publish(self, queue: str, body: bytes) -> None:
        """Put a message into a queue; when this returns, the broker has it on its disk."""
        with self._breaking():
            self._declare(queue)
            message = self._channel.prepare_message(
                body,
                content_type="application/octet-stream",
                content_encoding="binary",
                properties={"delivery_mode": PERSISTENT},
            )
            # Mandatory: a queue that somebody removed since is an error, after which it is made.
            self._channel.basic_publish(
                message, exchange="", routing_key=queue, mandatory=True, timeout=ANSWER_S
            )

    def next(self, queues: Sequence[str], until: float) -> Arrival | None:
        """Wait for a message of one of these queues; none comes beside one that is not dealt with.

        Returns:
            None if there was none by `until`, in the clock of `time.monotonic`; or sooner, for the
            sake of heartbeats.
        """
        self._consume(queues)
        if self._held or not self._arrived:
            self._wait(until - time.monotonic())
        if self._held or not self._arrived:
            return None
        self._held = self._arrived.popleft()
        return self._held

    def acknowledge(self, arrival: Arrival) -> None:
        """Say that a message is dealt with."""
        self._held = None
        with self._breaking():
            self._channel.basic_ack(arrival.tag)

    def requeue(self, arrival: Arrival) -> None:
        """Put a message back."""
        self._held = None
        with self._breaking():
            self._channel.basic_reject(arrival.tag, requeue=True)

    def beat(self) -> None:
        """Show the broker that we are there."""
        with self._breaking():
            if not self._in_process:
                self._connection.send_heartbeat()

    def close(self) -> None:
        """Say goodbye; what was not acknowledged comes again."""
        with self._breaking():
            self._bound_answers(CLOSE_S)
            self._transport.close_connection(self._connection)

    def abandon(self) -> None:
        """Hang up."""
        if not self._in_process:
            with suppress(OSError):
                self._bound_answers(HANG_UP_S)
            self._connection.collect()

    def _open_channel(self) -> None:
        with self._breaking():
            self._bound_answers(ANSWER_S)
            self._channel: Any = self._transport.create_channel(self._connection)
            # From RabbitMQ 4 on, the limit is that of each queue, so that what waits in several
            # comes at once, and is held here. Before, it can be that of the channel.
            together = not self._transport.qos_semantics_matches_spec(self._connection)
            self._channel.basic_qos(0, 1, together)

    def _consume(self, queues: Sequence[str]) -> None:
        """Have messages of these queues sent here, and no others."""
        if queues == self._queues:
            return
        with self._breaking():
            wanted = set(queues)
            for queue in self._consumed.keys() - wanted:
                self._channel.basic_cancel(self._consumed.pop(queue))
            for queue in wanted - self._consumed.keys():
                self._declare(queue)
                self._channel.basic_consume(
                    queue=queue, no_ack=False, consumer_tag=queue, callback=self._taker(queue)
                )
                self._consumed[queue] = queue
            for _ in range(len(self._arrived)):
                arrival = self._arrived.popleft()
                if arrival.queue in wanted:
                    self._arrived.append(arrival)
                else:
                    self._channel.basic_reject(arrival.tag, requeue=True)
        self._queues = tuple(queues)

    def _wait(self, timeout_s: float) -> None:
        """Wait until something arrived, or the time is over, or half a heartbeat's."""
        limit_s = max(0.0, timeout_s if self._in_process else min(timeout_s, HEARTBEAT_S / 4))
        with self._breaking():
            try:
                self._transport.drain_events(self._connection, timeout=limit_s)
            except TimeoutError:
                # Not before: what came while nobody read is a sign of life, too.
                self._transport.heartbeat_check(self._connection)

    def _declare(self, queue: str) -> None:
        if queue not in self._declared:
            self._channel.queue_declare(queue=queue, durable=True, auto_delete=False)
            self._declared.add(queue)

    def _taker(self, queue: str) -> Any:
        def take(raw: object) -> None:
            message = self._channel.message_to_python(raw)
            body = bytes(message.body or b"")
            self._arrived.append(Arrival(queue, body, message.delivery_tag))

        return take

    def _bound_answers(self, timeout_s: float) -> None:
        """Let nothing that is waited for take longer than this; py-amqp by itself has no limit."""
        if self._socket:
            self._socket.settimeout(timeout_s)

    def _on_blocked(self, *_: object) -> None:
        self._blocked = True

    @contextmanager
    def _breaking(self) -> Iterator[None]:
        """Turn what the libraries raise into one error with one reason."""
        try:
            yield
        except (AMQPError, MessageNacked, OSError, AttributeError) as error:
            # AttributeError: what py-amqp stumbles over, at times, once a connection is lost.
            blocked = "it takes no messages, being short of memory or disk"
            raise LinkBroken(blocked if self._blocked else _reason(error)) from error


def _reason(error: Exception) -> str:
    match error:
        case MessageNacked():
            return "it refused a message"
        case TimeoutError():
            return "it does not answer"
        case AMQPError(reply_text=str(text)) if text:
            return text
        case OSError(strerror=str(text)) if text:
            return text
        case _:
            return str(error) or type(error).__name__


def _refusal(broker: Broker, error: BaseException | None) -> str | None:
    """Why trying again would not help, as a predicate; None where it may."""
    match error:
        case AccessRefused() | NotAllowed():
            return (
                f"does not let user {broker.user!r} into virtual host"
                f" {broker.virtual_host!r}: check the user, the password and the host's name"
            )
        case ssl.SSLCertVerificationError():
            return (
                f"has a certificate that is not trusted ({error.verify_message.rstrip('.')}): check"
                f" the host, and name its authority's file by --broker-ca ({CA_VARIABLE})"
            )
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER"):
            return "does not speak TLS there: check the port, which is 5671 as a rule"
        case _:
            return None


def _tls(broker: Broker) -> dict[str, Any] | None:
    """What py-amqp makes an `ssl.SSLContext` of, that verifies the certificate and its host."""
    if not broker.is_tls:
        return None
    return {
        "context": {"cafile": broker.ca, "check_hostname": True},
        "server_hostname": broker.host,
        "do_handshake_on_connect": False,  # but within the time that connecting may take
    }


def _client(broker: Broker | None, on_blocked: Callable[..., None]) -> Connection:
    if broker is None:
        return Connection(transport=waking.Transport)
    return Connection(
        transport="pyamqp",
        hostname=broker.host,
        port=broker.port,
        userid=broker.user,
        password=broker.password,
        virtual_host=broker.virtual_host,
        ssl=_tls(broker),
        login_method="PLAIN",
        connect_timeout=CONNECT_S,
        heartbeat=HEARTBEAT_S,
        transport_options={
            "confirm_publish": True,
            "on_blocked": on_blocked,
            "socket_settings": {socket.TCP_USER_TIMEOUT: 1000 * HEARTBEAT_S},
        },
    )
