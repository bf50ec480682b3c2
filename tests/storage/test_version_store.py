"""A history of versions as snapshots and deltas, each of which can be had again, and only that."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from pathlib import Path

import pytest

from ml.artifact import read_manifest
from ml.errors import NotVerified
from ml.storage.deltas import FORMAT
from ml.storage.encrypted import put_encrypted
from ml.storage.errors import NoKey, StorageError, UnknownObject, WrongContent
from ml.storage.hot_versions import HotVersions, UnusableCache
from ml.storage.ipfs import IpfsStore
from ml.storage.local_store import LocalStore
from ml.storage.naming import Stored
from ml.storage.places import Places
from ml.storage.recorded import possible_cids
from ml.storage.sidecar import Payload
from ml.storage.upkeep import Condition, repair
from ml.storage.version_store import (
    DamagedBase,
    KeptVersion,
    MissingBase,
    VersionStore,
)

from .versions import EVERY, KEY, History, base, changed, kept

LIMIT = 60_000


@pytest.fixture
def history(tmp_path: Path) -> History:
    history = History(LocalStore(tmp_path / "objects"), HotVersions(tmp_path / "hot", LIMIT))
    model, parent = base(), None
    for number in range(7):
        version = kept(tmp_path, model, f"v{number}")
        history.put(version, parent)
        model, parent = changed(model, seed=number), version
    return history


@pytest.fixture
def got(tmp_path: Path) -> Path:
    return tmp_path / "got.safetensors"


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_every_version_is_had_again_to_the_byte(history: History, got: Path) -> None:
    assert history.kinds() == "SDDSDDS"
    for number in [*range(7), *range(6, -1, -1)]:
        assert history.got(number, got) == history.versions[number].path.read_bytes()


def test_parent_that_is_not_at_hand_is_got_back(history: History, tmp_path: Path) -> None:
    parent = history.versions[4]
    parent.path.unlink()
    version = kept(tmp_path, changed(base(), seed=9), "next")
    sidecar = history.opened(KEY).put(version, [KEY], parent.manifest.weights)
    assert sidecar.payload.format == FORMAT


def test_checkpoint_and_file_of_no_known_format_come_back_as_such(
    history: History, tmp_path: Path
) -> None:
    for content, file_name in ((b"who knows", "model.joblib"), (b"PK\x05\x06", "model.bin")):
        path = tmp_path / file_name
        path.write_bytes(content)
        history.put(KeptVersion(path, read_manifest(path)), None)
        with history.opened(KEY).opened(read_manifest(path).weights) as found:
            assert (found.suffix, found.read_bytes()) == (path.suffix, content)


def test_name_for_another_format_is_refused(history: History, tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    path.write_bytes(b"who knows")
    history.put(KeptVersion(path, read_manifest(path)), None)
    with pytest.raises(StorageError, match=r"give it the suffix \.joblib"):
        history.got(7, tmp_path / "got.safetensors")
    assert not (tmp_path / "got.safetensors").exists()


# --- Hot versions ---------------------------------------------------------------------------------


def hot_files(history: History) -> set[str]:
    return {path.stem for path in history.hot.root.iterdir()}


def test_hot_versions_stay_within_their_limit_and_are_used(history: History, got: Path) -> None:
    for number in (5, 2, 1):
        history.got(number, got)
        assert sum(path.stat().st_size for path in history.hot.root.iterdir()) <= LIMIT
        assert history.weights(number).hex() in hot_files(history)
    history.store.delete(history.cid(1))
    assert history.got(1, got) == history.versions[1].path.read_bytes()


@pytest.mark.parametrize("limit", [0, LIMIT])
def test_way_to_a_version_takes_the_room_of_one_file_beyond_the_limit(
    history: History, got: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Or of two, where one is larger than the limit."""
    history.hot = HotVersions(history.hot.root, limit)
    most, trim = [0], HotVersions.trim
    file = max(version.path.stat().st_size for version in history.versions)

    def watched(self: HotVersions, *needed: Path) -> None:
        most.append(sum(path.stat().st_size for path in self.root.iterdir()))
        trim(self, *needed)

    monkeypatch.setattr(HotVersions, "trim", watched)
    for number in (2, 5):
        assert history.got(number, got) == history.versions[number].path.read_bytes()
    assert file < max(most) <= max(limit, file) + file
    kept = {history.weights(number).hex() for number in (4, 5)}
    assert hot_files(history) == (kept if limit else set())


def test_damaged_hot_version_is_not_handed_out(history: History, got: Path) -> None:
    history.got(1, got)
    for file in history.hot.root.iterdir():
        damage(file)
    assert history.got(1, got) == history.versions[1].path.read_bytes()


def test_what_a_killed_process_left_among_hot_versions_is_removed(
    history: History, got: Path
) -> None:
    history.got(1, got)
    left = history.hot.root / f".{history.weights(2).hex()}.x.safetensors"
    left.write_bytes(b"half a version")
    history.got(1, got)
    assert not left.exists()


