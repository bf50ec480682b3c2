"""A real RabbitMQ for tests."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools.rabbitmq.install import InstallError, install
from tools.rabbitmq.server import RabbitServer


def begin_to_install() -> None:
    """Fetch it meanwhile; what goes wrong, `running_broker` says."""
    threading.Thread(target=_install, daemon=True).start()


@contextmanager
def running_broker(certificate: tuple[Path, Path] | None = None) -> Iterator[RabbitServer]:
    """Run a broker until the block ends, by TLS, too, if it is given a certificate and its key.

    What cannot be installed is skipped by name; in CI that is a failure.
    """
    if failure := _install():
        if os.environ.get("CI"):
            pytest.fail(failure)
        pytest.skip(failure)
    with RabbitServer(certificate=certificate) as server:
        yield server


def _install() -> str:
    try:
        install()
    except InstallError as error:
        return str(error)
    return ""
