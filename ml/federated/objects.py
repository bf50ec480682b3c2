"""The objects of a training: updates, versions, their metadata, encrypted for who may read them.

An object is small enough to be in memory. Its sidecar stays where it was put; whoever else is to
read it is sent a copy of it, in which the object's key is wrapped for nobody but them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from ml.chain.events import Registered
from ml.errors import NotVerified
from ml.storage import retention
from ml.storage.access import addressed_to, open_sidecar
from ml.storage.cid import Cid
from ml.storage.encrypted import put_encrypted, put_for_others, read_sidecar
from ml.storage.encryption import decrypt
from ml.storage.errors import UnknownObject
from ml.storage.keys import Key, Recipient
from ml.storage.places import Places
from ml.storage.recorded import possible_cids
from ml.storage.sidecar import Payload, Sidecar

RUN_FORMAT: Final = retention.RUN_FORMAT


def sent_sidecar(record: Registered, cid: str, sidecar: str) -> Sidecar:
    """The sidecar of a version's object, as a message has it.

    Args:
        record: how the version was registered, checked
        cid: of the object, as the message says
        sidecar: the text

    Raises:
        NotVerified: it is of another object than the one on record, or damaged.
        InvalidCid: the object's name is none.
    """
    named = Cid.parse(cid)
    found = Sidecar.read(sidecar.encode(), named)
    stated = record.details
    if named not in possible_cids(stated.content) or found.stored.sha256 != stated.object:
        raise NotVerified(
            f"the task names the object {named}, and v{record.version} was registered with another"
        )
    return found


class Objects:
    """Puts objects into a training's stores, and gets them back."""

    def __init__(self, places: Places, keys: Sequence[Key]) -> None:
        """Nothing is read or connected to yet.

        Args:
            places: the stores
            keys: what opens what one may read
        """
        self.places: Final = places
        self.keys: Final = tuple(keys)
        self._store: Final = places.store
        self._sidecars: Final = places.sidecars

    def put(self, data: bytes, name: str, recipients: Sequence[Recipient]) -> Sidecar:
        """Encrypt bytes and keep them; when this returns they are kept for good.

        Args:
            data: the plaintext
            name: of its format, for the sidecar
            recipients: who can read it

        Raises:
            StorageError: too few stores take it.
        """
        return put_encrypted(self._store, self._sidecars, [data], recipients, Payload(name))

    def put_for(self, data: bytes, name: str, recipient: Recipient) -> Sidecar:
        """Encrypt bytes for one who is sent the sidecar, and keep them; as `put`.

        The sidecar is not kept here: it is of no use to anybody else.
        """
        return put_for_others(self._store, [data], [recipient], Payload(name))

    def get(self, cid: Cid, limit_bytes: int, sidecar: Sidecar | None = None) -> bytes:
        """Get an object's plaintext, authenticated.

        Args:
            cid: the object
            limit_bytes: that its plaintext may have
            sidecar: as it was sent; if None it is looked for where objects are put

        Raises:
            UnknownObject: it is in none of the stores.
            NoKey, WrongKey, MissingRecipient: no key opens it.
            NotVerified: it, or its sidecar, is damaged or forged, or it has more bytes.
        """
        known = sidecar or read_sidecar(self._sidecars, cid)
        key = open_sidecar(known, self.keys)
        segments, count = list[bytes](), 0
        with self._store.open(cid) as pieces:
            size = known.stored.size
            for piece in decrypt(pieces, key, header=known.header, size=size, name=str(cid)):
                count += len(piece)
                if count > limit_bytes:
                    raise NotVerified(f"object {cid} has more than {limit_bytes} bytes")
                segments.append(bytes(piece))
        return b"".join(segments)  # one alone is not copied

    def keep_sidecars(self, sidecars: Iterable[Sidecar]) -> None:
        """Keep sidecars that were sent, so that their objects can be read later; those here stay.

        They are such by which `get` has got the objects: nothing else is kept for others to trip
        over.

        Raises:
            StorageError: too few stores take them.
        """
        missing = {}
        for sidecar in sidecars:
            try:
                read_sidecar(self._sidecars, sidecar.stored.cid)
            except UnknownObject:
                missing[sidecar.stored.cid] = sidecar.to_json()
        if missing:
            self._sidecars.write_all(missing)

    def delete(self, cid: Cid) -> None:
        """Remove an object that is not wanted any more, and its sidecar.

        Raises:
            StorageError: a store does not let go of it.
        """
        self._store.delete(cid)
        self._sidecars.delete(cid)

    def addressing(self, cid: Cid) -> Callable[[Recipient], Sidecar]:
        """What makes an object's sidecar as it is sent to somebody; errors as `get`."""
        sidecar = read_sidecar(self._sidecars, cid)
        key = open_sidecar(sidecar, self.keys)
        return lambda recipient: addressed_to(sidecar, key, [recipient])

    def sidecar_for(self, cid: Cid, recipient: Recipient) -> Sidecar:
        """The sidecar of an object as it is sent to one; errors as `get`."""
        return self.addressing(cid)(recipient)
