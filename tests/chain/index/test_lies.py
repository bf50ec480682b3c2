"""A node that lies, refuses or keeps little: the index takes nothing that cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import URL

from ml.chain import history, models
from ml.chain.anvil import AnvilNode
from ml.chain.index.blocks import BlockSource
from ml.chain.index.database import IN_MEMORY, ChainName, Database
from ml.chain.index.event_index import EventIndex, followed
from ml.chain.index.reading import IndexedRegistry
from ml.chain.outbox.rpc import Rpc
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.registry import ModelRegistry
from ml.chain.session import connect
from ml.errors import ModelproofError, NotVerified
from tests.chain.lying_node import (
    Lie,
    Log,
    LyingNode,
    cut,
    with_text,
    with_topic,
    without,
)
from tests.chain.places import network_at
from tests.contracts.story import Cast, Story

from .conftest import MakeIndex


@pytest.fixture(scope="module")
def told(registry: ModelRegistry, module_cast: Cast) -> Story:
    """A model that a node can lie about; v1 is current again after v2 was poisoned."""
    story = Story.begin(registry, module_cast)
    story.register(metadata='{"data":"clean"}')
    story.validate(metrics='{"f1":0.9}')
    story.play(91)
    story.rollback(1, "poisoned")
    return story


class Liar(LyingNode):
    """Lies about blocks too, and refuses searches for logs."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.of_blocks: Callable[[Log], Any] = dict
        """What is told instead of a block."""
        self.refuses: Callable[[dict[str, Any]], str | None] = lambda _: None
        """Why a search is refused, None if it is not."""

    def respond(self, body: bytes) -> bytes:
        asked, answer = json.loads(body), json.loads(super().respond(body))
        several = isinstance(asked, list)
        told = [
            self._told(*both)
            for both in zip(
                asked if several else [asked], answer if several else [answer], strict=True
            )
        ]
        return json.dumps(told if several else told[0]).encode()

    def _told(self, asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if asked["method"] == "eth_getBlockByNumber" and answer.get("result"):
            return {**answer, "result": self.of_blocks(answer["result"])}
        refusal = self.refuses(asked["params"][0]) if asked["method"] == "eth_getLogs" else None
        if refusal is None:
            return answer
        error = {"code": -32005, "message": refusal}
        return {"jsonrpc": "2.0", "id": asked["id"], "error": error}


@pytest.fixture(scope="module")
def listening(node: AnvilNode) -> Iterator[tuple[Liar, Rpc]]:
    """A liar, and a connection to it."""
    with Liar(node.port) as lying, connect(network_at(lying)) as session:
        yield lying, Rpc.of(session.provider)


@pytest.fixture
def liar(listening: tuple[Liar, Rpc]) -> Liar:
    """Honest until it is told otherwise."""
    lying, _ = listening
    lying.lie, lying.of_blocks, lying.refuses = list, dict, lambda _: None
    return lying


@pytest.fixture
def index(
    listening: tuple[Liar, Rpc],
    liar: Liar,
    told: Story,
    registry: ModelRegistry,
    log: ProvenanceLog,
    chain: ChainName,
) -> Iterator[EventIndex]:
    """An index whose node is the liar."""
    database = Database(IN_MEMORY, chain)
    contracts = [followed(registry), followed(log)]
    yield EventIndex(database, BlockSource(listening[1]), contracts, 40)
    database.close()


def elsewhere(logs: list[Log]) -> list[Log]:
    return [{**log, "blockNumber": hex(10**6)} for log in logs]


def of_others(logs: list[Log]) -> list[Log]:
    return [{**log, "address": "0x" + "11" * 20} for log in logs]


def twice(logs: list[Log]) -> list[Log]:
    return [*logs, *logs]


def created_twice(logs: list[Log]) -> list[Log]:
    (creation, *_) = [log for log in logs if not without("ModelCreated")([log])]
    return [*logs, {**creation, "logIndex": hex(900)}]


def gone(logs: list[Log]) -> list[Log]:
    return [{**log, "removed": True} for log in logs]


def without_a_hash(logs: list[Log]) -> list[Log]:
    return [{**log, "blockHash": None} for log in logs]


def numbered(index: str) -> Lie:
    return lambda logs: [{**log, "logIndex": index} for log in logs]


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(elsewhere, id="of a block that was not asked for"),
        pytest.param(of_others, id="of a contract that was not asked for"),
        pytest.param(twice, id="told twice"),
        pytest.param(created_twice, id="a model created twice"),
        pytest.param(gone, id="said to be gone"),
        pytest.param(without_a_hash, id="in no block"),
        pytest.param(numbered("-0x1"), id="a place below zero"),
        pytest.param(numbered("0x" + "f" * 20), id="a place that no database holds"),
        pytest.param(cut(101), id="data cut off"),
        pytest.param(with_topic(0, bytes(32)), id="an event that there is not"),
        pytest.param(lambda _: None, id="null for the list"),
        pytest.param(lambda _: {"logs": []}, id="an object for the list"),
        pytest.param(lambda _: ["log", 5, {}], id="what are no logs"),
    ],
)
def test_events_that_cannot_be_are_not_indexed(index: EventIndex, liar: Liar, lie: Lie) -> None:
    liar.lie = lie
    with pytest.raises(NotVerified, match="ask another node"):
        index.update()
    liar.lie = list
    assert index.update().taken_back == 0


