"""Several stores by a policy: what counts as stored, and what is read when some of them fail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.storage.cid import Cid
from ml.storage.errors import StorageError, UnknownObject
from ml.storage.ipfs import IpfsStore
from ml.storage.kubo import Patience
from ml.storage.local_store import LocalStore
from ml.storage.naming import name
from ml.storage.replicas import ALL, ANY, DamagedReplicas, Failure, Policy, Replicas, TooFewReplicas
from ml.storage.store import Store

DATA = os.urandom(300_000)
CID = name([DATA]).cid
TWO = Policy(2)


@pytest.fixture
def good(tmp_path: Path) -> list[LocalStore]:
    """Three stores that work."""
    return [LocalStore(tmp_path / each) for each in ("first", "second", "third")]


@pytest.fixture
def broken(tmp_path: Path) -> LocalStore:
    """A store whose disk takes nothing."""
    (tmp_path / "file").write_text("in the way")
    return LocalStore(tmp_path / "file" / "objects")


@pytest.fixture
def reported() -> list[Failure]:
    return []


def content(store: Store, cid: Cid = CID) -> bytes:
    with store.open(cid) as pieces:
        return b"".join(map(bytes, pieces))


def damage(store: LocalStore) -> None:
    (store.root / str(CID)).write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))


def test_object_is_put_into_all_from_one_stream(good: list[LocalStore]) -> None:
    assert Replicas(good).put(iter([DATA[:5], DATA[5:]])) == name([DATA])
    assert [content(store) for store in good] == [DATA] * 3


@pytest.mark.parametrize(("policy", "enough"), [(ALL, False), (TWO, True), (ANY, True)])
def test_policy_says_whether_an_object_counts_as_stored(
    good: list[LocalStore],
    broken: LocalStore,
    reported: list[Failure],
    policy: Policy,
    enough: bool,
) -> None:
    replicas = Replicas([good[0], broken, good[1]], policy, reported.append)
    if enough:
        assert replicas.put([DATA]).cid == CID
        assert [failure.store for failure in reported] == [broken]
        assert replicas.has(CID)
        assert replicas.verify(CID).cid == CID
    else:
        with pytest.raises(TooFewReplicas, match=f"store {CID} in 3 of 3 stores: .*file/objects"):
            replicas.put([DATA])
        with pytest.raises(TooFewReplicas, match="tell whether"):  # the third does not say
            replicas.has(CID)
    assert content(good[0]) == content(good[1]) == DATA


def test_quorum_that_is_missed_names_each_store_that_failed(
    good: list[LocalStore], broken: LocalStore
) -> None:
    with pytest.raises(TooFewReplicas, match=r"file/objects.*; .*file/objects"):
        Replicas([broken, good[0], broken], TWO).put([DATA])


def test_damaged_lost_and_unreachable_replicas_are_read_past(
    good: list[LocalStore], reported: list[Failure]
) -> None:
    damaged, lost, whole = good
    for store in (damaged, whole):
        store.put([DATA])
    damage(damaged)
    with IpfsStore("http://127.0.0.1:1", Patience(attempts=1)) as away:
        replicas = Replicas([damaged, lost, away, whole], ANY, reported.append)
        assert content(replicas) == DATA
        assert [failure.store for failure in reported] == [damaged, lost, away]
        assert replicas.verify(CID).cid == CID


def test_object_that_no_store_has_whole_is_not_handed_out(good: list[LocalStore]) -> None:
    replicas = Replicas(good, ANY)
    with pytest.raises(UnknownObject, match=f"cannot read {CID}"):
        content(replicas)
    replicas.put([DATA])
    for store in good:
        damage(store)
    for ask in (content, Replicas.verify):
        with pytest.raises(DamagedReplicas, match=f"what is stored as {CID} is damaged"):
            ask(replicas, CID)


def test_too_few_whole_replicas_are_not_verified(good: list[LocalStore]) -> None:
    replicas = Replicas(good, TWO)
    replicas.put([DATA])
    damage(good[0])
    assert replicas.verify(CID).cid == CID
    good[1].delete(CID)
    with pytest.raises(DamagedReplicas, match=r"verify .* in 2 of 3 stores"):
        replicas.verify(CID)


def test_names_are_those_of_all_and_deleting_is_from_all(good: list[LocalStore]) -> None:
    replicas = Replicas(good, ANY)
    other = good[2].put([b"other"]).cid
    good[0].put([DATA])
    assert set(replicas.names()) == {CID, other}
    replicas.delete(CID)
    replicas.delete(other)
    assert set(replicas.names()) == set()


def test_what_cannot_be_known_is_not_guessed(good: list[LocalStore]) -> None:
    good[0].put([DATA])
    with IpfsStore("http://127.0.0.1:1", Patience(attempts=1)) as away:
        with pytest.raises(TooFewReplicas, match="tell whether"):
            Replicas([good[0], away], ALL).has(CID)
        assert not Replicas([good[1], away], ALL).has(CID)
        with pytest.raises(TooFewReplicas, match="list objects"):
            Replicas([good[0], away], ANY).names()


def test_source_that_fails_stores_nothing_anywhere(good: list[LocalStore]) -> None:
    def stopping() -> Iterator[bytes]:
        yield DATA
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="the source is gone"):
        Replicas(good, ANY).put(stopping())
    assert not any(store.root.exists() for store in good)


@pytest.mark.parametrize(("text", "policy"), [("all", ALL), ("any", ANY), ("2", TWO)])
def test_policy_is_read_from_text(text: str, policy: Policy) -> None:
    assert Policy.parse(text) == policy


@pytest.mark.parametrize("text", ["", "most", "0", "-1", "1.5"])
def test_text_that_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(StorageError, match="all, any or a number"):
        Policy.parse(text)


def test_quorum_larger_than_the_stores_is_refused(good: list[LocalStore]) -> None:
    with pytest.raises(StorageError, match="4 replicas are asked for, and there are 3 stores"):
        Replicas(good, Policy(4))
    with pytest.raises(StorageError, match="0 replicas"):
        Replicas([], ALL)


@pytest.mark.parametrize(("policy", "enough"), [(ALL, False), (TWO, True), (ANY, True)])
def test_stores_that_do_not_answer_are_noticed_before_anything_is_put(
    good: list[LocalStore], policy: Policy, enough: bool
) -> None:
    with IpfsStore("http://127.0.0.1:1", Patience(attempts=1)) as away:
        replicas = Replicas([away, *good[:2]], policy, lambda _: None)
        if enough:
            replicas.check()
        else:
            with pytest.raises(TooFewReplicas, match="find an answer in 3 of 3 stores"):
                replicas.check()
