"""Objects that are lost, damaged or needed by nobody: found, mended, and given up."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import pytest

from ml.storage.access import add_recipient
from ml.storage.cid import LEAF_BYTES, Cid
from ml.storage.encrypted import put_encrypted
from ml.storage.errors import StorageError
from ml.storage.ipfs import IpfsStore
from ml.storage.keys import MasterKey
from ml.storage.kubo import Patience
from ml.storage.local_store import LocalStore
from ml.storage.naming import name
from ml.storage.places import open_store
from ml.storage.retention import RUN_FORMAT, UPDATE_FORMAT, Retention, Use, given_up
from ml.storage.sidecar import Payload, Sidecar
from ml.storage.upkeep import (
    Finding,
    agreed,
    days_before,
    delete,
    examine,
    examine_sidecars,
    garbage,
    known,
    repair,
    repair_sidecars,
    statistics,
)

KEY = MasterKey.generate()
SOON = time.time() + 3600
ELSEWHERE = name([b"an object that is not here"]).cid


@pytest.fixture
def one(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "one")


@pytest.fixture
def two(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "two")


def put(*stores: LocalStore, kind: str = "pt", size: int = 100) -> Cid:
    first, *others = stores
    cid = put_encrypted(first, first.sidecars, [os.urandom(size)], [KEY], Payload(kind)).stored.cid
    for store in others:
        with first.open(cid) as pieces:
            store.put(pieces)
        store.sidecars.write(cid, first.sidecars.read(cid))
    return cid


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def conditions(findings: list[Finding]) -> list[str]:
    return [each.condition.value for each in findings]


def test_lost_and_damaged_objects_are_found_and_repaired(one: LocalStore, two: LocalStore) -> None:
    whole, damaged, lost = put(one, two), put(one, two), put(one, two)
    damage(one.root / str(damaged))
    two.delete(lost)
    cids = [whole, damaged, lost]
    found = ["whole", "whole", "damaged", "whole", "whole", "lost"]
    assert conditions(list(examine([one, two], cids))) == found
    mended = ["whole", "whole", "repaired", "whole", "whole", "repaired"]
    assert conditions(list(repair([one, two], cids))) == mended
    assert conditions(list(examine([one, two], cids))) == ["whole"] * 6


def test_what_no_store_has_whole_stays_as_it_is(one: LocalStore, two: LocalStore) -> None:
    cid = put(one, two)
    damage(one.root / str(cid))
    two.delete(cid)
    assert conditions(list(repair([one, two], [cid]))) == ["damaged", "lost"]
    assert not two.has(cid)


def test_sidecars_are_repaired_and_right_ones_left_alone(one: LocalStore, two: LocalStore) -> None:
    damaged, lost, other = put(one, two), put(one, two), put(one, two)
    damage(one.root / f"{damaged}.json")
    two.sidecars.delete(lost)
    two.sidecars.write(other, with_one_more_recipient(one, other))
    kept = two.sidecars.read(other)
    cids = [damaged, lost, other]
    assert conditions(list(examine_sidecars([one, two], cids))) == [
        *("damaged", "whole"),
        *("whole", "lost"),
        *("whole", "whole"),
    ]
    assert conditions(list(repair_sidecars([one, two], cids))) == [
        *("repaired", "whole"),
        *("whole", "repaired"),
        *("whole", "whole"),
    ]
    assert set(conditions(list(examine_sidecars([one, two], cids)))) == {"whole"}
    assert two.sidecars.read(other) == kept != one.sidecars.read(other)


def with_one_more_recipient(store: LocalStore, cid: Cid) -> bytes:
    sidecar = Sidecar.read(store.sidecars.read(cid), cid)
    return add_recipient(sidecar, [KEY], MasterKey.generate()).to_json()


def test_object_is_repaired_on_an_ipfs_node_and_from_it(one: LocalStore, ipfs_port: int) -> None:
    cid = put(one, size=2 * LEAF_BYTES)
    with IpfsStore(f"http://127.0.0.1:{ipfs_port}") as node:
        assert conditions(list(repair([one, node], [cid]))) == ["whole", "repaired"]
        damage(one.root / str(cid))
        assert conditions(list(repair([one, node], [cid]))) == ["repaired", "whole"]
        node.delete(cid)  # the bytes may stay there for a while, and are kept no longer
        assert conditions(list(examine([one, node], [cid]))) == ["whole", "lost"]


def test_store_that_cannot_be_asked_is_no_loss(one: LocalStore) -> None:
    cid = put(one)
    with IpfsStore("http://127.0.0.1:1", Patience(attempts=1)) as away:
        assert conditions(list(examine([one, away], [cid]))) == ["whole", "unknown"]


def test_what_the_chain_names_is_looked_for(one: LocalStore, two: LocalStore) -> None:
    small, large = put(one), put(two, size=2 * LEAF_BYTES)
    only_sidecar = put(two)
    two.delete(only_sidecar)
    named = [small.digest, large.digest, ELSEWHERE.digest]
    cids = known([one, two], named)
    assert {small, large, only_sidecar} < cids
    (lost,) = cids - {small, large, only_sidecar}
    assert lost.digest == ELSEWHERE.digest
    assert conditions(list(examine([one], [lost]))) == ["lost"]


# --- Garbage --------------------------------------------------------------------------------------


def test_what_a_version_names_is_never_garbage(one: LocalStore) -> None:
    named, unnamed = put(one), put(one)
    assert garbage(one, [named.digest], SOON) == [unnamed]
    delete([one], [unnamed])
    assert list(one.names()) == list(one.sidecars.names()) == [named]


def test_new_objects_are_not_garbage_yet(one: LocalStore) -> None:
    cid = put(one)
    assert garbage(one, [], one.changed_at(cid) - 1) == []
    assert garbage(one, [], one.changed_at(cid)) == [cid]


@pytest.mark.parametrize("days", [math.nan, math.inf, -math.inf, -1.0])
def test_age_that_is_none_is_refused(days: float) -> None:
    """By nan days, everything would be old enough."""
    with pytest.raises(StorageError, match=r"older than .* days cannot be told"):
        days_before(SOON, days)
    assert days_before(SOON, 0) == SOON
    assert days_before(SOON, 0.5) == SOON - 43_200


def test_object_that_nobody_can_read_is_garbage_and_damaged_sidecars_are_not(
    one: LocalStore,
) -> None:
    unreadable, damaged = put(one), put(one)
    one.sidecars.delete(unreadable)
    damage(one.root / f"{damaged}.json")
    assert garbage(one, [], SOON) == [unreadable]


def test_garbage_is_what_every_folder_calls_so(one: LocalStore, two: LocalStore) -> None:
    both, only_one = put(one, two), put(one)
    assert set(agreed([one, two], [[both, only_one], []])) == {only_one}
    assert set(agreed([one, two], [[both, only_one], [both]])) == {both, only_one}


def test_what_others_pinned_on_a_node_is_not_touched(one: LocalStore, ipfs_port: int) -> None:
    with IpfsStore(f"http://127.0.0.1:{ipfs_port}") as node:
        theirs = node.put([os.urandom(50)]).cid
        ours = put(one)
        with one.open(ours) as pieces:
            node.put(pieces)
        delete([one, node], garbage(one, [], SOON))
        assert node.has(theirs)
        assert not node.has(ours)


def test_clients_updates_go_by_their_own_rule(one: LocalStore) -> None:
    updates = {put(one, kind=UPDATE_FORMAT): version for version in range(1, 8)}
    unlisted = put(one, kind=UPDATE_FORMAT)

    def kept(rule: str) -> list[int]:
        uses = {cid: [Use(version, 7)] for cid, version in updates.items()}
        gone = garbage(one, [], SOON, given_up(Retention.parse(rule), uses))
        assert unlisted not in gone
        return sorted(version for cid, version in updates.items() if cid not in gone)

    assert kept("keep") == [1, 2, 3, 4, 5, 6, 7]
    assert kept("drop:3") == [5, 6, 7]
    assert kept("thin:2:3") == [3, 6, 7]
    assert kept("drop:0") == []


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("keep", "every aggregation can be computed again"),
        ("drop:3", "cannot compute the aggregation again"),
        ("thin:3:2", "but for versions that 2 divides"),
    ],
)
def test_rule_says_what_it_costs_an_auditor(rule: str, said: str) -> None:
    assert said in Retention.parse(rule).cost


@pytest.mark.parametrize("rule", ["", "drop", "thin:3", "thin:3:0", "drop:-1", "drop:1:2"])
def test_rule_that_is_none_is_refused(rule: str) -> None:
    with pytest.raises(StorageError, match="updates are kept by keep, drop:VERSIONS"):
        Retention.parse(rule)


def test_update_is_kept_for_any_of_the_versions_that_it_went_into() -> None:
    uses = {ELSEWHERE: [Use(1, 9), Use(8, 9)]}
    assert given_up(Retention.parse("drop:2"), uses) == set()
    assert given_up(Retention.parse("drop:1"), uses) == {ELSEWHERE}


def test_run_that_versions_name_by_their_metadata_is_no_garbage(one: LocalStore) -> None:
    put(one, kind=RUN_FORMAT)
    assert garbage(one, [], SOON) == []


def test_statistics_count_what_is_there(one: LocalStore) -> None:
    put(one, kind="safetensors")
    damaged, lost = put(one), put(one)
    damage(one.root / f"{damaged}.json")
    one.delete(lost)
    counted = statistics(one.sidecars, one)
    assert (counted.objects, counted.sidecars) == (2, 3)
    assert counted.formats == {"safetensors": 1, "(damaged sidecar)": 1}
    assert counted.total_bytes == 64 + 100 + 16


def test_place_is_a_folder_or_a_node(tmp_path: Path) -> None:
    assert isinstance(open_store(str(tmp_path)), LocalStore)
    assert str(open_store("ipfs:http://127.0.0.1:5001")) == "ipfs:http://127.0.0.1:5001"
    with pytest.raises(StorageError, match="URL"):
        open_store("ipfs:")