@pytest.mark.parametrize(
    "made_of",
    [
        pytest.param(lambda _: [], id="a list"),
        pytest.param(lambda _: "block", id="a text"),
        pytest.param(lambda block: {**block, "hash": "0x12"}, id="a short hash"),
        pytest.param(lambda block: {**block, "number": "x"}, id="no number"),
        pytest.param(lambda block: {**block, "timestamp": hex(2**70)}, id="an endless time"),
        pytest.param(
            lambda block: {**block, "number": hex(int(block["number"], 16) + 1)}, id="another block"
        ),
    ],
)
def test_blocks_that_cannot_be_are_not_indexed(
    index: EventIndex, liar: Liar, made_of: Callable[[Log], Any]
) -> None:
    liar.of_blocks = made_of
    with pytest.raises(NotVerified):
        index.update()


def test_events_of_other_blocks_than_the_nodes_own_are_not_indexed(
    index: EventIndex, liar: Liar
) -> None:
    liar.lie = lambda logs: [{**log, "blockHash": "0x" + "22" * 32} for log in logs]
    with pytest.raises(ModelproofError, match="changed 5 times while it was read"):
        index.update()


def test_node_that_refuses_many_blocks_at_once_is_asked_for_fewer(
    index: EventIndex, liar: Liar, make_index: MakeIndex
) -> None:
    def refuse(query: dict[str, Any]) -> str | None:
        blocks = int(query["toBlock"], 16) - int(query["fromBlock"], 16) + 1
        return "query returned more than 10000 results" if blocks > 3 else None

    liar.refuses = refuse
    index.update()
    honest = make_index()
    honest.update()
    assert index.status().digest == honest.status().digest


def test_node_without_history_is_named_as_such(index: EventIndex, liar: Liar) -> None:
    liar.refuses = lambda _: "missing trie node"
    with pytest.raises(ModelproofError, match=r"may keep too little of the chain.*another one\.$"):
        index.update()


# --- What is read through the index ---------------------------------------------------------------


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(with_text("clean", "dirty"), id="metadata changed"),
        pytest.param(with_text("f1", "f9"), id="metrics changed"),
        pytest.param(with_text("poisoned", "perfect!"), id="reason changed"),
        pytest.param(without("VersionRegistered"), id="registrations left out"),
        pytest.param(without("RolledBackManually"), id="rollback left out"),
        pytest.param(without("ModelCreated"), id="creation left out"),
        pytest.param(lambda _: [], id="all left out"),
    ],
)
def test_history_is_checked_and_an_index_with_a_lie_made_again(
    index: EventIndex, liar: Liar, told: Story, lie: Lie
) -> None:
    registry = IndexedRegistry(told.registry, index)

    def read() -> history.History:
        return registry.believed(lambda: history.read(registry, told.id))

    liar.lie = lie
    with pytest.raises(NotVerified, match=r"[aA]sk another node"):
        read()
    lied = index.status().digest  # the lie is in it
    liar.lie = list
    assert read() == history.read(told.registry, told.id)
    assert index.status().digest != lied


def test_model_that_there_is_not_leaves_the_index_alone(
    index: EventIndex, told: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = IndexedRegistry(told.registry, index)
    monkeypatch.setattr(index, "rebuild", pytest.fail)
    with pytest.raises(models.UnknownModel):
        registry.believed(lambda: models.resolve(registry, "mnits"))


def test_model_that_a_node_kept_back_once_is_found_again(
    index: EventIndex, liar: Liar, told: Story
) -> None:
    registry = IndexedRegistry(told.registry, index)
    liar.lie = without("ModelCreated")
    index.update()
    liar.lie = list
    found = registry.believed(lambda: models.resolve(registry, told.name))
    assert found.id == told.id


def test_index_that_was_changed_by_hand_is_made_again(
    make_index: MakeIndex, place: URL, told: Story
) -> None:
    index = make_index(place)
    registry = IndexedRegistry(told.registry, index)
    index.update()
    with index.database.writing() as connection:
        name = "chain" if place.get_backend_name() == "sqlite" else index.database.chain.label
        table = "events" if name == "chain" else f"{name}.events"
        connection.exec_driver_sql(f"DELETE FROM {table} WHERE topic1 IS NOT NULL")
    whole = registry.believed(lambda: history.read(registry, told.id))
    assert whole == history.read(told.registry, told.id)
