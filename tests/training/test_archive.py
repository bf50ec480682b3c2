"""Versions in stores, found again by what a real chain says of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ml.artifact import DigestAlgorithm, read_manifest
from ml.chain import models, publishing
from ml.chain.events import Registered
from ml.chain.models import NamedModel
from ml.chain.policy import PRESETS
from ml.chain.records import Origin, Role
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session, connect
from ml.errors import NotVerified
from ml.storage import naming
from ml.storage.access import open_sidecar
from ml.storage.cid import Cid
from ml.storage.delta_chains import delta_chain, described_by, needed_by
from ml.storage.deltas import FORMAT
from ml.storage.encrypted import put_encrypted, read_sidecar
from ml.storage.errors import ExtendedObject, NoKey, UnknownObject
from ml.storage.hot_versions import HotVersions, UnusableCache
from ml.storage.keys import MasterKey
from ml.storage.model_files import ModelFiles
from ml.storage.places import Places
from ml.storage.retention import Retention, Use, given_up
from ml.storage.sidecar import Payload
from ml.storage.version_store import KeptVersion
from ml.training import versions
from ml.training.architectures import Architecture, ArchitectureName
from ml.training.archive import Archive, NotStored
from ml.training.datasets import Dataset
from ml.training.environment import Environment
from ml.training.named_objects import named_objects
from ml.training.named_updates import named_updates
from ml.training.recipes import find_recipe
from ml.training.round_metadata import RecordedUpdate, RoundMetadata
from ml.training.stated import stated_metadata_object
from ml.training.train import TrainedModel, train
from tests.storage.versions import base, changed, kept

KEY = MasterKey.generate()


@dataclass
class Shelf:
    """A registry on a chain of its own, a folder of files and a store."""

    session: Session
    registry: ModelRegistry
    files: ModelFiles
    archive: Archive
    test_set: bytes

    def model(self, name: str, origin: Origin | None = None) -> NamedModel:
        owner, trainer, validator = (
            self.session.account(None, role) for role in (Role.ADMIN, Role.TRAINER, Role.VALIDATOR)
        )
        model, _ = self.registry.create_model(
            name,
            self.test_set,
            PRESETS["unlimited"],
            sender=owner,
            origin=origin,
            trainer=trainer.address,
            validator=validator.address,
        )
        return models.by_id(self.registry, model)

    def register(self, model: NamedModel, version: KeptVersion, *, store: bool = True) -> int:
        """Store a version, register it, and let it pass."""
        turn = publishing.next_turn(self.registry, model)
        if store:
            stored = self.archive.keep(self.registry, model, turn, version, self.files).stored
            turn = turn.naming(stored.sha256, stored.cid.digest)
        trainer = self.session.account(None, Role.TRAINER)
        weights = version.manifest.weights
        publishing.register(self.registry, model, turn, weights, "{}", sender=trainer)
        self.let_pass(model)
        return turn.version

    def let_pass(self, model: NamedModel) -> None:
        waiting = publishing.pending(self.registry, model)
        validator = self.session.account(None, Role.VALIDATOR)
        publishing.validate(self.registry, waiting, 900_000, 0, "{}", sender=validator)

    def record(self, model: NamedModel, number: int) -> Registered:
        return versions.numbered(self.registry, model, number).registered

    def fetched(self, model: NamedModel, number: int) -> bytes:
        record = self.record(model, number)
        return self.archive.fetch(self.registry, record, self.files).artifact.read_bytes()

    def formats(self) -> list[str]:
        sidecars = self.archive.places.sidecars
        return sorted(read_sidecar(sidecars, cid).payload.format for cid in sidecars.names())


@pytest.fixture(scope="module")
def registry() -> Iterator[tuple[Session, ModelRegistry]]:
    with connect("local") as session:
        yield session, session.deploy(session.account(None, Role.ADMIN))[0]


@pytest.fixture
def shelf(registry: tuple[Session, ModelRegistry], iris: Dataset, tmp_path: Path) -> Shelf:
    places = Places([str(tmp_path / "objects")])
    archive = Archive(places, [KEY], HotVersions(tmp_path / "cache", 1 << 20))
    return Shelf(*registry, ModelFiles(tmp_path / "artifacts"), archive, iris.test_digest)


@pytest.fixture(scope="module")
def trained(iris: Dataset) -> TrainedModel:
    return train(find_recipe("iris", "logistic"), iris, epochs=1)


def test_fork_begins_with_a_delta_to_the_version_of_the_other_model(
    shelf: Shelf, tmp_path: Path
) -> None:
    first, second = kept(tmp_path, base(), "first"), kept(tmp_path, changed(base()), "second")
    origin = shelf.model("origin")
    shelf.register(origin, first)
    fork = shelf.model("fork", Origin(origin.id, 1))
    shelf.register(fork, second)
    assert shelf.formats() == [FORMAT, "safetensors"]
    assert shelf.fetched(fork, 1) == second.path.read_bytes()

    (named,) = named_objects(shelf.registry, fork)
    describe = described_by([shelf.archive.places.sidecars])
    assert [each.name for each in delta_chain(named, describe)] == ["v1 of fork", "v1 of origin"]
    content = shelf.record(origin, 1).details.content
    everyone = named_objects(shelf.registry)
    assert needed_by(everyone, describe)[content] == ["v1 of origin", "v1 of fork"]


def test_same_weights_again_are_fetched_though_each_is_a_delta_to_the_other(
    shelf: Shelf, tmp_path: Path
) -> None:
    one, two = kept(tmp_path, base(), "one"), kept(tmp_path, changed(base()), "two")
    model = shelf.model("to and fro")
    for version in (one, two, one, two):
        shelf.register(model, version)
    assert shelf.formats() == [FORMAT] * 3 + ["safetensors"]
    for number, version in enumerate((one, two, one, two), 1):
        assert shelf.fetched(model, number) == version.path.read_bytes()


def test_version_after_one_that_is_in_no_store_is_kept_whole(shelf: Shelf, tmp_path: Path) -> None:
    one, two = kept(tmp_path, base(), "one"), kept(tmp_path, changed(base()), "two")
    model = shelf.model("late")
    shelf.register(model, one, store=False)
    shelf.register(model, two)
    assert shelf.formats() == ["safetensors"]
    assert shelf.fetched(model, 2) == two.path.read_bytes()
    with pytest.raises(NotStored, match="v1 of late was registered without an object"):
        shelf.fetched(model, 1)


def test_file_that_is_not_right_is_replaced_by_fetching_it(shelf: Shelf, tmp_path: Path) -> None:
    version, model = kept(tmp_path, base(), "one"), shelf.model("mended")
    shelf.register(model, version)
    shelf.fetched(model, 1)
    (file,) = shelf.files.root.glob("mended/*.safetensors")
    file.write_bytes(b"damaged")
    assert shelf.fetched(model, 1) == version.path.read_bytes() == file.read_bytes()


def test_version_whose_identity_is_by_sha256_is_fetched(shelf: Shelf, tmp_path: Path) -> None:
    by_sha256 = []
    for name, tensors in (("one", base()), ("two", changed(base()))):
        path = kept(tmp_path, tensors, name).path
        by_sha256.append(KeptVersion(path, read_manifest(path, DigestAlgorithm.SHA256)))
    model = shelf.model("by sha256")
    for version in by_sha256:
        shelf.register(model, version)
    assert shelf.formats() == [FORMAT, "safetensors"]
    for number, version in enumerate(by_sha256, 1):
        assert shelf.fetched(model, number) == version.path.read_bytes()
        assert shelf.files.manifest(version.manifest.weights) == version.manifest


# --- Versions that were trained here --------------------------------------------------------------


def registered(shelf: Shelf, name: str, trained: TrainedModel) -> tuple[NamedModel, Registered]:
    """A trained version, of which then the stores alone have something."""
    model = shelf.model(name)
    begun = versions.start(shelf.registry, model, shelf.files)
    trainer = shelf.session.account(None, Role.TRAINER)
    versions.register_trained(
        shelf.registry, model, shelf.files, begun, trained, archive=shelf.archive, sender=trainer
    )
    shelf.files = ModelFiles(shelf.files.root.with_name("elsewhere"))
    return model, shelf.record(model, 1)


def load(shelf: Shelf, record: Registered) -> versions.LoadedVersion:
    fetch = shelf.archive.fetching(shelf.registry, shelf.files)
    return versions.load_registered(shelf.files, record, "m", fetch)


def test_trained_version_is_loaded_from_the_stores(shelf: Shelf, trained: TrainedModel) -> None:
    model, record = registered(shelf, "trained", trained)
    loaded = load(shelf, record)
    assert loaded.metadata == trained.metadata
    assert loaded.classifier.manifest() == trained.manifest
    shelf.let_pass(model)
    fetch = shelf.archive.fetching(shelf.registry, ModelFiles(shelf.files.root / "third"))
    begun = versions.start(shelf.registry, model, ModelFiles(shelf.files.root), fetch=fetch)
    assert begun.parent is not None


def test_damaged_file_here_is_told_and_not_passed_over(shelf: Shelf, trained: TrainedModel) -> None:
    _, record = registered(shelf, "damaged", trained)
    file = load(shelf, record).stored.artifact
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(NotVerified):
        load(shelf, record)
    assert file.read_bytes() != data


def test_other_metadata_than_the_registration_states_is_refused(
    shelf: Shelf, trained: TrainedModel
) -> None:
    _, record = registered(shelf, "false", trained)
    cid, places = stated_metadata_object(record), shelf.archive.places
    assert cid is not None
    other = put_encrypted(places.store, places.sidecars, [b"{}"], [KEY], Payload("metadata"))
    metadata = record.metadata.replace(str(cid), str(other.stored.cid))
    with pytest.raises(NotVerified, match="is not the training metadata of v1 of false"):
        load(shelf, replace(record, metadata=metadata))


def test_metadata_is_read_no_further_than_it_may_be_large(
    shelf: Shelf, trained: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a sidecar, which who has the object's key can write, says of its size."""
    _, record = registered(shelf, "large", trained)
    cid, places = stated_metadata_object(record), shelf.archive.places
    assert cid is not None
    sidecar = read_sidecar(places.sidecars, cid)
    opened = open_sidecar(sidecar, [KEY])
    small = replace(sidecar, stored=replace(sidecar.stored, size=100))
    places.sidecars.write(cid, small.with_recipients(sidecar.recipients, opened).to_json())
    with pytest.raises(ExtendedObject, match="it has more than its 100 bytes"):
        load(shelf, record)
    places.sidecars.write(cid, sidecar.to_json())
    monkeypatch.setattr("ml.training.archive._MAX_METADATA_BYTES", 100)
    with pytest.raises(NotVerified, match="is too large to be training metadata"):
        load(shelf, record)


