"""Who reads, writes and makes one index anew, at once: each sees all of it, of one moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import ape
import psycopg
import pytest
from sqlalchemy import URL, event, select
from web3 import HTTPProvider, Web3

from ml.chain.anvil import AnvilNode
from ml.chain.index import tables
from ml.chain.index.blocks import BlockSource
from ml.chain.index.database import ChainName, Database
from ml.chain.index.event_index import EventIndex, followed
from ml.chain.index.following import take_back
from ml.chain.outbox.rpc import Question, Rpc
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.registry import ModelRegistry
from tests.contracts.story import Cast

from .branches import Branches, own_connection
from .conftest import MakeIndex
from .processes import in_child, status_of

DEADLINE_S = 300


@pytest.fixture(scope="module")
def branches(node: AnvilNode, log: ProvenanceLog, module_cast: Cast) -> Branches:
    made = Branches(node, log, module_cast.deployer.deploy(ape.project.BatchCaller))
    made.append(3)
    made.mine(3)
    made.append()
    return made


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_waiting(place: URL) -> bool:
    """Whether somebody waits for a lock in a PostgreSQL."""
    with psycopg.connect(
        host=str(place.query["host"]), user=place.username, dbname=place.database
    ) as connection:
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        row = connection.execute(waits).fetchone()
        return row is not None and row[0] > 0


def done_or_waiting(work: Future[Any], place: URL) -> Callable[[], bool]:
    return lambda: work.done() or (place.get_backend_name() != "sqlite" and is_waiting(place))


def test_reader_sees_all_of_what_is_made_anew_meanwhile(
    place: URL, make_index: MakeIndex, branches: Branches, thread: ThreadPoolExecutor
) -> None:
    index = make_index(place)
    index.update()
    before = index.status().digest
    other = make_index(place, anew=False)
    with index.database.reading() as connection:
        connection.execute(select(tables.events)).all()
        remaking = thread.submit(other.database.remake)
        wait_until(done_or_waiting(remaking, place))
        assert tables.content_digest(connection) == before
    remaking.result(DEADLINE_S)
    other.update()
    assert other.status().digest == before


@pytest.mark.parametrize("anew", [True, False], ids=["anew", "as it is"])
def test_reader_waits_for_tables_that_are_being_replaced(
    postgres: URL,
    make_index: MakeIndex,
    chain: ChainName,
    branches: Branches,
    thread: ThreadPoolExecutor,
    anew: bool,
) -> None:
    """Its view of the rows must not be older than the tables."""
    index = make_index(postgres)
    index.update()
    before = index.status().digest
    with index.database.writing() as connection:
        if anew:
            connection.exec_driver_sql(f"ALTER TABLE {chain.label}.versions DROP COLUMN weights")
        else:
            connection.exec_driver_sql(f"UPDATE {chain.label}.state SET format = 0")
    other = Database.__new__(Database)
    almost, may_end = threading.Event(), threading.Event()

    def pause(*happening: Any) -> None:
        if str(happening[2]).startswith("INSERT INTO"):  # the last step
            almost.set()
            may_end.wait(DEADLINE_S)

    def connect(self: Database) -> Any:
        engine = Database._connect(self)
        event.listen(engine, "before_cursor_execute", pause)
        return engine

    other._connect = connect.__get__(other)  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as maker:
        making = maker.submit(other.__init__, postgres, chain, anew=anew)  # type: ignore[misc]
        assert almost.wait(DEADLINE_S)

        def read() -> Sequence[Any]:
            with index.database.reading() as connection:
                return connection.execute(select(tables.state)).all()

        reading = thread.submit(read)
        wait_until(done_or_waiting(reading, postgres))
        may_end.set()
        making.result(DEADLINE_S)
        assert [row.format for row in reading.result(DEADLINE_S)] == [tables.FORMAT]
    other.close()
    index.update()
    assert index.status().digest == before


@pytest.mark.parametrize("left", [0, 2], ids=["nothing", "half"])
def test_index_that_others_made_anew_is_read_once_it_is_whole(
    place: URL, make_index: MakeIndex, log: ProvenanceLog, branches: Branches, left: int
) -> None:
    index = make_index(place)
    tip = index.update().tip
    other = make_index(place, anew=False)
    if left:
        with other.database.writing() as connection:
            take_back(connection, tip.number - left)
    else:
        other.database.remake()
    found, as_of = index.search(log.address, [])
    assert found == list(log.search([]))
    assert as_of == tip


def test_headers_that_others_added_meanwhile_are_not_added_again(
    place: URL,
    make_index: MakeIndex,
    node: AnvilNode,
    registry: ModelRegistry,
    log: ProvenanceLog,
    branches: Branches,
) -> None:
    branches.mine(8)
    make_index(place, finality=2).update()  # others go back further, and keep more headers
    other = make_index(place, anew=False, finality=6)

    class Interrupted(Rpc):
        """A connection on which the other is quicker, once headers are asked for."""

        asked = 0

        def ask_all(self, questions: Sequence[Question]) -> list[Any]:
            answers = super().ask_all(questions)
            if len(questions) > 1 and not Interrupted.asked:
                Interrupted.asked += 1
                other.update()
            return answers

    source = BlockSource(Interrupted(Web3(HTTPProvider(node.url))))
    contracts = [followed(registry), followed(log)]
    EventIndex(other.database, source, contracts, 6).update()
    assert Interrupted.asked
    fresh = make_index(finality=6)
    fresh.update()
    assert other.status().digest == fresh.status().digest


def test_processes_read_all_while_others_make_it_anew(
    place: URL,
    make_index: MakeIndex,
    node: AnvilNode,
    registry: ModelRegistry,
    log: ProvenanceLog,
    chain: ChainName,
    branches: Branches,
) -> None:
    index = make_index(place)
    index.update()
    expected = list(log.search([]))
    before = index.status().digest
    contracts = [followed(registry), followed(log)]

    def opened() -> EventIndex:
        return EventIndex(Database(place, chain), BlockSource(own_connection(node)), contracts, 40)

    def read() -> None:
        reader = opened()
        for _ in range(10):
            reader.update()
            assert reader.search(log.address, [])[0] == expected

    def rebuild() -> None:
        writer = opened()
        for _ in range(5):
            writer.rebuild()

    children = [in_child(work) for work in (rebuild, read, read, rebuild)]
    assert [status_of(child) for child in children] == [0, 0, 0, 0]
    assert index.status().digest == before
