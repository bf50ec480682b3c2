"""One RabbitMQ for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools.rabbitmq.server import RabbitServer

from .broker import begin_to_install, running_broker
from .certificates import Authority, authority


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have RabbitMQ ready by the time that its tests come."""
    if any("rabbitmq" in item.nodeid for item in session.items):
        begin_to_install()


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signed the certificate of the broker."""
    return authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def rabbitmq(signer: Authority) -> Iterator[RabbitServer]:
    with running_broker(signer.sign_for()) as server:
        yield server
