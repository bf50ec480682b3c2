"""A real RabbitMQ that restarts, is cut off, refuses or stays silent; and receivers that die."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kombu.transport import pyamqp

from ml.federated.transport import Delivery, Transport, TransportError, address, link
from ml.federated.transport.broker import connect
from ml.federated.transport.child import Child
from ml.federated.transport.security import Security
from tools.rabbitmq.server import RabbitServer

from .certificates import Authority, authority
from .tcp_proxy import HOST, Direction, TcpProxy

ROOT = Path(__file__).parents[3]
RECEIVER = ["-m", "tests.federated.transport.receiver"]
WAIT_S = 120.0
PATIENCE_S = 120.0
SECRET = "correct horse"


@pytest.fixture
def queue() -> str:
    return f"test.{uuid.uuid4().hex}"


@pytest.fixture
def trusting(signer: Authority) -> Security:
    """Whoever trusts who signed the broker's certificate."""
    return Security(signer.file)


def url_at(port: int, scheme: str = "amqp") -> str:
    return f"{scheme}://guest:guest@{HOST}:{port}/"


def received(transport: Transport, *queues: str) -> Delivery:
    delivery = transport.receive(queues, WAIT_S)
    assert delivery is not None
    return delivery


@contextlib.contextmanager
def meanwhile(action: Callable[[], object]) -> Iterator[None]:
    """Do something in a thread that is over by the end of the block."""
    thread = threading.Thread(target=action)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@pytest.mark.slow
def test_restart_of_the_broker_loses_nothing(rabbitmq: RabbitServer, queue: str) -> None:
    waiting, holding, sending = (connect(rabbitmq.url, patience_s=PATIENCE_S) for _ in range(3))
    with closing(waiting), closing(holding), closing(sending):
        sending.publish(f"{queue}.kept", b"published before")
        sending.publish(f"{queue}.held", b"not acknowledged")
        held = received(holding, f"{queue}.held")
        assert waiting.receive([f"{queue}.waited"], 0) is None
        came: list[bytes] = []
        with meanwhile(lambda: came.append(received(waiting, f"{queue}.waited").body)):
            rabbitmq.kill()
            with meanwhile(lambda: sending.publish(f"{queue}.waited", b"published meanwhile")):
                rabbitmq.start()
        assert came == [b"published meanwhile"]
        held.acknowledge()  # of a connection that is gone, so that it comes again
        assert received(holding, f"{queue}.held").body == b"not acknowledged"
        assert received(sending, f"{queue}.kept").body == b"published before"


@pytest.mark.parametrize("direction", ["to the broker", "from the broker"])
def test_connection_that_breaks_while_publishing_loses_nothing(
    rabbitmq: RabbitServer, queue: str, direction: Direction
) -> None:
    messages = [b"%d" % number + bytes(200) for number in range(12)]
    with TcpProxy(rabbitmq.port) as proxy, closing(connect(url_at(proxy.port))) as sender:
        sender.publish(queue, messages[0])
        for number, message in enumerate(messages[1:]):
            # within the frames of a message, between them and behind them; and of the answer
            step = 40 if direction == "to the broker" else 2
            proxy.break_after(step * number, direction)
            sender.publish(queue, message)
        assert proxy.broken >= len(messages) // 2
    missing = set(messages)
    with closing(connect(rabbitmq.url)) as receiver:
        while missing:
            delivery = received(receiver, queue)
            missing.discard(delivery.body)
            delivery.acknowledge()


def test_connection_that_breaks_while_receiving_delivers_again(
    rabbitmq: RabbitServer, queue: str
) -> None:
    with (
        closing(connect(rabbitmq.url)) as sender,
        TcpProxy(rabbitmq.port) as proxy,
        closing(connect(url_at(proxy.port))) as receiver,
    ):
        assert receiver.receive([queue], 0) is None
        proxy.break_after(10, "from the broker")
        sender.publish(queue, b"delivered into the void at first")
        assert received(receiver, queue).body == b"delivered into the void at first"
        assert proxy.broken == 1


