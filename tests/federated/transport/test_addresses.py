"""Addresses of brokers, and what there is in a broker's place."""

from __future__ import annotations

import socket

import pytest

from ml.chain.anvil import HOST, free_port
from ml.federated.transport import TransportError, link
from ml.federated.transport.address import Broker, parse
from ml.federated.transport.broker import connect


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("amqp://host", Broker("host", 5672, "guest", "guest", "/")),
        ("amqp://host/", Broker("host", 5672, "guest", "guest", "/")),
        ("amqp://me:p%40ss%2F@host:1/runs", Broker("host", 1, "me", "p@ss/", "runs")),
        ("amqp://me@[::1]:5673/a%2Fb", Broker("::1", 5673, "me", "guest", "a/b")),
    ],
)
def test_address_is_read_as_rabbitmq_defines_it(url: str, broker: Broker) -> None:
    assert parse(url) == broker


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "begins with neither"),
        ("redis://me:s3cret@host", "begins with neither"),
        ("amqps://me:s3cret@host", "begins with neither"),
        ("memory://somewhere", "begins with neither"),
        ("amqp://me:s3cret@", "names no host"),
        ("amqp://me:s3cret@host:port", "host or port is none"),
        ("amqp://me:s3cret@host:70000", "host or port is none"),
        ("amqp://me:s3cret@[host", "host or port is none"),
        ("amqp://me:s3#cret@host", "which a password has as %3F"),
        ("amqp://me:s3cret@host/a/b", "more than one /"),
    ],
)
def test_unusable_address_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(TransportError, match=said) as raised:
        connect(url)
    assert "cret" not in str(raised.value)


def test_broker_is_printed_without_its_password() -> None:
    broker = Broker("::1", 5672, "me", "s3cret", "/")
    assert str(broker) == "the broker at [::1]:5672"
    assert "s3cret" not in repr(broker)


def test_port_where_nobody_listens_is_one_sentence() -> None:
    port = free_port()
    with pytest.raises(TransportError) as raised:
        connect(f"amqp://me:s3cret@{HOST}:{port}/", patience_s=0)
    assert str(raised.value) == (
        f"the broker at {HOST}:{port} could not be used for 0 s (Connection refused): see that the"
        " broker runs, and that its address is right"
    )


def test_port_where_something_else_is_silent_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "CONNECT_S", 0.2)
    with (
        socket.create_server((HOST, 0)) as silent,
        pytest.raises(TransportError, match=r"could not be used for \d+ s \(it does not answer\)"),
    ):
        connect(f"amqp://{HOST}:{silent.getsockname()[1]}/", patience_s=0)
