"""Where messages go: `memory://`, or a broker by AMQP."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from . import TransportError
from .security import BY_DEFAULT, Security

PORTS: Final = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker, and who we are there; printed without the password."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    virtual_host: str
    is_tls: bool = False
    ca: Path | None = None
    """The authorities that its certificate may be of; None: the system's."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"the broker at {host}:{self.port}"


def parse(url: str, security: Security = BY_DEFAULT) -> Broker | None:
    """Read the address of a broker, and check that it may be used; None for `memory://`.

    As RabbitMQ's URI specification has it: parts are percent-encoded; without a path, the virtual
    host is "/"; without a user, it is "guest" with the password "guest".

    Raises:
        TransportError: it is anything else, a password would go to another machine unencrypted, or
            the authorities cannot be read. What could be a password is not in the text.
    """
    if url == "memory://":
        return None
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in PORTS:
        raise _unusable("it begins with neither memory:// nor amqps:// nor amqp://")
    if "?" in url or "#" in url:
        raise _unusable("there is a ? or # in it, which a password has as %3F or %23")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _unusable("its host or port is none") from None
    if not parts.hostname:
        raise _unusable("it names no host")
    is_tls = scheme == "amqps"
    broker = Broker(
        host=parts.hostname,
        port=PORTS[scheme] if port is None else port,
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        virtual_host=_virtual_host(parts),
        is_tls=is_tls,
        ca=security.ca if is_tls else None,
    )
    if is_tls:
        security.check_ca()
    elif parts.password is not None:
        security.check_clear(broker.host)
    return broker


def _virtual_host(parts: SplitResult) -> str:
    name = parts.path[1:]
    if "/" in name:
        raise _unusable("there is more than one / behind the host, which a name has as %2F")
    return unquote(name) or "/"


def _unusable(why: str) -> TransportError:
    return TransportError(
        f"the broker's address cannot be used: {why}; it is memory://, or"
        " amqps://USER:PASSWORD@HOST:PORT/VIRTUAL_HOST"
    )
