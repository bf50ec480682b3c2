"""The index is that of the node's chain, however it got there."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ape
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import URL, event
from web3 import HTTPProvider, Web3

from ml.chain.anvil import AnvilNode
from ml.chain.index import following
from ml.chain.index.blocks import BlockSource
from ml.chain.index.database import ChainName, Database
from ml.chain.index.event_index import EventIndex, followed
from ml.chain.index.queries import Search
from ml.chain.log_records import RecordKind
from ml.chain.outbox.rpc import Question, Rpc
from ml.chain.outbox.settings import finality_depth
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session
from tests.contracts.story import Cast, Story

from .branches import Branches, own_connection
from .conftest import MakeIndex
from .processes import in_child, kill_at, status_of

DEPTHS = range(1, 31)
SOMETIMES = (1, 2, 3, 5, 8, 13, 21, 30)


@pytest.fixture(scope="module")
def branches(node: AnvilNode, log: ProvenanceLog, module_cast: Cast) -> Branches:
    return Branches(node, log, module_cast.deployer.deploy(ape.project.BatchCaller))


def digest(index: EventIndex) -> bytes:
    index.update()
    return index.status().digest


# --- What it has ----------------------------------------------------------------------------------


def test_index_has_every_event_of_every_contract_in_order(
    place: URL,
    make_index: MakeIndex,
    registry: ModelRegistry,
    log: ProvenanceLog,
    story: Story,
    module_cast: Cast,
) -> None:
    story.play(90, 91)
    log.append(RecordKind.DATA, os.urandom(32), sender=module_cast.trainer, metadata="é {}")
    index = make_index(place)
    index.update()
    for contract in (registry, log):
        told = list(contract.search([]))
        assert index.search(contract.address, [])[0] == told
        assert {event.name for event in told} & {"VersionRegistered", "Recorded"}


def test_what_is_indexed_is_not_asked_for_again(make_index: MakeIndex, branches: Branches) -> None:
    index = make_index()
    branches.append(2)
    first = index.update()
    branches.append()
    branches.mine(3)
    second, third = index.update(), index.update()
    assert second.tip.number == first.tip.number + 4 == branches.height
    assert (second.blocks, third.blocks, third.tip) == (4, 0, second.tip)


def test_index_made_in_any_portions_is_the_same(
    place: URL, make_index: MakeIndex, branches: Branches, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown = make_index(place, finality=3)
    for blocks in (0, 1, 5, 2):
        branches.append(2)
        branches.mine(blocks)
        monkeypatch.setattr(following, "_FIRST_SPAN", blocks + 1)
        assert digest(grown) == digest(make_index(finality=3))
    before = digest(grown)
    grown.rebuild()
    assert digest(grown) == before


def test_contract_that_comes_later_is_indexed_from_its_first_block_on(
    make_index: MakeIndex,
    chain: ChainName,
    module_session: Session,
    registry: ModelRegistry,
    log: ProvenanceLog,
    branches: Branches,
    place: URL,
) -> None:
    database = Database(place, chain, anew=True)
    source = BlockSource(Rpc(module_session.provider.web3))
    branches.append()
    EventIndex(database, source, [followed(log)], 40).update()
    later = EventIndex(database, source, [followed(registry), followed(log)], 40)
    assert digest(later) == digest(make_index())
    # whoever knows only one of them goes on with both
    branches.append()
    early = EventIndex(database, source, [followed(log)], 40)
    with pytest.raises(Exception, match="the index has a ModelRegistry, which is not known here"):
        early.update()
    database.close()


# --- Reorganisations ------------------------------------------------------------------------------


def test_blocks_of_another_branch_are_taken_back_at_any_depth(
    make_index: MakeIndex, postgres: URL, tmp_path, branches: Branches
) -> None:
    sqlite = URL.create("sqlite", database=str(tmp_path / "index.sqlite"))
    indexes = [make_index(sqlite), make_index(postgres)]
    chance = random.Random(5)
    for depth in DEPTHS:
        mark = branches.mark()
        events = chance.randint(1, min(depth, 3))
        for _ in range(events):
            branches.append()
        branches.mine(depth - events)
        before = [index.update() for index in indexes]
        branches.back(mark)
        branches.mine(chance.randint(0, 2))
        branches.append(chance.randint(1, 2))
        branches.mine(chance.randint(0, depth + 2))
        after = [index.update() for index in indexes]
        assert [progress.taken_back for progress in after] == [depth] * 2
        assert all(one.tip.hash != other.tip.hash for one, other in zip(before, after, strict=True))
        one, other = (index.status().digest for index in indexes)
        assert one == other
        if depth in SOMETIMES:  # a new one takes longer each time
            assert one == digest(make_index())


def test_branch_that_begins_below_the_finality_depth_is_followed_too(
    make_index: MakeIndex, branches: Branches
) -> None:
    index = make_index(finality=5)
    mark = branches.mark()
    branches.append()
    branches.mine(10)
    branches.append()
    branches.mine(20)
    index.update()
    branches.back(mark)
    branches.append()
    assert digest(index) == digest(make_index(finality=5))


def test_finality_is_the_networks() -> None:
    depths = [finality_depth(f"{name}:node") for name in ("ethereum:sepolia", "base:sepolia")]
    assert depths == [64, 600]


def test_chain_that_became_shorter_is_followed(make_index: MakeIndex, branches: Branches) -> None:
    index = make_index(finality=8)
    branches.append()
    mark = branches.mark()
    branches.append(3)
    branches.mine(6)
    index.update()
    branches.back(mark)
    assert digest(index) == digest(make_index(finality=8))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 3)),
        st.tuples(st.just("mine"), st.integers(1, 9)),
        st.tuples(st.just("update"), st.just(0)),
        st.tuples(st.just("mark"), st.just(0)),
        st.tuples(st.just("back"), st.just(0)),
    ),
    max_size=14,
)


@settings(max_examples=10)
@given(done=steps, finality=st.integers(1, 12))
def test_whatever_happens_in_between_the_index_ends_as_a_new_one(
    make_index: MakeIndex, branches: Branches, done: list[tuple[str, int]], finality: int
) -> None:
    index = make_index(finality=finality)
    marks = []
    for what, number in done:
        if what == "append":
            branches.append(number)
        elif what == "mine":
            branches.mine(number)
        elif what == "update":
            index.update()
        elif what == "mark":
            marks.append(branches.mark())
        elif marks:
            branches.back(marks.pop())
    assert digest(index) == digest(make_index(finality=finality))


# --- Several processes, and killed ones -----------------------------------------------------------


class Counted(Rpc):
    """A connection that counts what is asked for."""

    def __init__(self, node: AnvilNode, count: Callable[..., None]) -> None:
        super().__init__(Web3(HTTPProvider(node.url)))
        self.count = count

    def ask_all(self, questions: Sequence[Question]) -> list[Any]:
        self.count()
        return super().ask_all(questions)


def test_update_that_was_killed_at_any_step_is_finished_by_the_next(
    make_index: MakeIndex,
    node: AnvilNode,
    registry: ModelRegistry,
    log: ProvenanceLog,
    chain: ChainName,
    branches: Branches,
    tmp_path: Path,
) -> None:
    """It goes back three blocks and on in two portions; killed before each change and question."""
    contracts = [followed(registry), followed(log)]
    before, place = tmp_path / "before.sqlite", tmp_path / "index.sqlite"
    url = URL.create("sqlite", database=str(place))
    mark = branches.mark()
    branches.append()
    branches.mine(2)
    index = make_index(URL.create("sqlite", database=str(before)), finality=4)
    index.update()
    index.database.close()  # all of it is in the one file then
    branches.back(mark)
    branches.append(2)
    branches.mine(3)
    expected = digest(make_index(finality=4))

    def update_until(step: int) -> None:
        following._FIRST_SPAN = 2
        count = kill_at(step)
        database = Database(url, chain)
        for name in ("before_cursor_execute", "commit"):
            event.listen(database._engine, name, count)
        EventIndex(database, BlockSource(Counted(node, count)), contracts, 4).update()

    codes = []
    while not codes or codes[-1] != 0:
        shutil.copy(before, place)
        codes.append(status_of(in_child(partial(update_until, len(codes) + 1))))
        index = make_index(url, anew=False, finality=4)
        assert digest(index) == expected
        index.database.close()
    assert set(codes[:-1]) == {-signal.SIGKILL}
    assert len(codes) > 20


def test_update_of_a_server_that_was_killed_is_finished_by_the_next(
    make_index: MakeIndex,
    postgres: URL,
    node: AnvilNode,
    registry: ModelRegistry,
    log: ProvenanceLog,
    chain: ChainName,
    branches: Branches,
) -> None:
    contracts = [followed(registry), followed(log)]

    def update_until(step: int) -> None:
        following._FIRST_SPAN = 2
        count = kill_at(step)
        database = Database(postgres, chain)
        event.listen(database._engine, "before_cursor_execute", count)
        EventIndex(database, BlockSource(own_connection(node)), contracts, 4).update()

    for step in (1, 4, 7, 10):
        index = make_index(postgres, finality=4)
        mark = branches.mark()
        branches.append()
        branches.mine(2)
        index.update()
        branches.back(mark)
        branches.append(2)
        branches.mine(3)
        assert status_of(in_child(partial(update_until, step))) == -signal.SIGKILL
        assert digest(index) == digest(make_index(finality=4))


def test_processes_that_index_at_once_make_one_index(
    place: URL,
    make_index: MakeIndex,
    node: AnvilNode,
    registry: ModelRegistry,
    log: ProvenanceLog,
    chain: ChainName,
    branches: Branches,
) -> None:
    contracts = [followed(registry), followed(log)]
    index = make_index(place)

    def work() -> None:
        following._FIRST_SPAN = 3
        database = Database(place, chain)
        source = BlockSource(own_connection(node))
        for _ in range(4):
            EventIndex(database, source, contracts, 40).update()

    children = [in_child(work) for _ in range(3)]
    for _ in range(6):
        branches.append(2)
        index.update()
    assert [status_of(child) for child in children] == [0, 0, 0]
    assert digest(index) == digest(make_index())


class Interrupted(Rpc):
    """A connection on which something else happens before the first search for logs."""

    def __init__(self, node: AnvilNode, happens: Callable[[], object]) -> None:
        super().__init__(Web3(HTTPProvider(node.url)))
        self.happens: list[Callable[[], object]] = [happens]

    def ask_all(self, questions: Sequence[Question]) -> list[Any]:
        if questions[0][0] == "eth_getLogs" and self.happens:
            self.happens.pop()()
        return super().ask_all(questions)


def test_contract_that_another_process_adds_meanwhile_is_not_missed(
    make_index: MakeIndex,
    module_session: Session,
    module_cast: Cast,
    node: AnvilNode,
    registry: ModelRegistry,
    log: ProvenanceLog,
    branches: Branches,
) -> None:
    """It was created after the last indexed block, so that this block alone gives it not away."""
    index = make_index()
    index.update()
    branches.append()
    newer = module_session.deploy(module_cast.deployer)[0]
    contracts = [followed(newer), followed(log)]

    def other() -> None:
        source = BlockSource(own_connection(node))
        follower = following.Follower(index.database, source, contracts)
        follower._agree_on_contracts()

    Story.begin(newer, module_cast)
    source = BlockSource(Interrupted(node, other))
    EventIndex(index.database, source, [followed(registry), followed(log)], 40).update()
    index.update()
    found, _ = index.search(newer.address, [])
    assert found == list(newer.search([]))
    assert found


def test_reader_sees_the_index_of_one_moment(
    place: URL, make_index: MakeIndex, log: ProvenanceLog, branches: Branches
) -> None:
    index = make_index(place)
    branches.append()
    index.update()
    with index.database.reading() as connection:
        before = following.tip_of(connection)
        branches.append()
        make_index(place, anew=False).update()
        assert following.tip_of(connection) == before
    assert index.find(Search())[1].number == before.number + 1
