"""Who can read an object, and changing that without touching the object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from ml.errors import ModelproofError, NotVerified
from ml.storage.access import (
    add_recipient,
    is_recipient,
    make_sidecar,
    open_sidecar,
    remove_recipient,
    rotate_key,
)
from ml.storage.errors import (
    ForgedSidecar,
    MissingRecipient,
    NoKey,
    StorageError,
    WrongKey,
)
from ml.storage.keys import Key, MasterKey, PrivateKey
from ml.storage.local_store import LocalSidecars
from ml.storage.rewrapping import failure, rewrap
from ml.storage.sidecar import Payload, Sidecar

from .objects import PLAINTEXT, Sealed, cheap, one_of_each, opened, sealed

MASTER, PASSPHRASE, PRIVATE = one_of_each()
KINDS = ["master", "passphrase", "x25519"]


@pytest.fixture(scope="module")
def good() -> Sealed:
    """An object for a master key."""
    return sealed([MASTER])


def reads(good: Sealed, sidecar: Sidecar, key: Key) -> bool:
    try:
        return opened(good.data, sidecar.to_json(), good.cid, [key]) == PLAINTEXT
    except (WrongKey, MissingRecipient):
        return False


# --- Keys that do not open ------------------------------------------------------------------------


def test_another_master_key_is_the_wrong_key(good: Sealed) -> None:
    other = MasterKey.generate()
    with pytest.raises(WrongKey) as refusal:
        open_sidecar(good.sidecar, [other])
    assert str(refusal.value) == (
        f"{other.description} does not open {good.cid}: it was encrypted for {MASTER.description}"
    )
    assert refusal.value.exit_code == 2


def test_another_passphrase_is_the_wrong_key() -> None:
    by_passphrase = sealed([PASSPHRASE])
    with pytest.raises(WrongKey, match="a passphrase does not open"):
        open_sidecar(by_passphrase.sidecar, [cheap("battery staple")])


@pytest.mark.parametrize("key", [PRIVATE, PASSPHRASE], ids=["x25519", "passphrase"])
def test_key_that_the_object_is_not_for_is_no_recipient(good: Sealed, key: Key) -> None:
    with pytest.raises(MissingRecipient, match=f"and not for {key.description}: whoever can read"):
        open_sidecar(good.sidecar, [key])


def test_another_private_key_is_no_recipient() -> None:
    for_one = sealed([PRIVATE])
    with pytest.raises(MissingRecipient):
        open_sidecar(for_one.sidecar, [PrivateKey.generate()])


def test_no_key_at_all_is_said(good: Sealed) -> None:
    with pytest.raises(NoKey, match="set ENCRYPTION_KEY, ENCRYPTION_KEY_FILE or"):
        open_sidecar(good.sidecar, [])


def test_one_key_of_several_is_enough(good: Sealed) -> None:
    assert open_sidecar(good.sidecar, [PRIVATE, MasterKey.generate(), MASTER]) == good.key


def test_object_for_nobody_is_not_made(good: Sealed) -> None:
    with pytest.raises(StorageError, match="would have no recipient"):
        make_sidecar(good.sidecar.stored, good.sidecar.header, good.key, Payload("pt"), [])


# --- Recipients come and go -----------------------------------------------------------------------


@pytest.mark.parametrize("new", [MasterKey.generate(), PASSPHRASE, PRIVATE], ids=KINDS)
def test_added_recipient_reads_beside_the_others(good: Sealed, new: Key) -> None:
    changed = add_recipient(good.sidecar, [MASTER], new)
    assert reads(good, changed, new)
    assert reads(good, changed, MASTER)
    assert not reads(good, good.sidecar, new)


@pytest.mark.parametrize("new", [MASTER, PASSPHRASE, PRIVATE], ids=KINDS)
def test_recipient_is_added_once(good: Sealed, new: Key) -> None:
    once = add_recipient(good.sidecar, [MASTER], new)
    assert add_recipient(once, [MASTER], new) == once


def test_added_recipient_may_add_another(good: Sealed) -> None:
    changed = add_recipient(good.sidecar, [MASTER], PRIVATE.public)
    assert reads(good, add_recipient(changed, [PRIVATE], PASSPHRASE), PASSPHRASE)


def test_sidecar_that_no_reader_would_take_is_not_made(good: Sealed) -> None:
    stored, header = good.sidecar.stored, good.sidecar.header
    with pytest.raises(StorageError, match="another recipient: it has more than 1048576 bytes"):
        make_sidecar(stored, header, good.key, Payload("pt"), [MASTER] * 5000)


def test_removed_recipient_reads_no_longer(good: Sealed) -> None:
    changed = add_recipient(good.sidecar, [MASTER], PRIVATE.public)
    removed = remove_recipient(changed, [MASTER], PRIVATE.key_id)
    assert not reads(good, removed, PRIVATE)
    assert reads(good, removed, MASTER)
    assert remove_recipient(removed, [MASTER], PRIVATE.key_id) == removed


def test_last_recipient_is_not_removed(good: Sealed) -> None:
    with pytest.raises(StorageError, match="would have no recipient, and nobody could ever read"):
        remove_recipient(good.sidecar, [MASTER], MASTER.key_id)


@pytest.mark.parametrize(
    ("old", "new"),
    [(MASTER, MasterKey.generate()), (MASTER, PASSPHRASE), (PRIVATE, PrivateKey.generate())],
)
def test_rotated_key_takes_the_place_of_the_old_one_only(old: Key, new: Key) -> None:
    bystander = PrivateKey.generate()
    before = sealed([old, bystander])
    after = rotate_key(before.sidecar, [old], new)
    assert reads(before, after, new)
    assert reads(before, after, bystander)
    assert not reads(before, after, old)


def test_key_that_somebody_else_wraps_for_a_public_key_is_refused() -> None:
    """A public key is public: everybody can make a sidecar that its owner unwraps."""
    for_one = sealed([PRIVATE])
    planted = PRIVATE.public.wrap(bytes(32), for_one.sidecar.header)
    with pytest.raises(ForgedSidecar, match="is another key"):
        open_sidecar(for_one.sidecar.with_recipients([planted], bytes(32)), [PRIVATE])


def test_rotation_is_done_once(good: Sealed) -> None:
    new = MasterKey.generate()
    once = rotate_key(good.sidecar, [MASTER], new)
    assert rotate_key(once, [MASTER], new) == once
    assert rotate_key(once, [new], new) == once


def test_rotation_says_which_key_only_where_one_is_at_hand() -> None:
    """Run again, it would else replace the next one, and leave out somebody who is to stay."""
    both = sealed([MASTER, PRIVATE]).sidecar
    with pytest.raises(StorageError, match="several keys at hand open"):
        rotate_key(both, [MASTER, PRIVATE], MasterKey.generate())


def test_rotation_that_only_seems_to_be_done_is_refused(good: Sealed) -> None:
    """As when somebody who wants the old key to stay in use says that the new one is there."""
    new = MasterKey.generate()
    forged = good.sidecar.with_recipients([new.wrap(bytes(32), good.sidecar.header)], bytes(32))
    with pytest.raises(ForgedSidecar, match="is another key"):
        rotate_key(forged, [MASTER], new)
    changed = good.sidecar.with_recipients([new.wrap(good.key, good.sidecar.header)], bytes(32))
    with pytest.raises(ForgedSidecar):
        rotate_key(changed, [MASTER], new)


def test_rewrapping_leaves_the_object_and_its_key_alone(good: Sealed) -> None:
    changed = rotate_key(good.sidecar, [MASTER], PASSPHRASE)
    assert (changed.stored, changed.header, changed.key_id) == (
        good.sidecar.stored,
        good.sidecar.header,
        good.sidecar.key_id,
    )
    assert open_sidecar(changed, [PASSPHRASE]) == good.key


def test_record_says_what_the_object_is_and_no_secret(good: Sealed) -> None:
    assert good.sidecar.record() == {
        "algorithm": "AES-256-GCM-STREAM",
        "key_id": "0x" + MasterKey(good.key).key_id.hex(),
        "compression": "zstd",
        "format": "safetensors",
    }


# --- Many at once ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shelf:
    """Sidecars in a folder: two for the master key, one for somebody else, one damaged."""

    sidecars: LocalSidecars
    own: tuple[Sealed, Sealed]
    foreign: Sealed
    damaged: Sealed


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    sidecars = LocalSidecars(tmp_path)
    shelf = Shelf(
        sidecars, (sealed([MASTER]), sealed([MASTER])), sealed([PRIVATE]), sealed([MASTER])
    )
    for each in (*shelf.own, shelf.foreign):
        sidecars.write(each.cid, each.sidecar.to_json())
    sidecars.write(shelf.damaged.cid, shelf.damaged.sidecar.to_json()[:-2])
    return shelf


def test_sidecar_that_cannot_be_changed_stops_no_other(shelf: Shelf) -> None:
    cids = [shelf.damaged.cid, shelf.foreign.cid, *(each.cid for each in shelf.own)]
    new = MasterKey.generate()
    done = list(rewrap(shelf.sidecars, cids, lambda s: rotate_key(s, [MASTER], new)))
    assert [one.outcome for one in done] == ["refused", "refused", "changed", "changed"]
    for each in shelf.own:
        assert is_recipient(Sidecar.read(shelf.sidecars.read(each.cid), each.cid), new)
    error = failure(done, data={})
    assert isinstance(error, NotVerified)
    assert (
        f"2 of 4 sidecars stay as they were: the sidecar of {shelf.damaged.cid} is damaged"
        in str(error)
    )


def test_missing_recipient_alone_is_no_failed_verification(shelf: Shelf) -> None:
    cids = [shelf.own[0].cid, shelf.foreign.cid]
    done = list(rewrap(shelf.sidecars, cids, lambda s: add_recipient(s, [MASTER], PASSPHRASE)))
    error = failure(done, data={})
    assert isinstance(error, ModelproofError)
    assert error.exit_code == 2


def test_rewrapping_again_changes_nothing(shelf: Shelf) -> None:
    cids, new = [each.cid for each in shelf.own], PrivateKey.generate()
    for expected in ("changed", "as it was"):
        done = list(rewrap(shelf.sidecars, cids, lambda s: rotate_key(s, [MASTER], new)))
        assert [one.outcome for one in done] == [expected] * 2
        assert failure(done, data={}) is None
