"""Objects on a real IPFS node, and what happens when it, or the way to it, fails."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.errors import NotVerified
from ml.storage.cid import LEAF_BYTES, Cid
from ml.storage.encrypted import open_decrypted, put_encrypted
from ml.storage.errors import StorageError, UnknownObject, WrongContent
from ml.storage.ipfs import IpfsStore, UntrustedNode
from ml.storage.keys import MasterKey
from ml.storage.kubo import Patience, Refused, Unreachable
from ml.storage.local_store import LocalSidecars
from ml.storage.naming import name
from ml.storage.sidecar import Payload
from ml.storage.store import Store

from .ipfs_node import Answer, Fault, FaultyProxy, broken_off, busy, cut

DATA = os.urandom(3 * LEAF_BYTES + 17)
CID = name([DATA]).cid
ELSEWHERE = name([b"an object that no node has"]).cid
QUICK = Patience(search=60, attempts=3, backoff=0.01)


@pytest.fixture
def proxy(ipfs_port: int) -> Iterator[FaultyProxy]:
    with FaultyProxy(ipfs_port) as running:
        yield running


@pytest.fixture
def store(ipfs_port: int) -> Iterator[IpfsStore]:
    """The node itself."""
    with IpfsStore(f"http://127.0.0.1:{ipfs_port}", QUICK) as store:
        yield store


@pytest.fixture
def behind(proxy: FaultyProxy) -> Iterator[IpfsStore]:
    """The node behind the proxy."""
    with IpfsStore(proxy.url, QUICK) as store:
        yield store


def content(store: Store, cid: Cid) -> bytes:
    with store.open(cid) as pieces:
        return b"".join(map(bytes, pieces))


# --- A node that works ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"", b"x", DATA[:LEAF_BYTES], DATA, os.urandom(16 * LEAF_BYTES)],
    ids=["empty", "one byte", "one leaf", "some leaves", "many leaves"],
)
def test_object_is_read_as_it_was_put(store: IpfsStore, data: bytes) -> None:
    stored = store.put([data[:7], data[7:]])
    assert stored == name([data])
    assert content(store, stored.cid) == data
    assert store.verify(stored.cid) == stored
    assert store.has(stored.cid)
    assert stored.cid in set(store.names())


def test_deleted_object_is_pinned_no_longer_and_can_be_pinned_again(store: IpfsStore) -> None:
    cid = store.put([DATA]).cid
    store.delete(cid)
    assert not store.has(cid)
    assert cid not in set(store.names())
    store.delete(cid)
    store.pin(cid)  # the node has not collected its garbage
    assert store.has(cid)


def test_object_that_is_not_there_is_named_after_the_time_allowed(ipfs_port: int) -> None:
    """The node would search the network for ever."""
    with IpfsStore(f"http://127.0.0.1:{ipfs_port}", Patience(search=0.2)) as store:
        assert not store.has(ELSEWHERE)
        store.delete(ELSEWHERE)
        for ask in (store.verify, store.pin, lambda cid: content(store, cid)):
            with pytest.raises(UnknownObject, match=rf"has no object {ELSEWHERE}.* within 0\.2s"):
                ask(ELSEWHERE)


def test_object_whose_source_fails_is_not_stored(store: IpfsStore) -> None:
    unfinished = os.urandom(100)

    def broken() -> Iterator[bytes]:
        yield unfinished
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="the source is gone"):
        store.put(broken())
    assert not store.has(name([unfinished]).cid)


def test_encrypted_object_is_read_back_with_its_sidecar_at_home(
    store: IpfsStore, tmp_path: Path
) -> None:
    sidecars, key = LocalSidecars(tmp_path), MasterKey.generate()
    cid = put_encrypted(store, sidecars, [DATA], [key], Payload("pt")).stored.cid
    with open_decrypted(store, sidecars, cid, [key]) as pieces:
        assert b"".join(map(bytes, pieces)) == DATA


# --- A network that fails -------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [broken_off, busy])
def test_put_is_repeated_until_the_node_has_the_object(
    behind: IpfsStore, proxy: FaultyProxy, fault: Fault
) -> None:
    proxy.faults = [("add", fault), ("add", fault)]
    assert behind.put(iter([DATA])).cid == CID  # a stream that can be read only once
    assert len(proxy.asked) == 3


def test_object_is_read_on_from_where_the_connection_broke_off(
    behind: IpfsStore, proxy: FaultyProxy
) -> None:
    behind.put([DATA])
    proxy.faults = [
        ("cat", cut(LEAF_BYTES + 1)),
        ("cat", broken_off),
        ("cat", lambda whole: Answer(200, whole.body[:LEAF_BYTES])),  # ends as if that was all
    ]
    assert content(behind, CID) == DATA
    offsets = [path for path in proxy.asked if "/cat?" in path]
    assert [f"offset={LEAF_BYTES + 1}" in path for path in offsets] == [False, True, True, False]
    assert f"offset={2 * LEAF_BYTES + 1}" in offsets[-1]


def test_node_that_stays_away_is_given_up_with_its_address(
    behind: IpfsStore, proxy: FaultyProxy
) -> None:
    behind.put([DATA])
    proxy.faults.extend(3 * [("add", broken_off), ("cat", broken_off), ("pin/ls", broken_off)])
    for ask in (lambda: behind.put([DATA]), lambda: content(behind, CID), lambda: behind.has(CID)):
        with pytest.raises(Unreachable, match=rf"at {proxy.url} does not answer \(3 attempts"):
            ask()
    assert not proxy.faults


def test_node_that_stops_while_an_object_is_read_is_given_up(
    ipfs_port: int, store: IpfsStore
) -> None:
    store.put([DATA])
    with FaultyProxy(ipfs_port) as proxy, IpfsStore(proxy.url, QUICK) as behind:
        proxy.faults = [("cat", cut(1000)), *3 * [("cat", broken_off)]]
        with behind.open(CID) as pieces:
            assert bytes(next(pieces)) == DATA[:1000]
            with pytest.raises(Unreachable):
                next(pieces)


def test_nobody_at_the_address_is_said() -> None:
    with (
        IpfsStore("http://user:secret@127.0.0.1:1", QUICK) as store,
        pytest.raises(Unreachable, match="see that it runs") as caught,
    ):
        store.put([DATA])
    assert "secret" not in str(caught.value)


# --- A node that lies -----------------------------------------------------------------------------


def test_other_name_for_an_object_is_not_believed(behind: IpfsStore, proxy: FaultyProxy) -> None:
    lie = json.dumps({"Name": "", "Hash": str(ELSEWHERE), "Size": "1"}).encode()
    proxy.faults = [("add", lambda _: Answer(200, lie))]
    with pytest.raises(UntrustedNode, match=f"calls an object '{ELSEWHERE}', and it is {CID}"):
        behind.put([DATA])


@pytest.mark.parametrize(
    "changed",
    [DATA[:-1] + bytes([DATA[-1] ^ 1]), DATA + b"x", bytes(len(DATA))],
    ids=["one bit", "one byte more", "all"],
)
def test_other_bytes_are_not_believed(
    behind: IpfsStore, proxy: FaultyProxy, changed: bytes
) -> None:
    behind.put([DATA])
    for ask in (content, IpfsStore.verify):
        proxy.faults = [("cat", lambda _: Answer(200, changed))]
        with pytest.raises(WrongContent, match=f"what is stored as {CID} is damaged"):
            ask(behind, CID)


def test_wrong_size_is_not_believed(behind: IpfsStore, proxy: FaultyProxy) -> None:
    behind.put([DATA])
    proxy.faults = [("files/stat", lambda _: Answer(200, b'{"Size": 1000}'))]
    with pytest.raises(NotVerified):
        content(behind, CID)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"Size": "many"}'])
def test_what_is_no_node_is_said(behind: IpfsStore, proxy: FaultyProxy, body: bytes) -> None:
    proxy.faults = [
        ("add", lambda _: Answer(200, body)),
        ("files/stat", lambda _: Answer(200, body)),
    ]
    for ask in (lambda: behind.put([DATA]), lambda: content(behind, CID)):
        with pytest.raises(StorageError, match="what answers is no IPFS node"):
            ask()


def test_refusal_is_repeated_in_the_words_of_the_node(
    behind: IpfsStore, proxy: FaultyProxy
) -> None:
    proxy.faults = [("add", lambda _: Answer(500, b'{"Message": "disk full"}'))]
    with pytest.raises(Refused, match="refuses: 'disk full'"):
        behind.put([DATA])
    proxy.faults = [("pin/ls", lambda _: Answer(404, b"nothing here"))]
    with pytest.raises(Refused, match="refuses: 'status 404'"):
        behind.has(CID)


@pytest.mark.parametrize("url", ["localhost:5001", "ftp://host", "http://", "http://[::1"])
def test_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(StorageError, match="URL"):
        IpfsStore(url)
