"""Places as users name them: the stores there, and their sidecars as one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ml.storage.access import add_recipient
from ml.storage.cid import Cid
from ml.storage.delta_chains import NamedVersion, delta_chain, described_by, needed_by
from ml.storage.deltas import FORMAT
from ml.storage.encrypted import put_encrypted, read_sidecar
from ml.storage.errors import DamagedSidecar, StorageError, UnknownObject
from ml.storage.keys import MasterKey
from ml.storage.local_store import LocalStore
from ml.storage.naming import name
from ml.storage.places import Places
from ml.storage.replicas import Policy
from ml.storage.rewrapping import rewrap_in_all
from ml.storage.sidecar import Payload, Sidecar

KEY, OTHER = MasterKey.generate(), MasterKey.generate()


@pytest.fixture
def both(tmp_path: Path) -> Places:
    return Places([str(tmp_path / "one"), str(tmp_path / "two")])


def put(places: Places, kind: str = "pt") -> Cid:
    plaintext = [os.urandom(50)]
    kept = put_encrypted(places.store, places.sidecars, plaintext, [KEY], Payload(kind))
    return kept.stored.cid


def damage(store: LocalStore, cid: Cid) -> None:
    (store.root / f"{cid}.json").write_text("damaged")


def test_sidecars_are_in_all_folders_and_read_where_they_are_right(both: Places) -> None:
    cid, (one, two) = put(both), both.folders
    assert one.sidecars.read(cid) == two.sidecars.read(cid)
    damage(one, cid)
    assert read_sidecar(both.sidecars, cid).stored.cid == cid
    damage(two, cid)
    with pytest.raises(DamagedSidecar):
        both.sidecars.read(cid)
    one.sidecars.delete(cid)
    with pytest.raises(DamagedSidecar):
        both.sidecars.read(cid)
    assert set(both.sidecars.names()) == {cid}
    both.sidecars.delete(cid)
    with pytest.raises(UnknownObject, match=f"no sidecar of {cid} in {one}, {two}"):
        both.sidecars.read(cid)


def test_sidecars_are_changed_in_all_folders(both: Places) -> None:
    cid = put(both)

    def let_in(data: bytes) -> bytes:
        return add_recipient(Sidecar.read(data, cid), [KEY], OTHER).to_json()

    assert both.sidecars.update(cid, let_in)
    assert not both.sidecars.update(cid, let_in)
    for folder in both.folders:
        assert len(read_sidecar(folder.sidecars, cid).recipients) == 2


def test_keys_are_changed_wherever_the_object_is(both: Places) -> None:
    everywhere, only_one = put(both), put(both)
    one, two = (folder.sidecars for folder in both.folders)
    two.delete(only_one)

    def let_in(sidecar: Sidecar) -> Sidecar:
        return add_recipient(sidecar, [KEY], OTHER)

    def changed(cids: list[Cid] | None) -> set[tuple[str, Cid, str]]:
        done = rewrap_in_all([one, two], cids, let_in)
        return {(str(folder), each.cid, each.outcome) for folder, each in done}

    assert changed([only_one]) == {(str(one), only_one, "changed")}
    assert changed(None) == {
        (str(one), only_one, "as it was"),
        (str(one), everywhere, "changed"),
        (str(two), everywhere, "changed"),
    }
    nowhere = name([b"an object that is not here"]).cid
    assert changed([nowhere]) == {(str(each), nowhere, "refused") for each in (one, two)}


def test_policy_has_to_fit_the_places(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="2 replicas are asked for, and there are 1 stores"):
        Places([str(tmp_path)], Policy.parse("2"))
    with pytest.raises(StorageError, match="an IPFS node keeps no sidecars"):
        Places(["ipfs:http://127.0.0.1:5001"])


def test_place_that_is_named_twice_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "loop").symlink_to("loop")
    Places(["a", "there", "loop", "ipfs:http://h:5001", "ipfs:http://h:5002"])
    for names in (
        ["a", "b", "a"],
        ["a", "./a"],
        ["a", str(tmp_path / "a" / ".")],
        ["a", "b/../a"],
        ["there", "link"],
        ["link/a", "there/a"],
        ["loop", "./loop"],
        ["a", "ipfs:http://h:5001", "ipfs:http://user:word@h:5001"],
        ["a", "ipfs:http://h", "ipfs:HTTP://H:80/"],
    ):
        with pytest.raises(StorageError, match=r" are one place, .*: name it once"):
            Places(names)


# --- What a lost object takes with it -------------------------------------------------------------


def test_version_needs_the_objects_down_to_a_whole_one(both: Places) -> None:
    objects = [put(both, kind) for kind in ("pt", FORMAT, FORMAT, "pt", FORMAT)]
    line: list[NamedVersion] = []
    for number, cid in enumerate(objects):
        line.append(NamedVersion(f"v{number}", cid.digest, None, line[-1] if line else None))
    describe = described_by([folder.sidecars for folder in both.folders])
    assert [each.name for each in delta_chain(line[2], describe)] == ["v2", "v1", "v0"]
    needed = needed_by(line, describe)
    assert [needed[cid.digest] for cid in objects] == [
        ["v0", "v1", "v2"],
        ["v1", "v2"],
        ["v2"],
        ["v3", "v4"],
        ["v4"],
    ]


def test_damaged_sidecar_ends_what_is_known_of_a_chain(both: Places) -> None:
    whole, delta = put(both), put(both, FORMAT)
    first = NamedVersion("v1", whole.digest)
    second = NamedVersion("v2", delta.digest, None, first)
    for folder in both.folders:
        damage(folder, delta)
    describe = described_by([folder.sidecars for folder in both.folders])
    assert delta_chain(second, describe) == [second]


def test_version_without_an_object_needs_its_metadata_alone(both: Places) -> None:
    metadata = name([b"{}"]).cid
    version = NamedVersion("v1", None, metadata)
    assert version.digests == [metadata.digest]
    assert needed_by([version], described_by([])) == {metadata.digest: ["v1"]}
