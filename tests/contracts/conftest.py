"""One registry for the session; a model of its own for every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ape.api import ReceiptAPI
from ape_test import LocalProvider

from ml.chain.registry import ModelRegistry

from .batch import Batch
from .nodes import speak_json_rpc
from .story import Cast, Story

ON_ANVIL_ALONE = {"batch", "harness", "measured"}
"""Fixtures of tests that call with more gas than a block has, or compare figures of Anvil's."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make conformance` runs on other nodes: one case of every test that can run there.

    Nodes differ in whole opcodes and answers, not in the numbers that cases try.
    """
    seen: set[str] = set()
    for item in items:
        name, _, _ = item.nodeid.partition("[")
        if item.path.is_relative_to(Path(__file__).parent) and runs_anywhere(item):
            if name not in seen:
                item.add_marker("conformance")
            seen.add(name)


def runs_anywhere(item: pytest.Item) -> bool:
    """Whether a test uses a chain, and one that mines and answers in the ordinary way will do."""
    needed = set(getattr(item, "fixturenames", ()))
    marked = {mark.name for mark in item.iter_markers()}
    return "cast" in needed and not needed & ON_ANVIL_ALONE and not marked & {"anvil_only", "slow"}


@pytest.fixture(scope="session", autouse=True)
def _no_tracing() -> Iterator[None]:
    """Ape traces every transaction for what contracts have printed, and ours print nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReceiptAPI, "show_debug_logs", lambda _: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _journal_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Other nodes than Ape's own are taken for chains that last, of which a journal is kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELPROOF_OUTBOX", str(tmp_path_factory.mktemp("outbox")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_way_of_answering(chain: Any) -> None:
    if isinstance(chain.provider, LocalProvider):
        speak_json_rpc(chain.provider)


@pytest.fixture(scope="session")
def cast(accounts: Any) -> Cast:
    return Cast(*accounts[: len(Cast._fields)])


@pytest.fixture(scope="session")
def caller(project: Any, cast: Cast) -> Any:
    return cast.deployer.deploy(project.BatchCaller)


@pytest.fixture(scope="session")
def registry(project: Any, cast: Cast) -> ModelRegistry:
    contract = cast.deployer.deploy(project.ModelRegistry)
    return ModelRegistry(contract, contract.creation_metadata.receipt.block_number)


@pytest.fixture(scope="session")
def batch(caller: Any, registry: ModelRegistry) -> Batch:
    return Batch(caller, registry)


@pytest.fixture
def create(registry: ModelRegistry, cast: Cast) -> Callable[..., Story]:
    """A new model under a policy, as often as it is called."""
    return partial(Story.begin, registry, cast)


@pytest.fixture
def story(create: Callable[[], Story]) -> Story:
    """A new model under the preset ``thesis``."""
    return create()
