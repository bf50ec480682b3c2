"""Objects and sidecars in a local folder."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.storage.cid import LEAF_BYTES, Cid
from ml.storage.encrypted import open_decrypted, put_encrypted, read_sidecar
from ml.storage.errors import (
    DamagedHeader,
    DamagedSegment,
    StorageError,
    SwappedSidecar,
    TruncatedObject,
    UnknownObject,
    WrongContent,
)
from ml.storage.keys import MasterKey
from ml.storage.local_store import LocalStore
from ml.storage.naming import name
from ml.storage.sidecar import Payload
from ml.storage.store import Store

from .objects import PLAINTEXT, SEALED, SHORT

DATA = os.urandom(3 * LEAF_BYTES + 17)
ELSEWHERE = name([b"an object that is not here"]).cid
MASTER = MasterKey.generate()

# Puts more than a process may write: what a full disk does, on any disk.
TOO_MUCH = """
import resource, signal, sys
from pathlib import Path
from ml.errors import ModelproofError
from ml.storage.local_store import LocalStore

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    LocalStore(Path(sys.argv[1])).put([bytes(60_000)] * 3)
except ModelproofError as error:
    print(error)
    sys.exit(error.exit_code)
"""

# Writes a round's sidecars, or too much for one of them, with few files open at a time.
MANY = """
import resource, signal, sys
from pathlib import Path
from ml.errors import ModelproofError
from ml.storage.local_store import LocalStore
from ml.storage.naming import name

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
texts = [b"%d" % number for number in range(int(sys.argv[2]))] + [bytes(int(sys.argv[3]))]
try:
    LocalStore(Path(sys.argv[1])).sidecars.write_all({name([one]).cid: one for one in texts})
except ModelproofError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "objects")


def content(store: Store, cid: Cid) -> bytes:
    with store.open(cid) as pieces:
        return b"".join(map(bytes, pieces))


def files(store: LocalStore) -> set[str]:
    """All that is in the store's folder, temporary files included."""
    return {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("data", [b"", b"x", DATA], ids=["empty", "one byte", "many leaves"])
def test_object_is_read_as_it_was_put(store: LocalStore, data: bytes) -> None:
    stored = store.put([data[:7], data[7:]])
    assert stored == name([data])
    assert content(store, stored.cid) == data
    assert store.verify(stored.cid) == stored
    assert store.has(stored.cid)
    assert list(store.names()) == [stored.cid]
    assert files(store) == {str(stored.cid)}


def test_object_is_readable_by_others(store: LocalStore) -> None:
    path = store.root / str(store.put([DATA]).cid)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_object_may_be_put_again(store: LocalStore) -> None:
    assert store.put([DATA]) == store.put([DATA])
    assert len(files(store)) == 1


def test_damaged_object_is_found_and_mended_by_putting_it_again(store: LocalStore) -> None:
    cid = store.put([DATA]).cid
    (store.root / str(cid)).write_bytes(DATA[:-1] + b"\0")
    with pytest.raises(WrongContent, match=f"what is stored as {cid} is damaged: its CID is"):
        store.verify(cid)
    store.put([DATA])
    assert store.verify(cid).size == len(DATA)


def test_store_that_was_never_written_to_is_empty(store: LocalStore) -> None:
    assert list(store.names()) == []
    assert list(store.sidecars.names()) == []
    assert not store.has(ELSEWHERE)
    store.delete(ELSEWHERE)
    assert not store.root.exists()


def test_object_that_is_not_here_is_named(store: LocalStore) -> None:
    for ask in (store.verify, lambda cid: content(store, cid)):
        with pytest.raises(UnknownObject, match=f"there is no object {ELSEWHERE} in"):
            ask(ELSEWHERE)


def test_deleted_object_is_gone(store: LocalStore) -> None:
    cid = store.put([DATA]).cid
    store.delete(cid)
    assert not store.has(cid)
    store.delete(cid)


def test_other_files_in_the_folder_are_no_objects(store: LocalStore) -> None:
    stored = store.put([DATA])
    (store.root / "README").write_text("mine")
    (store.root / "README.json").write_text("mine")
    store.sidecars.write(stored.cid, b"{}")
    assert list(store.names()) == [stored.cid]
    assert list(store.sidecars.names()) == [stored.cid]


def test_object_whose_source_fails_is_not_stored(store: LocalStore) -> None:
    def broken() -> Iterator[bytes]:
        yield DATA
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="the source is gone"):
        store.put(broken())
    assert files(store) == set()


def test_disk_that_takes_no_more_is_said_and_nothing_is_left(store: LocalStore) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOO_MUCH, store.root], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == f"cannot write to '{store.root}': File too large\n"
    assert files(store) == set()


def test_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"cannot write to .*: (Not a directory|File exists)"):
        LocalStore(tmp_path / "file" / "objects").put([DATA])


def test_writers_at_once_do_not_disturb_each_other(store: LocalStore) -> None:
    """Each begins while the others hold half an object, and none sweeps up the others' halves."""
    objects = [os.urandom(1000) for _ in range(8)]
    halfway = threading.Barrier(len(objects))

    def put(data: bytes) -> None:
        def pieces() -> Iterator[bytes]:
            yield data[:500]
            halfway.wait(timeout=60)
            yield data[500:]

        store.put(pieces())

    threads = [threading.Thread(target=put, args=[data]) for data in objects]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(store.names()) == {name([data]).cid for data in objects}
    assert all(store.verify(cid) for cid in store.names())