def test_metadata_that_is_lost_is_named(shelf: Shelf, trained: TrainedModel) -> None:
    _, record = registered(shelf, "lost", trained)
    cid = stated_metadata_object(record)
    assert cid is not None
    shelf.archive.places.store.delete(cid)
    with pytest.raises(UnknownObject, match=str(cid)):
        load(shelf, record)


def test_registration_that_names_no_object_of_metadata_has_none(
    shelf: Shelf, trained: TrainedModel
) -> None:
    _, record = registered(shelf, "none", trained)
    for metadata in ("{}", "[]", '{"metadata_cid":7}', '{"metadata_cid":"bafy"}', "\udcff"):
        assert stated_metadata_object(replace(record, metadata=metadata)) is None


# --- Versions that were made from clients' updates ------------------------------------------------


def round_of(model: NamedModel, version: int, cid: Cid) -> RoundMetadata:
    """How a version came about that was made from one client's update."""
    digest = bytes([version]) * 32
    update = RecordedUpdate(0, "0x" + 40 * "1", str(cid), digest, 40, None, digest, digest)
    return RoundMetadata(
        weights=digest,
        model=model.id,
        version=version,
        parent=version - 1,
        parent_weights=digest,
        epoch=0,
        iteration=version,
        run=digest,
        run_cid=str(cid),
        dataset="iris",
        class_names=("setosa", "versicolor", "virginica"),
        architecture=Architecture(ArchitectureName.LOGISTIC, (4,), 3),
        rule="fedavg",
        updates_root=digest,
        updates=(update,),
        environment=Environment("3.11", {}, "x86_64", "AVX2", 1, None, None),
    )


