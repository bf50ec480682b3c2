"""Objects that are encrypted on their way into a store, and decrypted on their way out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from .access import make_sidecar, open_sidecar
from .cid import Cid
from .encryption import SEGMENT_BYTES, Encryption, decrypt
from .errors import StorageError
from .keys import Key, Recipient
from .pieces import Piece
from .sidecar import Payload, Sidecar
from .spool import spooled
from .store import Sidecars, Store


def put_encrypted(
    store: Store,
    sidecars: Sidecars,
    plaintext: Iterable[Piece],
    recipients: Sequence[Recipient],
    payload: Payload,
    *,
    segment_bytes: int = SEGMENT_BYTES,
) -> Sidecar:
    """Encrypt bytes under a key of their own, and keep the object, then its sidecar.

    A crash between the two leaves an object that nobody can read and nobody was told of.

    Args:
        store: where the object goes
        sidecars: where its sidecar goes
        plaintext: the bytes; a segment of them is held in memory
        recipients: who will be able to read it, at least one
        payload: what the bytes are, for the sidecar
        segment_bytes: the plaintext of a segment, 64 … 16 MiB

    Raises:
        StorageError: there is no recipient, or the store does not take it.
    """
    encryption = _encryption(recipients, segment_bytes)
    return _keep(store, sidecars, encryption, encryption.encrypt(plaintext), recipients, payload)


def put_for_others(
    store: Store, plaintext: Iterable[Piece], recipients: Sequence[Recipient], payload: Payload
) -> Sidecar:
    """Do the same, but keep the object alone: whoever is sent the sidecar keeps that.

    Arguments and errors as `put_encrypted`.
    """
    encryption = _encryption(recipients, SEGMENT_BYTES)
    stored = store.put(encryption.encrypt(plaintext))
    return make_sidecar(stored, encryption.header, encryption.key, payload, recipients)


def put_encrypted_if_shorter(
    store: Store,
    sidecars: Sidecars,
    plaintext: Iterable[Piece],
    recipients: Sequence[Recipient],
    payload: Payload,
    limit_bytes: int,
) -> Sidecar | None:
    """Do the same if the object has fewer bytes than ``limit_bytes``; else keep nothing of it.

    The object passes through a temporary file; the plaintext is read no further than needed.
    """
    encryption = _encryption(recipients, SEGMENT_BYTES)
    try:
        with spooled(_below(encryption.encrypt(plaintext), limit_bytes)) as spool:
            return _keep(store, sidecars, encryption, spool, recipients, payload)
    except _TooLong:
        return None


class _TooLong(Exception):
    """The object is not shorter than it has to be."""


def _below(pieces: Iterable[Piece], limit_bytes: int) -> Iterator[Piece]:
    total = 0
    for piece in pieces:
        total += len(piece)
        if total >= limit_bytes:
            raise _TooLong
        yield piece


def _encryption(recipients: Sequence[Recipient], segment_bytes: int) -> Encryption:
    if not recipients:
        raise StorageError("an object is encrypted for somebody: name a recipient, or set a key")
    return Encryption(segment_bytes)


def _keep(
    store: Store,
    sidecars: Sidecars,
    encryption: Encryption,
    sealed: Iterable[Piece],
    recipients: Sequence[Recipient],
    payload: Payload,
) -> Sidecar:
    stored = store.put(sealed)
    sidecar = make_sidecar(stored, encryption.header, encryption.key, payload, recipients)
    sidecars.write(stored.cid, sidecar.to_json())
    return sidecar


def read_sidecar(sidecars: Sidecars, cid: Cid) -> Sidecar:
    """Read the sidecar of an object.

    Raises:
        UnknownObject: there is none.
        DamagedSidecar, SwappedSidecar: it is not what was written for this object.
    """
    return Sidecar.read(sidecars.read(cid), cid)


@contextmanager
def open_decrypted(
    store: Store, sidecars: Sidecars, cid: Cid, keys: Sequence[Key]
) -> Iterator[Iterator[memoryview]]:
    """Give an object's plaintext in order, each piece authenticated and valid until the next one.

    Whatever the bytes are used for has to wait for the end of the iteration: only then it is known
    that nothing is missing.

    Raises:
        UnknownObject: the object or its sidecar is not here.
        NoKey, WrongKey, MissingRecipient: no key opens it.
        DamagedSidecar, ForgedSidecar, SwappedSidecar: the sidecar is not to be trusted.
        DamagedObject: the object's bytes are not those that were stored.
    """
    sidecar = read_sidecar(sidecars, cid)
    key = open_sidecar(sidecar, keys)
    with store.open(cid) as pieces:
        size = sidecar.stored.size
        yield decrypt(pieces, key, header=sidecar.header, size=size, name=str(cid))