# --- Sidecars -------------------------------------------------------------------------------------


def test_sidecar_is_replaced_whole(store: LocalStore) -> None:
    store.sidecars.write(ELSEWHERE, b"old")
    store.sidecars.write(ELSEWHERE, b"new")
    assert store.sidecars.read(ELSEWHERE) == b"new"
    assert files(store) == {f"{ELSEWHERE}.json"}
    store.sidecars.delete(ELSEWHERE)
    with pytest.raises(UnknownObject, match=f"there is no sidecar of {ELSEWHERE}"):
        store.sidecars.read(ELSEWHERE)


@pytest.mark.parametrize("last_bytes", [1, 5001])
def test_many_sidecars_are_written_together_or_not_at_all(
    store: LocalStore, last_bytes: int
) -> None:
    """As many as clients take part in a round."""
    command = [sys.executable, "-c", MANY, store.root, "200", str(last_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if last_bytes > 5000:
        assert done.returncode == 2, done.stderr
        assert done.stdout == f"cannot write to '{store.root}': File too large\n"
        assert files(store) == set()
        return
    assert done.returncode == 0, done.stderr
    texts = [*(str(number).encode() for number in range(200)), bytes(last_bytes)]
    assert {cid: store.sidecars.read(cid) for cid in store.sidecars.names()} == {
        name([text]).cid: text for text in texts
    }


def test_update_says_whether_it_changed_anything(store: LocalStore) -> None:
    store.sidecars.write(ELSEWHERE, b"old")
    assert not store.sidecars.update(ELSEWHERE, lambda text: text)
    assert store.sidecars.update(ELSEWHERE, lambda text: text + b" and new")
    assert store.sidecars.read(ELSEWHERE) == b"old and new"


def test_update_of_a_sidecar_that_is_not_here_makes_nothing(store: LocalStore) -> None:
    with pytest.raises(UnknownObject):
        store.sidecars.update(ELSEWHERE, lambda text: text)
    assert not store.root.exists()


def test_updates_at_once_lose_nothing(store: LocalStore) -> None:
    store.sidecars.write(ELSEWHERE, b"")
    count = 8
    together = threading.Barrier(count)

    def update() -> None:
        together.wait(timeout=60)
        store.sidecars.update(ELSEWHERE, lambda text: text + b"x")

    threads = [threading.Thread(target=update) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.sidecars.read(ELSEWHERE) == b"x" * count


# --- Encrypted objects ----------------------------------------------------------------------------


@pytest.fixture
def cid(store: LocalStore) -> Cid:
    """An encrypted object in short segments."""
    sidecar = put_encrypted(
        store, store.sidecars, [PLAINTEXT], [MASTER], Payload("pt"), segment_bytes=SHORT
    )
    return sidecar.stored.cid


def plaintext(store: LocalStore, cid: Cid) -> bytes:
    with open_decrypted(store, store.sidecars, cid, [MASTER]) as pieces:
        return b"".join(map(bytes, pieces))


def flip(path: Path, place: int) -> None:
    """Change one byte, whatever it was."""
    whole = bytearray(path.read_bytes())
    whole[place] ^= 0xFF
    path.write_bytes(whole)


def test_encrypted_object_is_read_by_its_recipient(store: LocalStore, cid: Cid) -> None:
    assert plaintext(store, cid) == PLAINTEXT
    assert PLAINTEXT[:32] not in content(store, cid)
    assert read_sidecar(store.sidecars, cid).stored == store.verify(cid)
    assert files(store) == {str(cid), f"{cid}.json"}


def test_encrypted_object_for_nobody_is_not_stored(store: LocalStore) -> None:
    with pytest.raises(StorageError, match="name a recipient, or set a key"):
        put_encrypted(store, store.sidecars, [PLAINTEXT], [], Payload("pt"))
    assert not store.root.exists()


def test_damage_on_the_disk_is_told_apart(store: LocalStore, cid: Cid) -> None:
    path, whole = store.root / str(cid), content(store, cid)
    flip(path, 20)
    with pytest.raises(DamagedHeader, match=f"the header of {cid} is damaged: it is not the one"):
        plaintext(store, cid)
    path.write_bytes(whole)
    flip(path, 64 + SEALED)
    with pytest.raises(DamagedSegment, match=f"segment 1 of {cid} is damaged"):
        plaintext(store, cid)
    path.write_bytes(whole[:-1])
    with pytest.raises(TruncatedObject, match=f"{cid} is cut short"):
        plaintext(store, cid)
    path.write_bytes(whole)
    assert plaintext(store, cid) == PLAINTEXT


def test_swapped_files_are_refused(store: LocalStore, cid: Cid) -> None:
    other = put_encrypted(store, store.sidecars, [PLAINTEXT], [MASTER], Payload("pt")).stored.cid
    (store.root / str(other)).replace(store.root / str(cid))
    with pytest.raises(DamagedHeader):
        plaintext(store, cid)
    (store.root / f"{other}.json").replace(store.root / f"{cid}.json")
    with pytest.raises(SwappedSidecar, match=f"kept for {cid} is the one of {other}"):
        plaintext(store, cid)
