"""Who can read an object: opening its sidecar, and changing for whom its key is wrapped.

A sidecar names its object by CID and has its header, and every wrapped key is bound to that header:
neither a sidecar nor a part of one is of use beside another object. Recipients come and go by
wrapping the key anew; the object, its key and its CID stay. So who was a recipient and kept the
object's key can read on what they could read, if they reach the object: for future objects they are
left out, and for this one nothing but a new object helps.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from .encryption import is_key_of
from .errors import DamagedSidecar, ForgedSidecar, MissingRecipient, NoKey, StorageError, WrongKey
from .keys import Key, MasterKey, Passphrase, PublicKey, Recipient, Unwrappable, WrappedKey, key_id
from .naming import Stored
from .sidecar import Payload, Sidecar


def make_sidecar(
    stored: Stored, header: bytes, key: bytes, payload: Payload, recipients: Sequence[Recipient]
) -> Sidecar:
    """Wrap an object's key for its first recipients.

    Raises:
        StorageError: there are none.
    """
    unsigned = Sidecar(stored, header, key_id(key), payload, (), b"")
    return _changed(unsigned, [recipient.wrap(key, header) for recipient in recipients], key)


def open_sidecar(sidecar: Sidecar, keys: Sequence[Key]) -> bytes:
    """Return the object's key, if one of ``keys`` unwraps it and the sidecar is authentic.

    Raises:
        NoKey: there are no keys.
        WrongKey: a master key or a passphrase is among the recipients, and it is another one.
        MissingRecipient: the object was not encrypted for any of the keys.
        ForgedSidecar: somebody without the object's key changed the sidecar.
    """
    return _open(sidecar, keys)[0]


def is_recipient(sidecar: Sidecar, recipient: Recipient) -> bool:
    """Whether the sidecar says that the key was wrapped for this recipient."""
    return any(map(recipient.matches, sidecar.recipients))


def add_recipient(sidecar: Sidecar, keys: Sequence[Key], new: Recipient) -> Sidecar:
    """Wrap the key for one recipient more, if it is not for it yet; errors as `open_sidecar`."""
    key = open_sidecar(sidecar, keys)
    if is_recipient(sidecar, new):
        return sidecar
    return _changed(sidecar, [*sidecar.recipients, new.wrap(key, sidecar.header)], key)


def addressed_to(sidecar: Sidecar, key: bytes, recipients: Sequence[Recipient]) -> Sidecar:
    """The sidecar as it is sent to somebody: the object's key wrapped for them and nobody else.

    Args:
        sidecar: that `open_sidecar` opened
        key: the object's
        recipients: who will be able to read it, at least one
    """
    return sidecar.with_recipients([each.wrap(key, sidecar.header) for each in recipients], key)


def remove_recipient(sidecar: Sidecar, keys: Sequence[Key], removed: bytes) -> Sidecar:
    """Leave out who has this key id, if anybody has; errors as `open_sidecar`.

    Raises:
        StorageError: it is the only one.
    """
    key = open_sidecar(sidecar, keys)
    kept = [entry for entry in sidecar.recipients if entry.key_id != removed]
    if len(kept) == len(sidecar.recipients):
        return sidecar
    return _changed(sidecar, kept, key)


def rotate_key(sidecar: Sidecar, keys: Sequence[Key], new: Key) -> Sidecar:
    """Wrap the key for ``new`` instead of the one of ``keys`` that opens it; as `open_sidecar`.

    Where that was done before, nothing changes: an interrupted rotation is simply run again.

    Raises:
        StorageError: several of the keys open it, so that it is not clear which one is meant, and
            running again would take the next.
    """
    if len({entry.key_id for entry in sidecar.recipients if _opens(keys, new, entry)}) > 1:
        raise StorageError(
            f"several keys at hand open {sidecar.stored.cid}: have only the one that is to be"
            " replaced at hand (.env.example)"
        )
    if is_recipient(sidecar, new) and not any(is_recipient(sidecar, old) for old in keys):
        open_sidecar(sidecar, [new])
        return sidecar
    key, old = _open(sidecar, keys)
    if new.matches(old):
        return sidecar
    kept = [entry for entry in sidecar.recipients if entry != old and not new.matches(entry)]
    return _changed(sidecar, [*kept, new.wrap(key, sidecar.header)], key)


def _opens(keys: Sequence[Key], new: Key, entry: WrappedKey) -> bool:
    """Whether one of the keys, and not the new one, is the recipient."""
    return not new.matches(entry) and any(key.matches(entry) for key in keys)


def describe(entry: WrappedKey) -> str:
    """What messages call a recipient of whom only the sidecar is at hand."""
    if entry.algorithm == Passphrase.algorithm:
        return Passphrase.description
    kind = "master key" if entry.algorithm == MasterKey.algorithm else "X25519 key"
    return f"{kind} {entry.key_id.hex()}"


def _open(sidecar: Sidecar, keys: Sequence[Key]) -> tuple[bytes, WrappedKey]:
    """The object's key, and the entry that it was unwrapped from."""
    cid = sidecar.stored.cid
    for key in keys:
        for entry in filter(key.matches, sidecar.recipients):
            try:
                opened = key.unwrap(entry, sidecar.header)
            except Unwrappable:
                reason = f"what is wrapped for {key.description} does not open with it"
                raise ForgedSidecar(cid, reason) from None
            if not is_key_of(opened, sidecar.header):
                # everybody can wrap something for a public key, and sign with that
                raise ForgedSidecar(cid, f"what is wrapped for {key.description} is another key")
            if not hmac.compare_digest(sidecar.mac, sidecar.expected_mac(opened)):
                raise ForgedSidecar(cid, "its mac is not that of its contents")
            return opened, entry
    raise _refusal(sidecar, keys)


def _refusal(sidecar: Sidecar, keys: Sequence[Key]) -> StorageError:
    """Why none of the keys opens the object."""
    cid = sidecar.stored.cid
    if not keys:
        return NoKey(
            f"there is no key to open {cid} with: set ENCRYPTION_KEY, ENCRYPTION_KEY_FILE or"
            " ENCRYPTION_PASSPHRASE"
        )
    given = " and ".join(key.description for key in keys)
    wanted = ", ".join(map(describe, sidecar.recipients))
    shared = {entry.algorithm for entry in sidecar.recipients} - {PublicKey.algorithm}
    if any(key.algorithm in shared for key in keys):
        return WrongKey(f"{given} does not open {cid}: it was encrypted for {wanted}")
    return MissingRecipient(
        f"{cid} was encrypted for {wanted}, and not for {given}: whoever can read it can add that"
        " recipient (`ape run keys add`)"
    )


def _changed(sidecar: Sidecar, recipients: Sequence[WrappedKey], key: bytes) -> Sidecar:
    if not recipients:
        raise StorageError(
            f"{sidecar.stored.cid} would have no recipient, and nobody could ever read it: name"
            " another one first"
        )
    changed = sidecar.with_recipients(recipients, key)
    try:  # what no reader would take is not written
        changed.check()
    except DamagedSidecar as error:
        raise StorageError(
            f"{sidecar.stored.cid} cannot have another recipient: {error.reason}"
        ) from None
    return changed
