"""Indexes of every kind, on a node of the module's own, with contracts that say a lot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import ape
import pytest
from sqlalchemy import URL, make_url

from ml.chain.anvil import AnvilNode
from ml.chain.index.blocks import BlockSource
from ml.chain.index.database import IN_MEMORY, ChainName, Database
from ml.chain.index.event_index import EventIndex, followed
from ml.chain.outbox.rpc import Rpc
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session, connect
from tests.chain.places import kept_apart, network_at
from tests.contracts.story import Cast, Story

from .postgres import running_postgres

MakeIndex = Callable[..., EventIndex]


@pytest.fixture(scope="session")
def postgres() -> Iterator[URL]:
    with running_postgres() as url:
        yield make_url(url)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """Where an index is, in each kind of database."""
    if request.param == "postgres":
        url: URL = request.getfixturevalue("postgres")
        return url
    return URL.create("sqlite", database=str(tmp_path / "index.sqlite"))


@pytest.fixture(scope="module")
def node() -> Iterator[AnvilNode]:
    with AnvilNode() as anvil:
        yield anvil


@pytest.fixture(scope="module")
def module_session(node: AnvilNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with kept_apart(tmp_path_factory.mktemp("index")), connect(network_at(node)) as connected:
        yield connected


@pytest.fixture(scope="module")
def module_cast() -> Cast:
    return Cast(*ape.accounts.test_accounts[: len(Cast._fields)])


@pytest.fixture(scope="module")
def registry(module_session: Session, module_cast: Cast) -> ModelRegistry:
    return module_session.deploy(module_cast.deployer)[0]


@pytest.fixture(scope="module")
def log(module_session: Session, module_cast: Cast) -> ProvenanceLog:
    made = module_cast.deployer.deploy(ape.project.ProvenanceLog)
    return ProvenanceLog(made, made.creation_metadata.receipt.block_number)


@pytest.fixture
def story(registry: ModelRegistry, module_cast: Cast) -> Story:
    return Story.begin(registry, module_cast)


@pytest.fixture(scope="module")
def chain(module_session: Session) -> ChainName:
    return ChainName(module_session.chain_id, module_session.genesis)


@pytest.fixture
def make_index(
    module_session: Session, registry: ModelRegistry, log: ProvenanceLog, chain: ChainName
) -> Iterator[MakeIndex]:
    """Opens indexes of the registry and the log, and closes them."""
    opened: list[Database] = []

    def make(place: URL = IN_MEMORY, *, anew: bool = True, finality: int = 40) -> EventIndex:
        database = Database(place, chain, anew=anew and place != IN_MEMORY)
        opened.append(database)
        source = BlockSource(Rpc(module_session.provider.web3))
        return EventIndex(database, source, [followed(registry), followed(log)], finality)

    yield make
    for database in opened:
        database.close()
