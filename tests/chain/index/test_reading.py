"""What is found in an index: as of one block, the same as the chain says."""

from __future__ import annotations

import hashlib
import os
import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, insert

from ml.chain import history, models
from ml.chain.commitment import commitment
from ml.chain.index import queries, tables
from ml.chain.index.database import ChainName, Database, IndexUnusable, place_for
from ml.chain.index.event_index import EventIndex, open_index
from ml.chain.index.queries import Search
from ml.chain.index.reading import IndexedRegistry, indexed_registry
from ml.chain.log_records import NO_METADATA, RecordKind, Statement, leaf_of
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.records import Origin, Role
from ml.chain.registry import ModelRegistry
from ml.chain.session import OWN_ANVIL, Session, connect
from ml.errors import ModelproofError, NotVerified
from ml.storage.cid import Cid, Codec
from tests.contracts.story import TEST_SET, Cast, Story, weights_of

from .conftest import MakeIndex


@pytest.fixture
def index(make_index: MakeIndex) -> EventIndex:
    return make_index()


@pytest.fixture
def every_index(make_index: MakeIndex, place: URL) -> EventIndex:
    """In each kind of database."""
    return make_index(place)


def names(index: EventIndex, *mentions: bytes, **more: object) -> list[str]:
    index.update()
    found, _ = index.find(Search(tuple(mentions), **more))
    return [each.event.name for each in found]


# --- Through the registry's own readers -----------------------------------------------------------


def test_history_and_models_are_those_that_the_node_tells(
    every_index: EventIndex, registry: ModelRegistry, story: Story
) -> None:
    story.play(90, 80, 91)
    story.rollback(1, "poisoned")
    indexed = IndexedRegistry(registry, every_index)
    assert history.read(indexed, story.id) == history.read(registry, story.id)
    assert models.all_models(indexed) == models.all_models(registry)
    assert indexed.as_of.number == registry.contract.provider.get_block("latest").number


