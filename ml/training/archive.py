"""Versions in stores: put there before they are registered, and got back by what the chain says.

A version names its object on chain by SHA-256 and CID. If it was trained here, its registration
also names a second object, which holds the training metadata. Whatever comes out of a store is
worth nothing until it has the identity, or the digest, that the chain has for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ml import files as writing
from ml.chain import history, models
from ml.chain.events import Registered
from ml.chain.history import HistoryRow
from ml.chain.models import NamedModel
from ml.chain.publishing import Turn
from ml.chain.records import NO_DIGEST
from ml.chain.registry import ModelRegistry
from ml.errors import NotVerified
from ml.storage.cid import Cid
from ml.storage.encrypted import open_decrypted, put_encrypted
from ml.storage.errors import NoKey, StorageError
from ml.storage.hot_versions import HotVersions
from ml.storage.keys import Key
from ml.storage.model_files import (
    ModelFiles,
    StoredVersion,
    has_digest,
    has_identity,
    manifest_of,
)
from ml.storage.places import Places
from ml.storage.recorded import RecordedObject
from ml.storage.sidecar import Payload, Sidecar
from ml.storage.version_store import SNAPSHOT_EVERY, KeptVersion, VersionStore

from .stated import stated_metadata_digest, stated_metadata_object

METADATA_FORMAT: Final = "training-metadata"
"""What the sidecar of an object with training metadata calls its plaintext."""
_MAX_METADATA_BYTES: Final = 16 << 20

Fetch = Callable[[Registered], StoredVersion]
"""Gets the files of a registered version from somewhere else."""


class NotStored(StorageError):
    """A version was registered without an object."""


@dataclass(frozen=True, slots=True)
class Archive:
    """Stores, the keys to what is in them, and where files are put together."""

    places: Places
    keys: Sequence[Key]
    hot: HotVersions
    snapshot_every: int = SNAPSHOT_EVERY

    def check(self) -> None:
        """See, before any work is done, that something could be stored.

        Raises:
            NoKey: there is nobody to encrypt for.
            StorageError: fewer stores can be asked than have to take an object, or what passes
                through files of our own finds no room.
        """
        if not self.keys:
            raise NoKey(
                "what is stored is encrypted, and there is no key to encrypt for: set"
                " ENCRYPTION_KEY, ENCRYPTION_KEY_FILE or ENCRYPTION_PASSPHRASE"
            )
        self.places.check()
        self.hot.check()

    def keep(
        self,
        registry: ModelRegistry,
        model: NamedModel,
        turn: Turn,
        version: KeptVersion,
        files: ModelFiles,
    ) -> Sidecar:
        """Put a version into the stores, for the keys at hand, before it is registered.

        Args:
            registry: where it will be registered
            model: whose version it will be
            turn: the turn that it was made for
            version: its file
            files: where its parent's file may be

        Raises:
            StorageError: too few stores take it.
            NotVerified: what the node says of the versions before it is not so.
        """
        line = _line_before(registry, model, turn)
        store = self._versions(line)
        if not line:
            return store.put(version, self.keys)
        parent = line[0].row
        at_hand = files.find(parent.registered.weights, parent.version.number)
        return store.put(
            version, self.keys, parent.registered.weights, at_hand.artifact if at_hand else None
        )

    def keep_metadata(self, text: str) -> Cid:
        """Put the training metadata of a version into the stores; errors as `keep`."""
        places, payload = self.places, Payload(METADATA_FORMAT)
        kept = put_encrypted(places.store, places.sidecars, [text.encode()], self.keys, payload)
        return kept.stored.cid

    def fetch(
        self, registry: ModelRegistry, record: Registered, files: ModelFiles
    ) -> StoredVersion:
        """Get a registered version from the stores to where its files belong.

        Args:
            registry: where it is registered
            record: the registration, which has been checked against the version's commitment
            files: where its files go; what is there and right stays

        Raises:
            NotStored: the version names no object.
            UnknownObject, MissingBase: an object is in none of the stores.
            NoKey, WrongKey, MissingRecipient: no key opens it.
            NotVerified: an object is damaged, or is not what was registered.
        """
        model = models.by_id(registry, record.model)
        number, weights = record.version, record.weights
        here = (
            each
            for each in files.find_all(weights, number)
            if files.is_own(each, model.name, number, weights)
            and has_identity(each.artifact, weights)
        )
        stored = next(here, None)
        if stored is None:
            with self._stored(registry, model, record).opened(weights) as found:
                if (manifest := manifest_of(found, weights)) is None:
                    raise NotVerified(f"{found} changed since it was verified: fetch it again")
                stored = files.keep(model.name, number, found, manifest)
        self._fetch_metadata(record, model, stored)
        return stored

    def fetch_file(self, registry: ModelRegistry, record: Registered, path: Path) -> None:
        """Get a registered version's file alone, and write it to a path; errors as `fetch`.

        Raises:
            StorageError: the path has a name for another format.
        """
        model = models.by_id(registry, record.model)
        self._stored(registry, model, record).get(record.weights, path)

    def fetching(self, registry: ModelRegistry, files: ModelFiles) -> Fetch:
        """`fetch`, for versions of one registry into one folder."""
        return lambda record: self.fetch(registry, record, files)

    def _stored(
        self, registry: ModelRegistry, model: NamedModel, record: Registered
    ) -> VersionStore:
        line = _line(registry, record.model, record.version)
        if not _objects(line, record.weights):
            raise NotStored(
                f"v{record.version} of {model.name} was registered without an object, so no store"
                " has it: its file is where it was registered from."
            )
        return self._versions(line)

    def _versions(self, line: Sequence[_Ancestor]) -> VersionStore:
        return VersionStore(
            self.places.store,
            self.places.sidecars,
            self.keys,
            lambda weights: _objects(line, weights),
            self.hot,
            self.snapshot_every,
        )

    def _fetch_metadata(self, record: Registered, model: NamedModel, stored: StoredVersion) -> None:
        """Get the training metadata too, if the registration names an object that holds it."""
        digest = stated_metadata_digest(record)
        if digest is None or has_digest(stored.metadata, digest):
            return
        text = stored_metadata(self.places, self.keys, record, model.name)
        if text is not None:
            writing.write_bytes(stored.metadata, text)


def stored_metadata(
    places: Places, keys: Sequence[Key], record: Registered, name: str
) -> bytes | None:
    """Get the training metadata that a registration states from the stores.

    Args:
        places: the stores
        keys: what opens what is in them
        record: the registration, which has been checked against the version's commitment
        name: the model's, for messages

    Returns:
        the text, or None if the registration names no object that holds it

    Raises:
        UnknownObject: the object is in none of the stores.
        NoKey, WrongKey, MissingRecipient: no key opens it.
        NotVerified: it is damaged, or another text.
    """
    cid, digest = stated_metadata_object(record), stated_metadata_digest(record)
    if cid is None or digest is None:
        return None
    text = bytearray()
    with open_decrypted(places.store, places.sidecars, cid, keys) as pieces:
        for piece in pieces:
            text += piece
            if len(text) > _MAX_METADATA_BYTES:
                raise NotVerified(f"object {cid} is too large to be training metadata")
    if hashlib.sha256(text).digest() != digest:
        raise NotVerified(
            f"object {cid} is not the training metadata of v{record.version} of {name}:"
            f" its SHA-256 is not {digest.hex()}"
        )
    return bytes(text)


@dataclass(frozen=True, slots=True)
class _Ancestor:
    """A version on the way back from another one, and what messages call it."""

    name: str
    row: HistoryRow


def _line_before(registry: ModelRegistry, model: NamedModel, turn: Turn) -> list[_Ancestor]:
    """What a version will go on from, as the chain has it: in a fork, a version elsewhere."""
    if turn.details.parent:
        return _line(registry, model.id, turn.details.parent)
    origin = registry.model(model.id).origin
    return _line(registry, origin.model, origin.version) if origin else []


def _line(registry: ModelRegistry, model: bytes, version: int) -> list[_Ancestor]:
    """A version, those that it came from, and then all others of the same models.

    Each is checked against the chain. The others may have been given the same weights.
    """
    steps = history.lineage(registry, model, version)
    line = [(known, known.row(number)) for known, number in steps]
    models_of_it = {known.named.id: known for known, _ in steps}
    rest = [(known, row) for known in models_of_it.values() for row in known.rows]
    return [
        _Ancestor(f"v{row.version.number} of {known.named.name}", row) for known, row in line + rest
    ]


def _objects(line: Sequence[_Ancestor], weights: bytes) -> list[RecordedObject]:
    """The objects of the versions that have these weights."""
    found: dict[bytes, RecordedObject] = {}
    for each in line:
        registered = each.row.registered
        stated = registered.details
        if registered.weights == weights and stated.content != NO_DIGEST:
            found.setdefault(
                stated.content, RecordedObject(stated.object, stated.content, each.name)
            )
    return list(found.values())
