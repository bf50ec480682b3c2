"""What all tests share: how Hypothesis searches, and what begins first."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from ml.chain.anvil import HOST, free_port

# The same examples each time, and no limit that a slow machine could exceed;
# HYPOTHESIS_PROFILE=search looks for new ones.
NEVER_SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile(
    "repeat", deadline=None, derandomize=True, suppress_health_check=NEVER_SLOW
)
settings.register_profile(
    "search", deadline=None, max_examples=2_000, suppress_health_check=NEVER_SLOW
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))


@pytest.fixture(scope="session", autouse=True)
def _connecting_takes_as_long_as_at_first() -> Iterator[None]:
    """Ape has the class of a provider do once more what follows on connecting for each one made.

    It writes a file then: the hundredth connection of a process would write it a hundred times.
    """
    from ape_ethereum.provider import Web3Provider

    wrap = Web3Provider.__new__
    wrapped = dict[type[Web3Provider], Any]()

    def wrap_once(kind: type[Web3Provider], *_: Any, **__: Any) -> Web3Provider:
        made = wrap(kind)
        kind.connect = wrapped.setdefault(kind, kind.connect)  # type: ignore[method-assign]
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Web3Provider, "__new__", wrap_once)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection_finish() -> Generator[None, Any, Any]:
    """Give the Anvil that Ape starts now a port of its own.

    Left to itself, Ape tries any port, and takes an Anvil that listens there for its own: two
    workers would then undo each other's blocks.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("APE_FOUNDRY_HOST", f"http://{HOST}:{free_port()}")
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have slow tests, so that no worker is left with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