def test_connection_by_tls_that_breaks_loses_nothing(
    rabbitmq: RabbitServer, queue: str, trusting: Security
) -> None:
    assert rabbitmq.tls_port
    missing = {b"%d" % number + bytes(40_000) for number in range(8)}  # three TLS records each
    with TcpProxy(rabbitmq.tls_port) as proxy:
        url = url_at(proxy.port, "amqps")
        with closing(connect(url, trusting)) as sender:
            for number, message in enumerate(missing):
                proxy.break_after(7_000 * number, "to the broker")
                sender.publish(queue, message)
        broken = proxy.broken
        assert broken > 1
        with closing(connect(url, trusting)) as receiver:
            proxy.break_after(50_000, "from the broker")
            while missing:
                delivery = received(receiver, queue)
                missing.discard(delivery.body)
                delivery.acknowledge()
        assert proxy.broken > broken


@pytest.mark.parametrize(
    ("port", "host", "trusts", "said"),
    [
        ("tls", HOST, "another", "has a certificate that is not trusted (certificate signature"),
        ("tls", HOST, "the system", "has a certificate that is not trusted (unable to get local"),
        ("tls", "localhost", "the signer", "has a certificate that is not trusted (Hostname mis"),
        ("plain", HOST, "the signer", "does not speak TLS there: check the port"),
    ],
)
def test_broker_that_cannot_be_trusted_is_refused_in_one_sentence(
    rabbitmq: RabbitServer,
    trusting: Security,
    tmp_path: Path,
    port: str,
    host: str,
    trusts: str,
    said: str,
) -> None:
    trust = {
        "the signer": trusting,
        "another": Security(authority(tmp_path).file),
        "the system": Security(),
    }
    at = {"tls": rabbitmq.tls_port, "plain": rabbitmq.port}[port]
    with pytest.raises(TransportError) as raised:
        connect(f"amqps://me:correct%20horse@{host}:{at}/", trust[trusts])
    assert str(raised.value).startswith(f"the broker at {host}:{at} {said}")
    assert SECRET not in str(raised.value)


def test_user_whom_the_broker_refuses_by_tls_is_told_so(
    rabbitmq: RabbitServer, trusting: Security
) -> None:
    with pytest.raises(TransportError, match="does not let user 'guest' into"):
        connect(f"amqps://guest:wrong@{HOST}:{rabbitmq.tls_port}/", trusting)


def test_receiver_that_is_killed_leaves_its_message_to_another(
    rabbitmq: RabbitServer, queue: str
) -> None:
    command = [sys.executable, *RECEIVER, queue, f"{queue}.replies", rabbitmq.url]
    with closing(connect(rabbitmq.url)) as transport:
        with subprocess.Popen(command, cwd=ROOT) as process:
            transport.publish(queue, b"hold this")
            told = received(transport, f"{queue}.replies")
            assert told.body == f"{process.pid} hold this".encode()
            told.acknowledge()
            process.kill()
        assert received(transport, queue).body == b"hold this"


def test_child_that_is_killed_leaves_its_message_to_another(
    rabbitmq: RabbitServer, queue: str
) -> None:
    arguments = [*RECEIVER, queue, f"{queue}.replies"]
    with (
        closing(connect(rabbitmq.url)) as transport,
        Child(arguments, lambda: connect(rabbitmq.url)) as child,
    ):
        transport.publish(queue, b"hold this")
        told = received(transport, f"{queue}.replies")
        assert told.body == f"{child.pid} hold this".encode()
        told.acknowledge()
        os.kill(child.pid, signal.SIGKILL)
        assert received(transport, queue).body == b"hold this"


