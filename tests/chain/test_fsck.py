"""All that is kept is held against the chain: each way to disagree, for real."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import ape
import pytest

from ml.chain import history
from ml.chain.anvil import AnvilNode
from ml.chain.fsck import chain_check
from ml.chain.fsck.disagreement import Disagreement
from ml.chain.fsck.everything import check
from ml.chain.fsck.index_check import check_index
from ml.chain.fsck.journal_check import check_journal
from ml.chain.fsck.store_check import NamedObject, check_stores
from ml.chain.index.event_index import EventIndex
from ml.chain.index.reading import indexed_registry
from ml.chain.log_records import RecordKind
from ml.chain.outbox.chain import Chain
from ml.chain.outbox.entry import Entry
from ml.chain.outbox.fees import Fees
from ml.chain.outbox.rpc import Rpc
from ml.chain.outbox.signing import sign
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.session import Session, connect
from ml.storage.cid import Cid
from ml.storage.encrypted import put_encrypted
from ml.storage.keys import MasterKey
from ml.storage.places import Places
from ml.storage.sidecar import Payload
from tests.contracts.story import Cast, Story

from .conftest import Tale
from .lying_node import LyingNode, with_text, without
from .places import kept_apart, network_at

KEY = MasterKey.generate()


def kinds(found: Iterator[Disagreement] | list[Disagreement]) -> list[tuple[str, str]]:
    return [(one.place.value, one.what) for one in found]


# --- All of it ------------------------------------------------------------------------------------


def test_everything_that_belongs_together_agrees(
    session: Session, story: Story, places: Places, named: NamedObject
) -> None:
    story.register(content=named.content, object=named.sha256)
    assert list(check(session, places=places)) == []


def test_every_place_is_looked_at(
    session: Session, story: Story, places: Places, named: NamedObject
) -> None:
    story.register(content=named.content, object=bytes(31) + b"1")
    session.outbox.journal.mark_sent(entries(session)[-1:])
    index = indexed_registry(session).index
    index.update()
    with index.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM versions")
    assert kinds(list(check(session, places=places))) == [
        ("index", "missing row"),
        ("journal", "mined and the journal does not know"),
        ("store", "wrong digest"),
        ("store", "wrong digest"),
    ]


@pytest.mark.parametrize(("kept", "place"), [("index", "index"), ("outbox", "journal")])
def test_what_cannot_be_read_is_a_disagreement(
    node: AnvilNode, cast: Cast, tmp_path: Path, kept: str, place: str
) -> None:
    with kept_apart(tmp_path):
        with connect(network_at(node)) as session:
            Story.begin(session.deploy(cast.deployer)[0], cast)
            indexed_registry(session).index.update()
        for file in (tmp_path / kept).glob("*.sqlite*"):
            file.write_bytes(b"no database at all" * 1_000)
        with connect(network_at(node)) as session:
            assert kinds(list(check(session))) == [(place, "cannot be read")]


# --- Deployments ----------------------------------------------------------------------------------


def test_recorded_code_that_stands_is_no_disagreement(session: Session, story: Story) -> None:
    assert list(chain_check.check_deployments(session)) == []


@pytest.mark.parametrize("code", ["0x", "0x6000"], ids=["gone", "another"])
def test_dead_and_foreign_code_is_found(
    session: Session, story: Story, node: AnvilNode, code: str
) -> None:
    node.rpc("anvil_setCode", story.registry.address, code)
    (found,) = chain_check.check_deployments(session)
    assert (found.what, found.which) == ("dead or foreign code", "ModelRegistry")


# --- The chain ------------------------------------------------------------------------------------


def test_histories_that_verify_are_read(story: Story) -> None:
    story.play(90, 91)
    whole, wrong = chain_check.read_models(story.registry)
    assert whole == [history.read(story.registry, story.id)]
    assert wrong == []


@pytest.mark.parametrize("lie", [without("VersionValidated"), with_text("clean", "dirty")])
def test_history_that_its_head_does_not_commit_to_is_found(
    tale: Tale, liar: LyingNode, lie: Callable[[list], object]
) -> None:
    liar.lie = lie
    whole, wrong = chain_check.read_models(tale.story.registry)
    assert whole == []
    assert kinds(wrong) == [("chain", "head that does not replay")] * 2
    assert {one.which.split(" (")[0] for one in wrong} == {
        f"model {story.name}" for story in (tale.story, tale.other)
    }


def test_log_that_its_root_does_not_commit_to_is_found(
    session: Session, cast: Cast, liar: LyingNode
) -> None:
    made = cast.deployer.deploy(ape.project.ProvenanceLog)
    log = ProvenanceLog(made, made.creation_metadata.receipt.block_number)
    log.append(RecordKind.DATA, b"d" * 32, sender=cast.trainer, metadata="clean")
    assert chain_check.check_log(log) == []
    liar.lie = with_text("clean", "dirty")
    assert kinds(chain_check.check_log(log)) == [("chain", "head that does not replay")]


# --- The index ------------------------------------------------------------------------------------


@pytest.fixture
def index(session: Session, story: Story) -> EventIndex:
    story.play(90, 91)
    index = indexed_registry(session).index
    index.update()
    return index


def test_index_of_the_chain_agrees_with_it(index: EventIndex) -> None:
    assert check_index(index) == []


@pytest.mark.parametrize(
    ("table", "statement", "what"),
    [
        ("versions", "DELETE FROM versions WHERE number = 2", "missing row"),
        ("versions", "UPDATE versions SET parent = 0 WHERE number = 2", "wrong row"),
        ("events", "UPDATE events SET data = x'00' WHERE log_index = 0", "wrong row"),
        (
            "blocks",
            "UPDATE blocks SET time = 0 WHERE number < (SELECT max(number) FROM blocks)",
            "wrong row",
        ),
        (
            "mentions",
            "INSERT INTO mentions VALUES (x'AB', 1, 9)",
            "row that the chain does not have",
        ),
    ],
)
def test_index_that_says_otherwise_than_the_chain_is_found(
    index: EventIndex, table: str, statement: str, what: str
) -> None:
    with index.database.writing() as connection:
        connection.exec_driver_sql(statement)
    found = check_index(index)
    assert {(one.which.split(":")[0], one.what) for one in found} == {(table, what)}


# --- The journal ----------------------------------------------------------------------------------


def entries(session: Session) -> list[Entry]:
    return session.outbox.journal.entries()


def of_journal(session: Session) -> list[tuple[str, str]]:
    chain = Chain(Rpc.of(session.provider), session.chain_id, session.genesis)
    return kinds(check_journal(entries(session), chain))


def test_journal_of_what_was_mined_agrees_with_the_chain(session: Session, story: Story) -> None:
    story.play(90)
    assert len(entries(session)) > 2
    assert of_journal(session) == []


def test_entry_that_a_reorganisation_removed_is_found(
    session: Session, story: Story, node: AnvilNode
) -> None:
    before = node.rpc("evm_snapshot")
    story.register()
    assert of_journal(session) == []
    node.rpc("evm_revert", before)
    assert of_journal(session) == [("journal", "said mined and is not")]


def test_entry_that_is_in_another_block_now_is_found(
    session: Session, story: Story, node: AnvilNode
) -> None:
    before = node.rpc("evm_snapshot")
    story.register()
    node.rpc("evm_revert", before)
    node.rpc("anvil_mine", "0x2")
    node.rpc("eth_sendRawTransactionSync", "0x" + entries(session)[-1].latest.raw.hex())
    assert of_journal(session) == [("journal", "mined otherwise")]


def test_entry_that_is_in_two_blocks_is_found(session: Session, story: Story) -> None:
    story.register()
    journal, trainer = session.outbox.journal, story.cast.trainer
    last = entries(session)[-1]
    fees = Fees(last.latest.max_fee, last.latest.priority_fee)
    nonce, gas = last.nonce + 1, last.latest.gas
    again = sign(session.provider, trainer, last.call, nonce, gas, fees)
    journal.add_attempt(last, again)
    session.provider.make_request("eth_sendRawTransactionSync", ["0x" + again.raw.hex()])
    assert of_journal(session) == [("journal", "mined twice")]


def test_entry_that_was_mined_unnoticed_is_found(session: Session, story: Story) -> None:
    story.register()
    session.outbox.journal.mark_sent(entries(session)[-1:])
    assert of_journal(session) == [("journal", "mined and the journal does not know")]


# --- Stores ---------------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places([str(tmp_path / "objects"), str(tmp_path / "copy")])


@pytest.fixture
def named(places: Places) -> NamedObject:
    """An object in every place, as a version names it."""
    pieces = [memoryview(b"weights" * 100)]
    stored = put_encrypted(places.store, places.sidecars, pieces, [KEY], Payload("raw")).stored
    return NamedObject("v1 of mnist", stored.cid.digest, stored.sha256)


def file_of(places: Places, name: str, digest: bytes) -> Path:
    """The file in a folder that holds the object."""
    folder = Path(str(next(one for one in places.folders if str(one).endswith(name))))
    (found,) = [
        path
        for path in folder.rglob("*")
        if path.is_file() and "sidecar" not in str(path) and _digest(path) == digest
    ]
    return found


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def test_stores_that_have_what_is_named_agree(places: Places, named: NamedObject) -> None:
    assert list(check_stores(places, [named])) == []


def test_missing_object_is_found_where_it_is_missing(places: Places, named: NamedObject) -> None:
    file_of(places, "copy", named.sha256).unlink()
    (found,) = check_stores(places, [named])
    assert found.what == "missing object"
    assert "v1 of mnist" in found.which
    assert found.which.endswith("copy")


def test_damaged_object_is_found(places: Places, named: NamedObject) -> None:
    file = file_of(places, "objects", named.sha256)
    data = bytearray(file.read_bytes())
    data[40] ^= 1
    file.chmod(0o600)
    file.write_bytes(data)
    assert kinds(check_stores(places, [named])) == [("store", "wrong digest")]


def test_object_with_another_digest_than_the_version_states_is_found(
    places: Places, named: NamedObject
) -> None:
    other = NamedObject(named.name, named.content, hashlib.sha256(b"other").digest())
    assert kinds(check_stores(places, [other])) == [("store", "wrong digest")] * 2


def test_object_without_a_sidecar_is_found(places: Places, named: NamedObject) -> None:
    (cid,) = places.folders[0].names()
    places.folders[0].sidecars.delete(cid)
    assert kinds(check_stores(places, [named])) == [("store", "missing sidecar")]


def test_object_that_no_version_names_is_an_orphan(places: Places, named: NamedObject) -> None:
    found = list(check_stores(places, []))
    assert kinds(found) == [("store", "orphan")] * 2
    assert {Cid.parse(one.which.split(",")[0]).digest for one in found} == {named.content}
