"""Addresses of brokers, and what there is in a broker's place."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from ml.chain.anvil import HOST, free_port
from ml.federated.transport import TransportError, link
from ml.federated.transport.address import Broker, parse
from ml.federated.transport.broker import connect
from ml.federated.transport.security import Security


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("amqp://host", Broker("host", 5672, "guest", "guest", "/")),
        ("amqp://host/", Broker("host", 5672, "guest", "guest", "/")),
        ("amqp://me:p%40ss%2F@localhost:1/runs", Broker("localhost", 1, "me", "p@ss/", "runs")),
        ("amqp://me@[::1]:5673/a%2Fb", Broker("::1", 5673, "me", "guest", "a/b")),
        ("amqps://me:pass@host", Broker("host", 5671, "me", "pass", "/", is_tls=True)),
        ("amqps://me:pass@host:1/", Broker("host", 1, "me", "pass", "/", is_tls=True)),
    ],
)
def test_address_is_read_as_rabbitmq_defines_it(url: str, broker: Broker) -> None:
    assert parse(url) == broker


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "begins with neither"),
        ("redis://me:s3cret@host", "begins with neither"),
        ("AMQPS:me:s3cret@host", "begins with neither"),
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


@pytest.mark.parametrize("host", ["broker", "192.0.2.1", "[2001:db8::1]", "127.0.0.1.example"])
def test_password_goes_to_another_machine_unencrypted_only_if_that_is_meant(host: str) -> None:
    url = f"amqp://me:s3cret@{host}/"
    said = rf"^the password would go to {re.escape(host.strip('[]'))} unencrypted: name .* amqps://"
    with pytest.raises(TransportError, match=said) as raised:
        connect(url)
    assert "s3cret" not in str(raised.value)
    meant = parse(url, Security(is_clear_meant=True))
    assert meant is not None
    assert (meant.password, meant.is_tls) == ("s3cret", False)


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_password_goes_to_this_machine_unencrypted(host: str) -> None:
    broker = parse(f"amqp://me:s3cret@{host}/")
    assert broker is not None
    assert broker.password == "s3cret"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "ca.pem cannot be read (No such file or directory)"),
        ("no certificate", "ca.pem has no certificate in PEM"),
    ],
)
def test_authority_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, text: str | None, said: str
) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(TransportError, match=re.escape(said)):
        connect("amqps://me:s3cret@broker/", Security(path))


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