def test_long_work_does_not_cost_the_connection(
    rabbitmq: RabbitServer, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.federated.transport.link.HEARTBEAT_S", 2)
    monkeypatch.setattr("ml.federated.transport.broker.HEARTBEAT_S", 2)
    with closing(connect(rabbitmq.url)) as working, closing(connect(rabbitmq.url)) as idle:
        working.publish(queue, b"long work")
        delivery = received(working, queue)
        # Without heartbeats, the broker would have given it to the other one by then.
        assert idle.receive([queue], 9) is None
        delivery.acknowledge()
        working.publish(queue, b"next")
        assert received(working, queue).body == b"next"


def test_limit_of_each_queue_instead_of_the_connections_loses_nothing(
    rabbitmq: RabbitServer, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As RabbitMQ 4 has it, where several messages come at once."""
    monkeypatch.setattr(pyamqp.Transport, "qos_semantics_matches_spec", lambda *_: True)
    names = [f"{queue}.{index}" for index in range(3)]
    with closing(connect(rabbitmq.url)) as first, closing(connect(rabbitmq.url)) as second:
        assert first.receive(names, 0) is None
        for name in names:
            second.publish(name, name.encode())
        delivery = first.receive(names, WAIT_S)
        assert delivery is not None
        assert first.receive(names, 0.3) is None
        delivery.acknowledge()
        left = set(names) - {delivery.queue}
        assert received(first, kept := left.pop()).body == kept.encode()
        assert received(second, *left).body == "".join(left).encode()


def test_queue_that_was_removed_is_made_again(rabbitmq: RabbitServer, queue: str) -> None:
    with closing(connect(rabbitmq.url)) as sender, closing(connect(rabbitmq.url)) as receiver:
        sender.publish(queue, b"before")
        received(receiver, queue).acknowledge()
        _remove(rabbitmq, queue)
        sender.publish(queue, b"after")
        assert received(receiver, queue).body == b"after"


def _remove(rabbitmq: RabbitServer, queue: str) -> None:
    with contextlib.closing(link.Link(address.parse(rabbitmq.url))) as one:
        one._channel.queue_delete(queue)


@pytest.mark.parametrize(
    ("user", "host", "said"),
    [
        ("guest:correct%20horse", "/", "does not let user 'guest' into virtual host '/'"),
        ("nobody:correct%20horse", "/", "does not let user 'nobody' into virtual host '/'"),
        (
            "guest:guest",
            "/else%2Fwhere",
            "does not let user 'guest' into virtual host 'else/where'",
        ),
    ],
)
def test_broker_that_refuses_is_told_from_one_that_is_not_there(
    rabbitmq: RabbitServer, user: str, host: str, said: str
) -> None:
    with pytest.raises(TransportError) as raised:
        connect(f"amqp://{user}@{HOST}:{rabbitmq.port}{host}")
    assert str(raised.value).startswith(f"the broker at {HOST}:{rabbitmq.port} {said}")
    assert SECRET not in str(raised.value)


def test_broker_that_is_gone_is_given_up_with_one_sentence(
    rabbitmq: RabbitServer, queue: str
) -> None:
    with TcpProxy(rabbitmq.port) as proxy:
        transports = [connect(url_at(proxy.port), patience_s=0.2) for _ in range(2)]
    said = rf"^the broker at {HOST}:{proxy.port} could not be used for \d+ s \(.+\): see that"
    with pytest.raises(TransportError, match=said):
        transports[0].publish(queue, b"anything")
    with pytest.raises(TransportError, match=said):
        transports[1].receive([queue], WAIT_S)
    for transport in transports:
        transport.close()


def test_broker_that_hangs_is_given_up_and_used_again_later(
    rabbitmq: RabbitServer, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "ANSWER_S", 0.5)
    transport = connect(rabbitmq.url, patience_s=0)
    monkeypatch.setattr(link, "CONNECT_S", 0.5)
    os.kill(rabbitmq.pid, signal.SIGSTOP)
    try:
        with pytest.raises(TransportError, match="does not answer"):
            transport.publish(queue, b"lost, as the error says")
    finally:
        os.kill(rabbitmq.pid, signal.SIGCONT)
    monkeypatch.undo()
    with closing(transport), closing(connect(rabbitmq.url)) as other:
        other.publish(f"{queue}.later", b"works")
        assert received(transport, f"{queue}.later").body == b"works"


@pytest.mark.long
def test_broker_that_is_short_of_memory_is_named_so(
    rabbitmq: RabbitServer, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "ANSWER_S", 1.0)
    with closing(connect(rabbitmq.url, patience_s=0)) as transport:
        rabbitmq.control("set_vm_memory_high_watermark", "absolute", "1")
        try:
            with pytest.raises(TransportError, match="being short of memory or disk"):
                transport.publish(queue, b"anything")
        finally:
            rabbitmq.control("set_vm_memory_high_watermark", "0.4")


def test_receiver_without_a_broker_returns_in_time(rabbitmq: RabbitServer, queue: str) -> None:
    with TcpProxy(rabbitmq.port) as proxy:
        transport = connect(url_at(proxy.port))
    with closing(transport):
        assert transport.receive([queue], 0.2) is None
