"""A model's versions as encrypted objects: snapshots, deltas between them, and any of them again.

Every version is a delta to the one before, and every few versions a whole file (a snapshot), so
that getting one back takes a bounded number of steps. Each step's result must have the identity
that the next one builds on, and the last one that of the chain, before it is handed out.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ml import files
from ml.artifact import Manifest, open_model, read_manifest
from ml.artifact.digests import DigestAlgorithm
from ml.artifact.file_reader import FileReader
from ml.errors import ModelproofError, NotVerified

from .cid import Cid, Codec
from .deltas import (
    COMPRESSION,
    FORMAT,
    MAX_DEPTH,
    DeltaHeader,
    NoDelta,
    apply_delta,
    encode_delta,
    read_delta_header,
)
from .encrypted import open_decrypted, put_encrypted, read_sidecar
from .errors import StorageError, UnknownObject
from .keys import Key, Recipient
from .pieces import Piece, PieceReader
from .sidecar import Payload, Sidecar
from .store import Sidecars, Store

SNAPSHOT_EVERY: Final = 10

Locate = Callable[[bytes], Cid | None]
"""Where the object of a version lies, by the version's identity; None: it has none."""


@dataclass(frozen=True, slots=True)
class KeptVersion:
    """A version's file, and its manifest."""

    path: Path
    manifest: Manifest


class VersionStore:
    """Puts versions into a store, and gets them back."""

    def __init__(
        self,
        store: Store,
        sidecars: Sidecars,
        keys: Sequence[Key],
        locate: Locate,
        hot: HotVersions,
        snapshot_every: int = SNAPSHOT_EVERY,
    ) -> None:
        """Put versions together from their parts; nothing is read.

        Args:
            store: where the objects are
            sidecars: where their sidecars are
            keys: what opens them
            locate: what the chain says of a version's object
            hot: versions that are got back again and again
            snapshot_every: the number of versions from one snapshot to the next, 1 for no deltas
        """
        if not 1 <= snapshot_every <= MAX_DEPTH:
            raise ValueError(f"there cannot be a snapshot every {snapshot_every} versions")
        self._store: Final = store
        self._sidecars: Final = sidecars
        self._keys: Final = keys
        self._locate: Final = locate
        self._hot: Final = hot
        self._snapshot_every: Final = snapshot_every

    def put(
        self, version: KeptVersion, recipients: Sequence[Recipient], parent: KeptVersion | None
    ) -> Sidecar:
        """Encrypt and keep a version: as a delta to its parent where that is due, and shorter.

        Raises:
            StorageError: the store does not take it, or nobody is to read it.
            NotVerified: a file changed since its manifest was made.
        """
        depth = self._depth(parent) + 1 if parent else 0
        if parent and 0 < depth < self._snapshot_every:
            delta = self._put_delta(version, recipients, parent, depth)
            if delta and delta.stored.size < version.path.stat().st_size:
                return delta
            if delta:
                self._store.delete(delta.stored.cid)
                self._sidecars.delete(delta.stored.cid)
        return self._put_snapshot(version, recipients)

    def get(self, weights: bytes, path: Path) -> None:
        """Write a version's file, which takes its name once it has this identity.

        Raises:
            UnknownObject: the object of the version, or of one that it builds on, is not known or
                not here.
            NotVerified: an object is damaged, or what comes of it is another version.
            StorageError: no key opens one of the objects.
        """
        try:
            self._get(weights, path)
        finally:
            self._hot.trim()

    def _get(self, weights: bytes, path: Path) -> None:
        steps = self._steps(weights)
        for number, (target, cid, header) in enumerate(steps):
            place = path if number + 1 == len(steps) else self._hot.place(target)
            with open_decrypted(self._store, self._sidecars, cid, self._keys) as pieces:
                if header:
                    apply_delta(pieces, self._hot.place(header.base), place, target)
                else:
                    _write_snapshot(pieces, place, target)
        if steps:
            self._hot.add(weights, path)
        else:
            self._hot.copy(weights, path)

    def _steps(self, weights: bytes) -> list[tuple[bytes, Cid, DeltaHeader | None]]:
        """The objects from a snapshot or a hot version to this one, in the order of their use."""
        steps: list[tuple[bytes, Cid, DeltaHeader | None]] = []
        wanted, depth = weights, MAX_DEPTH + 1
        while not self._hot.has(wanted):
            cid = self._cid(wanted)
            header = self._delta_header(cid)
            steps.append((wanted, cid, header))
            if header is None:
                break
            if header.target != wanted or header.depth >= depth:
                raise NotVerified(
                    f"object {cid} is the delta to 0x{header.target.hex()}, number {header.depth}"
                    f" after a snapshot; asked for was 0x{wanted.hex()}, before number {depth}"
                )
            wanted, depth = header.base, header.depth
        steps.reverse()
        return steps

    def _put_snapshot(self, version: KeptVersion, recipients: Sequence[Recipient]) -> Sidecar:
        with open_model(version.path) as model:
            kind = model.layout.format
        if version.path.is_dir() or kind == "shards":
            raise NoDelta(f"{version.path} consists of several files: an object is one file")
        with FileReader(version.path) as reader:
            pieces = reader.pieces(0, reader.size)
            return put_encrypted(self._store, self._sidecars, pieces, recipients, Payload(kind))

    def _put_delta(
        self,
        version: KeptVersion,
        recipients: Sequence[Recipient],
        parent: KeptVersion,
        depth: int,
    ) -> Sidecar | None:
        payload = Payload(FORMAT, COMPRESSION)
        with open_model(parent.path) as base, open_model(version.path) as target:
            try:
                pieces = encode_delta(base, parent.manifest, target, version.manifest, depth)
            except NoDelta:
                return None
            return put_encrypted(self._store, self._sidecars, pieces, recipients, payload)

    def _depth(self, parent: KeptVersion) -> int:
        """How many deltas lead to the parent; as many as may be if its object cannot be read."""
        try:
            header = self._delta_header(self._cid(parent.manifest.weights))
        except StorageError:  # not here, or not for us: then the next one stands by itself
            return self._snapshot_every
        return header.depth if header else 0

    def _cid(self, weights: bytes) -> Cid:
        cid = self._locate(weights)
        if cid is None:
            raise UnknownObject(f"no object is known for the weights 0x{weights.hex()}")
        return cid

    def _delta_header(self, cid: Cid) -> DeltaHeader | None:
        """What an object says if it is a delta; None for a snapshot."""
        if read_sidecar(self._sidecars, cid).payload.format != FORMAT:
            return None
        with open_decrypted(self._store, self._sidecars, cid, self._keys) as pieces:
            return read_delta_header(PieceReader(pieces))