def test_processes_take_turns_at_the_hot_versions(history: History, tmp_path: Path) -> None:
    numbers = [5, 2, 6, 4, 1, 3] * 2
    paths = [tmp_path / f"got-{turn}.safetensors" for turn in range(len(numbers))]
    threads = [
        threading.Thread(target=history.got, args=each) for each in zip(numbers, paths, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, path in zip(numbers, paths, strict=True):
        assert path.read_bytes() == history.versions[number].path.read_bytes()


# --- What is lost, damaged or exchanged -----------------------------------------------------------


def test_exchanged_objects_are_noticed(history: History, got: Path) -> None:
    """As if the chain had named other objects: what they become is still another identity."""
    named = list(history.named)
    for asked, given in ((1, 4), (0, 3), (0, 1), (3, 6)):
        history.named[asked] = (named[asked][0], named[given][1])
        with pytest.raises(NotVerified):
            history.got(asked, got)
        history.named[:] = named
    assert not got.exists()


def test_objects_that_lead_in_a_circle_are_noticed(history: History, got: Path) -> None:
    """Were a base to be had by its own delta alone, it could not be had at all."""
    history.named[1] = (history.weights(1), history.named[2][1])
    history.named[2] = (history.weights(2), history.named[2][1])
    with pytest.raises(DamagedBase, match="asked for was 0x"):
        history.got(2, got)


def test_lost_or_damaged_base_is_named(history: History, got: Path) -> None:
    snapshot = history.cid(3)
    damage(history.store.root / str(snapshot))
    with pytest.raises(DamagedBase, match=f"v5 is kept as a delta, .*, v3, .* of {snapshot} is"):
        history.got(5, got)
    with pytest.raises(WrongContent):
        history.store.verify(snapshot)
    history.store.delete(snapshot)
    with pytest.raises(MissingBase, match=f"v5 is kept as a delta, .*no object {snapshot}"):
        history.got(5, got)
    assert not got.exists()


def test_lost_base_of_versions_with_the_same_weights_is_missing_and_not_damaged(
    tmp_path: Path, got: Path
) -> None:
    """The other object of the base's weights is a delta that builds on the version itself."""
    history = History(LocalStore(tmp_path / "objects"), HotVersions(tmp_path / "hot", 0))
    one, two = kept(tmp_path, base(), "one"), kept(tmp_path, changed(base()), "two")
    parent = None
    for version in (one, two, one):
        history.put(version, parent)
        parent = version
    assert history.kinds() == "SDD"
    history.store.delete(history.cid(0))
    with pytest.raises(MissingBase, match=f"v1 is kept .* no object {history.cid(0)} in"):
        history.got(1, got)
    history.store.delete(history.cid(1))
    with pytest.raises(MissingBase, match="v2 is kept as a delta"):
        history.got(2, got)


def test_lost_or_damaged_version_is_named(history: History, got: Path) -> None:
    damage(history.store.root / str(history.cid(3)))
    with pytest.raises(NotVerified, match=f"segment 0 of {history.cid(3)} is damaged"):
        history.got(3, got)
    history.store.delete(history.cid(3))
    with pytest.raises(UnknownObject, match=f"no object {history.cid(3)} in"):
        history.got(3, got)
    history.store.sidecars.delete(history.cid(3))
    with pytest.raises(UnknownObject, match=rf"the object of v3, .*\(or {history.cid(3)}\), has"):
        history.got(3, got)
    with pytest.raises(UnknownObject, match="no object is known for the weights 0x0000"):
        history.opened(KEY).get(bytes(32), got)


def test_second_object_of_the_same_weights_is_used_where_the_first_is_lost(
    history: History, got: Path
) -> None:
    again = history.opened(KEY).put(history.versions[1], [KEY])
    history.named.append((history.weights(1), again.stored))
    history.store.delete(history.cid(1))
    assert history.got(1, got) == history.versions[1].path.read_bytes()


def test_sidecar_that_says_another_digest_than_the_chain_is_refused(
    history: History, got: Path
) -> None:
    weights, stored = history.named[0]
    history.named[0] = (weights, Stored(stored.cid, bytes(32), stored.size))
    with pytest.raises(NotVerified, match="on record for v0 is 0000"):
        history.got(0, got)


def test_version_is_not_had_without_a_key(history: History, got: Path) -> None:
    with pytest.raises(NoKey):
        history.opened().get(history.weights(2), got)


def test_object_that_holds_another_model_is_said_to(history: History, got: Path) -> None:
    other = history.versions[5].path.read_bytes()
    sidecars = history.store.sidecars
    false = put_encrypted(history.store, sidecars, [other], [KEY], Payload("safetensors"))
    history.named[0] = (history.weights(0), false.stored)
    with pytest.raises(NotVerified, match=r"what is stored as v0 is not 0x.*, but another model"):
        history.got(0, got)


# --- What is kept whole ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["unknown", "lost", "damaged", "base lost"])
def test_version_whose_parent_cannot_be_read_is_kept_whole(how: str, history: History) -> None:
    parent, version = history.versions[1], history.versions[2]
    if how == "unknown":
        history.named.pop(1)
    elif how == "lost":
        history.store.delete(history.cid(1))
    elif how == "base lost":
        history.store.delete(history.cid(0))
    else:
        damage(history.store.root / str(history.cid(1)))
        parent.path.unlink()
    put = history.opened(KEY).put(version, [KEY], parent.manifest.weights, parent.path)
    assert put.payload.format == "safetensors"


def test_other_peoples_files_in_the_folder_of_the_cache_stay(tmp_path: Path) -> None:
    (tmp_path / ".profile").write_text("mine")
    (tmp_path / "thesis.txt").write_text("mine")
    (tmp_path / ".keys").mkdir()
    killed, old = tmp_path / f".{'0' * 64}.x1.pt", tmp_path / f"{'0' * 64}.pt"
    killed.touch()
    old.write_text("more than fits")
    with HotVersions(tmp_path, 1).held():
        assert not killed.exists()
    assert {path.name for path in tmp_path.iterdir()} == {".profile", "thesis.txt", ".keys"}


def test_hot_versions_are_for_their_owner_alone(history: History, got: Path) -> None:
    """In a folder that others may enter, too, and also those of before."""
    history.hot.root.mkdir(mode=0o755)
    history.got(1, got)
    (path,) = history.hot.root.glob(f"{history.weights(1).hex()}*")
    path.chmod(0o644)
    history.got(2, got)
    modes = {stat.S_IMODE(each.stat().st_mode) for each in history.hot.root.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(got.stat().st_mode) == 0o644


def test_new_folder_for_the_cache_is_its_owners_alone(tmp_path: Path) -> None:
    with HotVersions(tmp_path / "cache", 0).held():
        assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_cache_that_others_could_write_to_is_refused(
    history: History, got: Path, mode: int
) -> None:
    history.hot.root.mkdir()
    history.hot.root.chmod(mode)
    with pytest.raises(UnusableCache, match=r"others than its owner may write to .*: `chmod 700`"):
        history.got(1, got)


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody else can give a folder away")
def test_cache_of_somebody_else_is_refused(history: History, got: Path) -> None:
    history.hot.root.mkdir()
    os.chown(history.hot.root, 12345, -1)
    with pytest.raises(UnusableCache, match="belongs to somebody else"):
        history.got(1, got)


def test_delta_that_is_no_shorter_gives_way_to_a_snapshot(tmp_path: Path, history: History) -> None:
    one = kept(tmp_path, {"w": ("U8", [1], b"a")}, "one")
    two = kept(tmp_path, {"w": ("U8", [1], b"b")}, "two")
    history.put(one, None)
    count = len(list(history.store.names()))
    history.put(two, one)
    assert history.kinds().endswith("SS")
    assert len(list(history.store.names())) == count + 1
    assert len(list(history.store.sidecars.names())) == count + 1


def test_file_that_changed_since_it_was_looked_at_is_not_named(
    tmp_path: Path, history: History
) -> None:
    version = kept(tmp_path, base(), "changing")
    damage(version.path)
    with pytest.raises(NotVerified, match="the file changed"):
        history.opened(KEY).put(version, [KEY])


def test_number_of_versions_between_snapshots_is_at_least_one(history: History) -> None:
    with pytest.raises(StorageError, match="a snapshot every 0 versions"):
        VersionStore(history.store, history.store.sidecars, [], history.locate, history.hot, 0)


def test_digest_on_chain_leads_to_the_object(history: History) -> None:
    for _, stored in history.named:
        assert stored.cid in possible_cids(stored.cid.digest)


# --- Replicas -------------------------------------------------------------------------------------


def test_damage_in_one_replica_does_no_harm(history: History, tmp_path: Path, got: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(history.store.root, copy)
    for number in (3, 4):
        damage(history.store.root / str(history.cid(number)))
        damage(copy / f"{history.cid(number)}.json")
    history.store.delete(history.cid(5))
    places = Places([str(history.store.root), str(copy)])
    both = VersionStore(places.store, places.sidecars, [KEY], history.locate, history.hot, EVERY)
    both.get(history.weights(5), got)
    assert got.read_bytes() == history.versions[5].path.read_bytes()


def test_versions_are_had_again_from_an_ipfs_node_alone(
    history: History, ipfs_port: int, got: Path
) -> None:
    cids = [stored.cid for _, stored in history.named]
    with IpfsStore(f"http://127.0.0.1:{ipfs_port}") as node:
        assert all(
            each.condition in (Condition.WHOLE, Condition.REPAIRED)
            for each in repair([history.store, node], cids)
        )
        sidecars = history.store.sidecars
        there = VersionStore(node, sidecars, [KEY], history.locate, history.hot, EVERY)
        there.get(history.weights(5), got)
    assert got.read_bytes() == history.versions[5].path.read_bytes()
