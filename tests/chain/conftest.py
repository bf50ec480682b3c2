"""A real Anvil for the session; a connection, a registry and models of its own for every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import ape
import pytest

from ml.chain.anvil import AnvilNode
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session, connect
from tests.contracts.story import THESIS, Cast, Story

from .lying_node import LyingNode
from .places import kept_apart, network_at


@pytest.fixture(scope="session")
def node() -> Iterator[AnvilNode]:
    with AnvilNode() as anvil:
        yield anvil


@pytest.fixture
def session(node: AnvilNode, tmp_path: Path) -> Iterator[Session]:
    with kept_apart(tmp_path), connect(network_at(node)) as connected:
        yield connected


@pytest.fixture
def cast() -> Cast:
    return Cast(*ape.accounts.test_accounts[: len(Cast._fields)])


@pytest.fixture
def registry(session: Session, cast: Cast) -> ModelRegistry:
    return session.deploy(cast.deployer)[0]


@pytest.fixture
def create(registry: ModelRegistry, cast: Cast) -> Callable[..., Story]:
    """A new model under a policy, as often as it is called."""
    return lambda policy=THESIS: Story.begin(registry, cast, policy)


@pytest.fixture
def story(create: Callable[..., Story]) -> Story:
    return create()


@pytest.fixture(scope="module")
def shared(node: AnvilNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelRegistry]:
    """One registry, connected to, for all tests of a module."""
    with kept_apart(tmp_path_factory.mktemp("shared")), connect(network_at(node)) as connected:
        yield connected.deploy(ape.accounts.test_accounts[0])[0]


class Tale(NamedTuple):
    """Two models with the same weights, in which v1 is current again after v2 was poisoned."""

    story: Story
    other: Story


@pytest.fixture(scope="session")
def tale(node: AnvilNode, tmp_path_factory: pytest.TempPathFactory) -> Tale:
    with kept_apart(tmp_path_factory.mktemp("tale")), connect(network_at(node)) as session:
        cast = Cast(*ape.accounts.test_accounts[: len(Cast._fields)])
        registry, _ = session.deploy(cast.deployer)
        told = Tale(Story.begin(registry, cast), Story.begin(registry, cast))
        for story in told:
            story.register(metadata='{"data":"clean"}')
            story.validate(metrics='{"f1":0.9}')
            story.play(91)
            story.rollback(1, "poisoned")
        return told


@pytest.fixture
def liar(node: AnvilNode, tmp_path: Path) -> Iterator[LyingNode]:
    """All goes through it from here on; honest until it is given a lie."""
    with (
        kept_apart(tmp_path),
        LyingNode(node.port) as lying,
        connect(network_at(lying)),
    ):
        yield lying
