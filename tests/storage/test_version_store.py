"""A history of versions as snapshots and deltas, each of which can be had again, and only that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from ml.errors import NotVerified
from ml.storage.cid import Cid
from ml.storage.deltas import FORMAT
from ml.storage.encrypted import read_sidecar
from ml.storage.errors import NoKey, UnknownObject, WrongContent
from ml.storage.keys import MasterKey
from ml.storage.local_store import LocalStore
from ml.storage.version_store import HotVersions, KeptVersion, VersionStore, possible_cids

from .versions import base, changed, kept

KEY = MasterKey.generate()
EVERY = 3


@dataclass
class History:
    """Seven versions, a snapshot every three."""

    store: LocalStore
    hot: HotVersions
    versions: list[KeptVersion]
    cids: dict[bytes, Cid]

    def opened(self, *keys: MasterKey) -> VersionStore:
        sidecars = self.store.sidecars
        return VersionStore(self.store, sidecars, keys, self.cids.get, self.hot, EVERY)

    def kinds(self) -> str:
        """D for a delta, S for a snapshot."""
        formats = [
            read_sidecar(self.store.sidecars, cid).payload.format for cid in self.cids.values()
        ]
        return "".join("D" if each == FORMAT else "S" for each in formats)


@pytest.fixture
def history(tmp_path: Path) -> History:
    store, hot = LocalStore(tmp_path / "objects"), HotVersions(tmp_path / "hot", 60_000)
    history = History(store, hot, [], {})
    model, parent = base(), None
    for number in range(7):
        version = kept(tmp_path, model, f"v{number}")
        stored = history.opened(KEY).put(version, [KEY], parent).stored
        history.cids[version.manifest.weights] = stored.cid
        history.versions.append(version)
        model, parent = changed(model, seed=number), version
    return history


def test_every_version_is_had_again_to_the_byte(history: History, tmp_path: Path) -> None:
    assert history.kinds() == "SDDSDDS"
    for version in [*history.versions, *history.versions[::-1]]:
        history.opened(KEY).get(version.manifest.weights, tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == version.path.read_bytes()


def test_hot_versions_stay_within_their_limit_and_are_used(
    history: History, tmp_path: Path
) -> None:
    def hot() -> set[str]:
        return {path.name for path in history.hot.root.iterdir()}

    weights = [version.manifest.weights for version in history.versions]
    for each in (5, 2, 1):
        history.opened(KEY).get(weights[each], tmp_path / "got")
        assert sum(path.stat().st_size for path in history.hot.root.iterdir()) <= 60_000
        assert weights[each].hex() in hot()
    history.store.delete(history.cids[weights[1]])
    history.opened(KEY).get(weights[1], tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == history.versions[1].path.read_bytes()


def test_damaged_hot_version_is_not_handed_out(history: History, tmp_path: Path) -> None:
    wanted = history.versions[1]
    history.opened(KEY).get(wanted.manifest.weights, tmp_path / "got")
    for file in history.hot.root.iterdir():
        data = file.read_bytes()
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    history.opened(KEY).get(wanted.manifest.weights, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == wanted.path.read_bytes()


def test_limit_that_no_version_fits_keeps_none(history: History, tmp_path: Path) -> None:
    history.hot = HotVersions(tmp_path / "cold", 10)
    history.opened(KEY).get(history.versions[2].manifest.weights, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == history.versions[2].path.read_bytes()
    assert list(history.hot.root.iterdir()) == []


def test_exchanged_objects_are_noticed(history: History, tmp_path: Path) -> None:
    """As if the chain had named other objects: what they become is still another identity."""
    weights = [version.manifest.weights for version in history.versions]
    cids = dict(history.cids)
    for asked, given in ((1, 4), (0, 3), (0, 1), (2, 2)):
        history.cids[weights[asked]] = cids[weights[given]]
        if asked == given:  # a cycle: its base leads to itself
            history.cids[weights[1]] = cids[weights[2]]
        with pytest.raises(NotVerified):
            history.opened(KEY).get(weights[asked], tmp_path / "got")
        history.cids.update(cids)
    assert not (tmp_path / "got").exists()


def test_lost_or_damaged_object_is_named(history: History, tmp_path: Path) -> None:
    weights = [version.manifest.weights for version in history.versions]
    snapshot = history.cids[weights[3]]
    path = history.store.root / str(snapshot)
    data = bytearray(path.read_bytes())
    data[500] ^= 1
    path.write_bytes(data)
    with pytest.raises(NotVerified, match=f"of {snapshot} is damaged"):
        history.opened(KEY).get(weights[5], tmp_path / "got")
    with pytest.raises(WrongContent):
        history.store.verify(snapshot)
    history.store.delete(snapshot)
    with pytest.raises(UnknownObject, match=str(snapshot)):
        history.opened(KEY).get(weights[5], tmp_path / "got")
    with pytest.raises(UnknownObject, match="no object is known for the weights 0x0000"):
        history.opened(KEY).get(bytes(32), tmp_path / "got")
    assert not (tmp_path / "got").exists()


def test_version_is_not_had_without_a_key(history: History, tmp_path: Path) -> None:
    with pytest.raises(NoKey):
        history.opened().get(history.versions[2].manifest.weights, tmp_path / "got")


def test_version_after_one_that_cannot_be_read_is_kept_whole(
    history: History, tmp_path: Path
) -> None:
    parent, version = history.versions[0], history.versions[1]
    history.cids.pop(parent.manifest.weights)
    assert history.opened(KEY).put(version, [KEY], parent).payload.format == "safetensors"


def test_delta_that_is_no_shorter_gives_way_to_a_snapshot(tmp_path: Path, history: History) -> None:
    one = kept(tmp_path, {"w": ("U8", [1], b"a")}, "one")
    two = kept(tmp_path, {"w": ("U8", [1], b"b")}, "two")
    history.cids[one.manifest.weights] = history.opened(KEY).put(one, [KEY], None).stored.cid
    count = len(list(history.store.names()))
    assert history.opened(KEY).put(two, [KEY], one).payload.format == "safetensors"
    assert len(list(history.store.names())) == count + 1
    assert len(list(history.store.sidecars.names())) == count + 1


def test_digest_on_chain_leads_to_the_object(history: History) -> None:
    for cid in history.cids.values():
        assert cid in possible_cids(cid.digest)