def register_round(shelf: Shelf, model: NamedModel, made: RoundMetadata) -> None:
    turn = publishing.next_turn(shelf.registry, model)
    turn = replace(turn, details=replace(turn.details, updates=bytes([turn.version]) * 32))
    text = made.summary(str(shelf.archive.keep_metadata(made.to_json())))
    trainer = shelf.session.account(None, Role.TRAINER)
    publishing.register(shelf.registry, model, turn, made.weights, text, sender=trainer)
    shelf.let_pass(model)


def test_chain_says_which_updates_may_be_given_up(shelf: Shelf) -> None:
    places, model = shelf.archive.places, shelf.model("federated")
    cids = [naming.name([bytes([number])]).cid for number in range(5)]
    for number in (1, 2, 3):
        register_round(shelf, model, round_of(model, number, cids[number]))
    known = named_updates(shelf.registry, places, [KEY])
    assert {cid: known.uses[cid] for cid in cids[1:4]} == {
        cids[number]: [Use(number, 3)] for number in (1, 2, 3)
    }
    assert given_up(Retention.parse("drop:2"), known.uses) == {cids[1]}

    # what says that it is of another version, or of another model, is not believed
    register_round(shelf, model, round_of(model, 1, cids[3]))
    register_round(shelf, model, round_of(shelf.model("other"), 5, cids[4]))
    known = named_updates(shelf.registry, places, [KEY])
    assert known.uses[cids[3]] == [Use(3, 5)]
    assert cids[4] not in known.uses
    of_another = "of federated: its metadata is that of another version"
    assert [each for each in known.unread if "federated" in each] == [
        f"v4 {of_another}",
        f"v5 {of_another}",
    ]


def test_updates_of_versions_that_cannot_be_read_are_kept(shelf: Shelf) -> None:
    model = shelf.model("unreadable")
    register_round(shelf, model, round_of(model, 1, naming.name([b"an update"]).cid))
    known = named_updates(shelf.registry, shelf.archive.places, [])
    assert known.uses == {}
    assert any("v1 of unreadable: there is no key to open" in each for each in known.unread)


# --- What is said before any work -----------------------------------------------------------------


def test_archive_that_nobody_could_read_is_refused_at_once(shelf: Shelf) -> None:
    with pytest.raises(NoKey, match="there is no key to encrypt for"):
        replace(shelf.archive, keys=[]).check()
    shelf.archive.check()


def test_archive_whose_cache_cannot_be_used_is_refused_at_once(
    shelf: Shelf, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnusableCache, match="MODELPROOF_CACHE names another folder"):
        replace(shelf.archive, hot=HotVersions(tmp_path / "file" / "cache", 0)).check()
