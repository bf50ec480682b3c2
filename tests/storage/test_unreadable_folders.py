"""Folders of which the system says nothing: they are no empty ones, and others are read instead."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ml.storage.cid import LEAF_BYTES, Cid
from ml.storage.encrypted import open_decrypted, put_encrypted
from ml.storage.errors import StorageError, UnknownObject
from ml.storage.hot_versions import HotVersions
from ml.storage.keys import MasterKey
from ml.storage.local_store import LocalStore
from ml.storage.naming import name
from ml.storage.places import Places
from ml.storage.recorded import possible_cids
from ml.storage.replicas import Policy, TooFewReplicas
from ml.storage.sidecar import Payload
from ml.storage.upkeep import (
    Finding,
    examine,
    examine_sidecars,
    garbage,
    known,
    looked_for,
    repair,
    repair_sidecars,
    statistics,
)
from ml.storage.version_store import VersionStore

from . import versions
from .versions import EVERY, History, base, kept

KEY = MasterKey.generate()
ELSEWHERE = name([b"an object that is not here"]).cid
PLAINTEXT = b"weights"


def below_a_file(folder: Path) -> Path:
    (folder / "file").write_text("in the way")
    return folder / "file" / "objects"


def link_to_itself(folder: Path) -> Path:
    (folder / "loop").symlink_to("loop")
    return folder / "loop"


def name_too_long(folder: Path) -> Path:
    return folder / ("x" * 300)


BROKEN = (below_a_file, link_to_itself, name_too_long)


@pytest.fixture(params=BROKEN, ids=lambda each: each.__name__)
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> LocalStore:
    """A folder about which the system answers with an error."""
    make: Callable[[Path], Path] = request.param
    return LocalStore(make(tmp_path))


@pytest.fixture
def good(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "good")


def put(store: LocalStore, size: int = 0) -> Cid:
    plaintext = [PLAINTEXT, os.urandom(size)]
    return put_encrypted(store, store.sidecars, plaintext, [KEY], Payload("pt")).stored.cid


def conditions(findings: list[Finding]) -> list[str]:
    return [each.condition.value for each in findings]


def test_folder_that_does_not_say_what_it_has_is_named(broken: LocalStore) -> None:
    for ask in (
        broken.has,
        broken.verify,
        broken.changed_at,
        broken.sidecars.read,
        lambda cid: broken.sidecars.update(cid, bytes),
        lambda _: broken.names(),
        lambda _: broken.sidecars.names(),
    ):
        with pytest.raises(StorageError, match=r"^cannot (read|write to) ") as said:
            ask(ELSEWHERE)
        assert str(broken) in str(said.value)
        assert not isinstance(said.value, UnknownObject)


def test_folder_that_was_never_written_to_has_nothing(good: LocalStore) -> None:
    assert not good.has(ELSEWHERE)
    assert list(good.names()) == list(good.sidecars.names()) == []
    with pytest.raises(UnknownObject):
        good.sidecars.read(ELSEWHERE)


def test_replica_is_read_where_the_first_folder_does_not_answer(
    broken: LocalStore, good: LocalStore
) -> None:
    cid = put(good)
    places = Places([str(broken), str(good)], Policy.parse("any"))
    assert places.store.has(cid)
    with open_decrypted(places.store, places.sidecars, cid, [KEY]) as pieces:
        assert b"".join(map(bytes, pieces)) == PLAINTEXT
    with pytest.raises(StorageError, match="cannot read ") as said:
        places.sidecars.read(ELSEWHERE)  # the broken one may have it
    assert not isinstance(said.value, UnknownObject)


def test_version_is_had_from_the_replica_whose_folder_answers(
    broken: LocalStore, tmp_path: Path
) -> None:
    """Also one of several leaves, whose sidecar is not under the first CID that is tried."""
    large = {**base(), "large": ("U8", [2 * LEAF_BYTES], os.urandom(2 * LEAF_BYTES))}
    version = kept(tmp_path, large, "large")
    history = History(LocalStore(tmp_path / "objects"), HotVersions(tmp_path / "hot", 0))
    history.put(version, None)
    places = Places([str(broken), str(history.store)], Policy.parse("any"))
    there = places.store, places.sidecars
    both = VersionStore(*there, [versions.KEY], history.locate, history.hot, EVERY)
    both.get(version.manifest.weights, tmp_path / "got.safetensors")
    assert (tmp_path / "got.safetensors").read_bytes() == version.path.read_bytes()


def test_object_and_sidecar_count_as_stored_by_one_policy(
    broken: LocalStore, good: LocalStore
) -> None:
    """Else what enough stores took would be lost for the want of a sidecar in another folder."""

    def put_into(policy: str) -> Cid:
        places = Places([str(broken), str(good)], Policy.parse(policy))
        kept = put_encrypted(places.store, places.sidecars, [PLAINTEXT], [KEY], Payload("pt"))
        return kept.stored.cid

    assert put_into("any") in good.sidecars.names()
    both = Places([str(broken), str(good)])
    with pytest.raises(TooFewReplicas, match=f"sidecar of {ELSEWHERE} in 2 of 2 folders: cannot"):
        both.sidecars.write(ELSEWHERE, b"{}")


def test_what_a_folder_does_not_say_is_unknown(broken: LocalStore, good: LocalStore) -> None:
    cid = put(good)
    assert conditions(list(examine([broken, good], [cid]))) == ["unknown", "whole"]
    assert conditions(list(examine_sidecars([broken, good], [cid]))) == ["unknown", "whole"]
    assert conditions(list(repair([broken, good], [cid]))) == ["unknown", "whole"]
    assert conditions(list(repair_sidecars([broken, good], [cid]))) == ["unknown", "whole"]


def test_what_there_is_is_looked_for_in_the_folders_that_answer(
    broken: LocalStore, good: LocalStore
) -> None:
    cid, lost = put(good), possible_cids(ELSEWHERE.digest)[-1]
    cids, silent = looked_for([broken, good], [cid.digest, ELSEWHERE.digest])
    assert cids == {cid, lost}
    assert [each.store for each in silent] == [broken]
    with pytest.raises(StorageError, match="cannot read "):
        known([broken, good], [])


def test_folder_that_takes_nothing_is_said_and_the_rest_is_repaired(
    good: LocalStore, tmp_path: Path
) -> None:
    full, third = LocalStore(tmp_path / "full"), LocalStore(tmp_path / "third")
    full.root.mkdir()
    (full.root / ".partial").write_text("in the way")
    cids = [put(good), put(good)]
    for mend in (repair, repair_sidecars):
        found = list(mend([good, full, third], cids))
        assert conditions(found) == ["whole", "lost", "repaired"] * 2
        assert found[1].reason.startswith(f"cannot be repaired from {good}: cannot write to")


def test_folder_in_the_place_of_a_file_is_unknown_and_the_rest_is_read(good: LocalStore) -> None:
    objects = [put(good), put(good)]
    strange, fine = objects
    for path in (good.root / str(strange), good.root / f"{strange}.json"):
        path.unlink()
        path.mkdir()
    assert conditions(list(examine([good], objects))) == ["unknown", "whole"]
    assert conditions(list(examine_sidecars([good], objects))) == ["unknown", "whole"]
    assert garbage(good, [], time.time() + 3600) == [fine]
    assert statistics(good.sidecars, good).formats == {"pt": 1, "(unreadable sidecar)": 1}