def test_history_asks_for_versions_in_pages(
    index: EventIndex, registry: ModelRegistry, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.play(*range(50, 60))
    asked: list[str] = []
    trial = ModelRegistry._trial

    def counted(self: ModelRegistry, function: str, *arguments: object) -> bytes:
        asked.append(function)
        return trial(self, function, *arguments)

    monkeypatch.setattr(ModelRegistry, "_trial", counted)
    assert len(history.read(IndexedRegistry(registry, index), story.id).rows) == 10
    assert "getVersion" not in asked
    assert asked.count("getVersions") == 2  # the last one is empty


def test_chain_that_ends_with_the_process_has_its_index_in_memory(tmp_path: Path) -> None:
    with connect(OWN_ANVIL) as session:
        registry = indexed_registry(session, str(tmp_path))
        assert models.all_models(registry) == []
        assert str(registry.index.database) == "in memory"
    assert list(tmp_path.iterdir()) == []


# --- Searches -------------------------------------------------------------------------------------


def test_events_are_found_by_their_model_with_its_roles(index: EventIndex, story: Story) -> None:
    story.play(90)
    found = names(index, story.id)
    assert found[:2] == ["VersionValidated", "VersionRegistered"]
    assert sorted(found[2:]) == ["ModelCreated", *["RoleGranted"] * 4]


def test_events_are_found_by_account_within_a_model(index: EventIndex, story: Story) -> None:
    story.play(90)
    trainer = bytes.fromhex(story.cast.trainer.address[2:])
    assert names(index, story.id, trainer) == ["VersionRegistered", "RoleGranted"]


def test_version_is_found_by_everything_that_it_is_known_by(
    every_index: EventIndex, story: Story
) -> None:
    stored, content = (hashlib.sha256(os.urandom(8)).digest() for _ in range(2))
    weights = os.urandom(32)
    story.register(weights=weights, object=stored, content=content)
    _, details = story.said[1]
    cid = Cid(Codec.RAW, content)
    known_by = (weights, commitment(TEST_SET, weights, details), stored, cid.digest)
    for digest in known_by:
        assert names(every_index, digest) == ["VersionRegistered"]


def test_record_of_the_log_is_found_by_digest_and_by_leaf(
    index: EventIndex, log: ProvenanceLog, module_cast: Cast
) -> None:
    digest, submitter = os.urandom(32), module_cast.trainer
    record, _ = log.append(RecordKind.DATA, digest, sender=submitter)
    leaf = leaf_of(submitter.address, record.time, Statement(RecordKind.DATA, digest))
    assert names(index, digest) == names(index, leaf) == ["Recorded"]
    assert names(index, digest, NO_METADATA) == ["Recorded"]


def test_events_are_found_by_name_and_time(index: EventIndex, story: Story) -> None:
    story.register()
    index.update()
    topics = index.topics_of(["VersionRegistered"])
    (found,), _ = index.find(Search((story.id,), topics))
    assert names(index, story.id, topics=topics, since=found.time, until=found.time) == [
        "VersionRegistered"
    ]
    assert names(index, story.id, topics=topics, since=found.time + 1) == []
    assert names(index, story.id, topics=topics, until=found.time - 1) == []
    with pytest.raises(ModelproofError, match="there are no events Nonsense: use one of"):
        index.topics_of(["Nonsense"])


def test_latest_events_come_first_and_no_more_than_asked_for(
    index: EventIndex, story: Story
) -> None:
    story.play(90, 91)
    index.update()
    found, tip = index.find(Search((story.id,)), limit=2)
    assert [(each.event.name, each.event.arguments["version"]) for each in found] == [
        ("VersionValidated", 2),
        ("VersionRegistered", 2),
    ]
    assert found[0].event.block <= tip.number


# --- Lineages -------------------------------------------------------------------------------------


def test_lineage_is_that_of_the_contract_across_forks(
    every_index: EventIndex, registry: ModelRegistry, story: Story
) -> None:
    story.play(90, 91, 80, 92)
    fork = Story.begin(registry, story.cast, origin=Origin(story.id, 4))
    fork.play(93, 94)
    every_index.update()
    line, tip = every_index.lineage(registry.address, fork.id, 2)
    steps = list(registry.lineage(fork.id, 2))
    assert [(one.model, one.number, one.parent) for one in line] == [
        (step.model, step.version.number, step.version.parent) for step in steps
    ]
    assert [one.weights for one in line] == [weights_of(n) for n in (2, 1, 4, 2, 1)]
    assert tip.number >= line[0].block


def test_lineage_of_what_is_not_in_the_index_is_refused(
    index: EventIndex, registry: ModelRegistry, story: Story
) -> None:
    index.update()
    with pytest.raises(ModelproofError, match="the index has no version 7 of model"):
        index.lineage(registry.address, story.id, 7)


def fill(index: EventIndex, address: bytes, parents: dict[int, int], origins: dict) -> None:
    """Models whose versions have these parents, in an index that no chain is asked about."""
    with index.database.writing() as connection:
        for model, (origin, version) in origins.items():
            row = {"contract": address, "model": model, "block": 1, "origin_version": version}
            connection.execute(insert(tables.models).values(**row, origin_model=origin))
            of = {"contract": address, "model": model, "weights": bytes(32), "block": 1}
            rows = [{**of, "number": n, "parent": parent} for n, parent in parents.items()]
            connection.execute(insert(tables.versions), rows)


@pytest.mark.parametrize("farthest", [1, 2, 60], ids=["no gaps", "some gaps", "wide gaps"])
def test_lineage_is_the_line_of_parents_however_long_and_sparse(
    index: EventIndex, farthest: int
) -> None:
    chance = random.Random(farthest)
    parents = {n: max(n - chance.randint(1, farthest), 0) for n in range(1, 400)}
    line, number = [], 399
    while number:
        line.append(number)
        number = parents[number]
    model, address = bytes(31) + b"1", bytes(19) + b"1"
    fill(index, address, parents, {model: (None, 0)})
    with index.database.reading() as connection:
        found = queries.lineage(connection, address, model, 399)
    assert [one.number for one in found] == line


def test_lineage_that_a_node_made_run_in_a_circle_ends(index: EventIndex) -> None:
    one, other, address = bytes(31) + b"1", bytes(31) + b"2", bytes(19) + b"1"
    fill(index, address, {1: 0}, {one: (other, 1), other: (one, 1)})
    with index.database.reading() as connection, pytest.raises(NotVerified, match="in a circle"):
        queries.lineage(connection, address, one, 1)


# --- Where it is ----------------------------------------------------------------------------------


def test_each_chain_has_an_index_of_its_own(tmp_path: Path, postgres: URL) -> None:
    chains = [ChainName(1, "0x" + "ab" * 32), ChainName(1, "0x" + "cd" * 32)]
    places = [place_for(chain, str(tmp_path)) for chain in chains]
    assert len({place.database for place in places}) == 2
    opened = [Database(postgres, chain) for chain in chains]
    assert len({str(database) for database in opened}) == 2
    for database in opened:
        database.close()


def test_index_of_another_chain_is_refused(tmp_path: Path) -> None:
    place = URL.create("sqlite", database=str(tmp_path / "index.sqlite"))
    Database(place, ChainName(1, "0x" + "ab" * 32)).close()
    with pytest.raises(ModelproofError, match="is of another chain: name another place"):
        Database(place, ChainName(1, "0x" + "cd" * 32))


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 500], ids=["cut", "overwritten"])
def test_damaged_file_is_told_and_made_again(
    tmp_path: Path, module_session: Session, registry: ModelRegistry, damage: bytes
) -> None:
    index = open_index(module_session, [registry], str(tmp_path))
    index.update()
    digest = index.status().digest
    index.database.close()
    (file,) = tmp_path.glob("*.sqlite")
    whole = file.read_bytes()
    file.write_bytes(damage or whole[: len(whole) // 2])
    with pytest.raises(IndexUnusable, match="`ape run index rebuild` makes a damaged one anew"):
        open_index(module_session, [registry], str(tmp_path)).update()
    again = open_index(module_session, [registry], str(tmp_path), anew=True)
    again.update()
    assert again.status().digest == digest
    again.database.close()


def test_index_of_another_format_is_made_again(
    tmp_path: Path, module_session: Session, registry: ModelRegistry
) -> None:
    index = open_index(module_session, [registry], str(tmp_path))
    digest = index.update() and index.status().digest
    with index.database.writing() as connection:
        connection.exec_driver_sql("UPDATE state SET format = 0")
        connection.exec_driver_sql("DELETE FROM events")
    index.database.close()
    again = open_index(module_session, [registry], str(tmp_path))
    again.update()
    assert again.status().digest == digest
    again.database.close()


@pytest.mark.parametrize("choice", ["mysql://root@localhost/x", "://", "http://127.0.0.1"])
def test_place_that_is_neither_a_folder_nor_postgresql_is_refused(choice: str) -> None:
    with pytest.raises(ModelproofError, match="in a folder or in a PostgreSQL"):
        place_for(ChainName(1, "0x" + "ab" * 32), choice)


def test_server_that_is_not_there_is_told_without_its_password(tmp_path: Path) -> None:
    place = place_for(ChainName(1, "0x" + "ab" * 32), f"postgresql://me:secret@/x?host={tmp_path}")
    with pytest.raises(IndexUnusable, match="cannot be used") as caught:
        Database(place, ChainName(1, "0x" + "ab" * 32))
    assert "secret" not in str(caught.value)


def test_full_disk_is_told_and_what_was_indexed_stays(
    make_index: MakeIndex, tmp_path: Path, story: Story
) -> None:
    index = make_index(URL.create("sqlite", database=str(tmp_path / "index.sqlite")))
    index.update()
    before = index.status()
    story.play(90)
    with index.database.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    story.register(metadata="m" * 16_000)
    with pytest.raises(IndexUnusable, match="full"):
        index.update()
    assert index.status() == before


def in_the_way(tmp_path: Path) -> str:
    """A folder that cannot be made."""
    (tmp_path / "file").touch()
    return str(tmp_path / "file/index")


def test_folder_that_cannot_be_made_is_told(
    module_session: Session, registry: ModelRegistry, tmp_path: Path
) -> None:
    sentence = "Not a directory; `ape run index rebuild` makes a damaged one anew, and --index"
    with pytest.raises(IndexUnusable, match=sentence):
        open_index(module_session, [registry], in_the_way(tmp_path))


def test_reader_whose_index_cannot_be_made_reads_through_one_in_memory(
    module_session: Session, registry: ModelRegistry, story: Story, tmp_path: Path
) -> None:
    story.play(90, 91)
    told: list[IndexUnusable] = []
    indexed = indexed_registry(module_session, in_the_way(tmp_path), warn=told.append)
    assert history.read(indexed, story.id) == history.read(registry, story.id)
    assert str(indexed.index) == "in memory"
    assert [str(error).split(";")[0][-15:] for error in told] == ["Not a directory"]


def test_reader_whose_index_cannot_grow_reads_on_through_one_in_memory(
    module_session: Session, registry: ModelRegistry, story: Story, tmp_path: Path
) -> None:
    told: list[IndexUnusable] = []
    indexed = indexed_registry(module_session, str(tmp_path), warn=told.append)
    indexed.index.update()
    strict = IndexedRegistry(registry, open_index(module_session, [registry], str(tmp_path)))
    story.play(90, 91)
    whole = history.read(registry, story.id)
    with files_of_at_most(1_000):
        assert history.read(indexed, story.id) == whole
        with pytest.raises(IndexUnusable):
            history.read(strict, story.id)
    assert (str(indexed.index), len(told)) == ("in memory", 1)
    strict.index.close()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a full disk: nothing is written beyond that many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_roles_are_among_the_events(index: EventIndex, story: Story) -> None:
    stranger = story.cast.stranger
    story.registry.grant_role(story.id, Role.TRAINER, stranger.address, sender=story.cast.admin)
    assert names(index, story.id, bytes.fromhex(stranger.address[2:])) == ["RoleGranted"]