class HotVersions:
    """Files of versions that were got back lately, in a folder of bounded size.

    What is in it is checked again whenever it is handed out. While a version is put together, the
    folder holds the steps to it too. One process uses a folder at a time.
    """

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self.root: Final = root
        self.limit_bytes: Final = limit_bytes

    def place(self, weights: bytes) -> Path:
        """Where the file of a version is, or would be."""
        return self.root / weights.hex()

    def has(self, weights: bytes) -> bool:
        """Tell whether a version is here, and right; a file that is not right is removed."""
        place = self.place(weights)
        if not place.is_file():
            return False
        if not _is(place, weights):
            place.unlink()
            return False
        os.utime(place)
        return True

    def add(self, weights: bytes, path: Path) -> None:
        """Keep a copy of a version's file, if it may be kept at all."""
        if path.stat().st_size <= self.limit_bytes:
            with files.replacing(self.place(weights)) as temporary:
                shutil.copyfile(path, temporary)

    def copy(self, weights: bytes, path: Path) -> None:
        """Copy a version's file to where it takes its name if it is right; else `NotVerified`."""
        with files.replacing(path) as temporary:
            shutil.copyfile(self.place(weights), temporary)
            _check(temporary, weights)

    def trim(self) -> None:
        """Remove the files that were used longest ago, until the others are within the limit."""
        if not self.root.is_dir():
            return
        kept = sorted(self.root.iterdir(), key=lambda file: file.stat().st_mtime_ns, reverse=True)
        total = 0
        for file in kept:
            total += file.stat().st_size
            if total > self.limit_bytes:
                total -= file.stat().st_size
                file.unlink()


def possible_cids(digest: bytes) -> tuple[Cid, Cid]:
    """The CIDs that a digest on chain may be of: an object of one leaf, or of several."""
    return Cid(Codec.RAW, digest), Cid(Codec.DAG_PB, digest)


def _write_snapshot(pieces: Iterable[Piece], path: Path, weights: bytes) -> None:
    with files.replacing(path) as temporary:
        with temporary.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        _check(temporary, weights)


def _check(path: Path, weights: bytes) -> None:
    if not _is(path, weights):
        raise NotVerified(f"what was stored as 0x{weights.hex()} does not have that identity")


def _is(path: Path, weights: bytes) -> bool:
    """Whether a file has this identity, however its tensors are digested in it."""
    try:
        return any(read_manifest(path, each).weights == weights for each in DigestAlgorithm)
    except ModelproofError:  # a damaged file may not even parse
        return False
