"""One RabbitMQ for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools.rabbitmq.server import RabbitServer

from .broker import begin_to_install, running_broker


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have RabbitMQ ready by the time that its tests come."""
    if any("rabbitmq" in item.nodeid for item in session.items):
        begin_to_install()


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitServer]:
    with running_broker() as server:
        yield server
