"""A model's versions as encrypted objects: snapshots, deltas between them, and any of them again.

Every version is a delta to its parent, and every few versions a whole file (a snapshot), so that
getting one back takes a bounded number of steps. Each step's result must have the identity that the
next one builds on, and the last one that of the chain, before it is handed out.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ml import files
from ml.artifact import Manifest, open_model
from ml.artifact.errors import quoted_path
from ml.artifact.file_reader import FileReader
from ml.errors import ModelproofError, NotVerified

from .access import open_sidecar
from .deltas import (
    COMPRESSION,
    FORMAT,
    MAX_DEPTH,
    DeltaHeader,
    NoDelta,
    apply_delta,
    encode_delta,
    look_into_delta,
)
from .encrypted import open_decrypted, put_encrypted, put_encrypted_if_shorter
from .errors import StorageError, UnknownObject
from .file_formats import format_name, suffix_of
from .hot_versions import MODE, HotVersions
from .keys import Key, Recipient
from .model_files import manifest_of
from .pieces import Piece
from .recorded import Locate, RecordedObject, sidecar_of
from .sidecar import Payload, Sidecar
from .store import Sidecars, Store

SNAPSHOT_EVERY: Final = 10


@dataclass(frozen=True, slots=True)
class KeptVersion:
    """A version's file, and its manifest."""

    path: Path
    manifest: Manifest


class MissingBase(StorageError):
    """What a version's delta builds on cannot be had."""


class DamagedBase(NotVerified):
    """What a version's delta builds on is damaged."""


class _LaterDelta(StorageError):
    """An object of the right weights that is no step on the way: it may build on what is wanted.

    So it is where versions have the same weights, each stored when it was registered.
    """


@dataclass(frozen=True, slots=True)
class _Step:
    """A version to be made on the way to another one: of which object, and of which bytes."""

    weights: bytes
    of: RecordedObject
    header: DeltaHeader | None
    """None for a snapshot."""
    format: str
    pieces: Iterable[Piece]


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
            locate: what the chain says of versions' objects
            hot: where files are made, and kept for a while
            snapshot_every: the number of versions from one snapshot to the next, 1 for no deltas

        Raises:
            StorageError: there cannot be a snapshot every so many versions.
        """
        if not 1 <= snapshot_every <= MAX_DEPTH:
            raise StorageError(
                f"there cannot be a snapshot every {snapshot_every} versions, but every 1 to"
                f" {MAX_DEPTH}"
            )
        self._store: Final = store
        self._sidecars: Final = sidecars
        self._keys: Final = keys
        self._locate: Final = locate
        self._hot: Final = hot
        self._snapshot_every: Final = snapshot_every

    def put(
        self,
        version: KeptVersion,
        recipients: Sequence[Recipient],
        parent: bytes | None = None,
        at_hand: Path | None = None,
    ) -> Sidecar:
        """Encrypt and keep a version: as a delta to its parent where that is due, and shorter.

        A version whose parent's object cannot be had, for whatever reason, is kept whole; so is one
        whose delta cannot be made as things are, as for the want of room, which a warning says.

        Args:
            version: the version
            recipients: who will be able to read it
            parent: the identity of its parent, if it has one
            at_hand: where the parent's file may be; else it is got back

        Raises:
            StorageError: the store does not take it, or nobody is to read it.
            NotVerified: a file changed since its manifest was made.
        """
        depth = self._depth(parent) + 1 if parent else 0
        if parent and 0 < depth < self._snapshot_every:
            try:
                if delta := self._put_delta_to(parent, at_hand, version, recipients, depth):
                    return delta
            except ModelproofError as error:  # what is wrong with the version itself shows again
                logging.getLogger(__name__).warning("a version is kept whole: %s", error)
        return self._put_snapshot(version, recipients)

    def get(self, weights: bytes, path: Path) -> None:
        """Write a version's file, which takes its name once it has this identity.

        Raises:
            UnknownObject: the version's object is not known or not here.
            MissingBase: that of a version that it builds on is not, or no key opens it.
            NotVerified: an object is damaged, or what comes of it is another version.
            DamagedBase: that is so with a version that it builds on.
            StorageError: no key opens the object, or ``path`` has a name for another format.
        """
        with self.opened(weights) as found:
            _copy(found, path, weights)

    @contextmanager
    def opened(self, weights: bytes) -> Iterator[Path]:
        """Have a version's verified file at hand for as long as the block runs; errors as `get`.

        Its suffix is one for its format.
        """
        with self._hot.held():
            yield self._made(weights)

    def _made(self, weights: bytes) -> Path:
        """Make a version's file among the hot ones, if it is not there."""
        with ExitStack() as opened:
            steps, made = self._steps(weights, opened)
            for step in steps:
                with _said_of(step, steps[-1]), self._hot.failing_clearly():
                    made = self._make(step, made)
                self._hot.trim(made)  # which the next step builds on, and nothing else
        return made

    def _make(self, step: _Step, base: Path) -> Path:
        place = self._hot.place(step.weights, suffix_of(step.format))
        if step.header is None:
            _write_snapshot(step, place)
        else:
            apply_delta(step.pieces, base, place, step.weights, MODE)
        return place

    def _steps(self, weights: bytes, opened: ExitStack) -> tuple[list[_Step], Path]:
        """The objects that lead to this version, in the order of their use, and where from.

        They begin with a snapshot, for which the path means nothing, or after a hot version.
        """
        steps: list[_Step] = []
        wanted, depth = weights, MAX_DEPTH + 1
        while (found := self._hot.find(wanted)) is None:
            with _said_of(None, steps[0] if steps else None):
                steps.append(self._step(wanted, depth, opened))
            header = steps[-1].header
            if header is None:
                found = self._hot.root
                break
            wanted, depth = header.base, header.depth
        steps.reverse()
        return steps, found

    def _step(self, weights: bytes, depth: int, opened: ExitStack) -> _Step:
        """Open the first object of this version that can be; its depth must be less than this.

        Every step leads to a smaller depth, so that no objects lead in a circle.
        """
        refusals: list[ModelproofError] = []
        for recorded in self._locate(weights):
            try:
                return self._opened(recorded, weights, depth, opened)
            except ModelproofError as error:
                refusals.append(error)
        if not refusals:
            raise UnknownObject(f"no object is known for the weights 0x{weights.hex()}")
        raise min(refusals, key=_says_less)

    def _opened(
        self, recorded: RecordedObject, weights: bytes, depth: int, opened: ExitStack
    ) -> _Step:
        sidecar = sidecar_of(recorded, self._sidecars)
        cid, kind = sidecar.stored.cid, sidecar.payload.format
        pieces: Iterable[Piece] = opened.enter_context(
            open_decrypted(self._store, self._sidecars, cid, self._keys)
        )
        if kind != FORMAT:
            return _Step(weights, recorded, None, kind, pieces)
        header, pieces = look_into_delta(pieces)
        if header.target != weights:
            raise NotVerified(
                f"object {cid} is the delta to 0x{header.target.hex()}; asked for was"
                f" 0x{weights.hex()}"
            )
        if header.depth >= depth:
            raise _LaterDelta(
                f"object {cid} is the delta number {header.depth} to 0x{weights.hex()} after a"
                f" snapshot, and wanted is one before number {depth}"
            )
        return _Step(weights, recorded, header, "safetensors", pieces)

    def _put_snapshot(self, version: KeptVersion, recipients: Sequence[Recipient]) -> Sidecar:
        with open_model(version.path) as model:
            if not model.layout.is_one_file:
                raise StorageError(
                    f"{quoted_path(version.path)} consists of several files: an object is one"
                )
            payload = Payload(format_name(model.layout.format, version.path))
        with FileReader(version.path) as reader:
            pieces = reader.pieces(0, reader.size)
            kept = put_encrypted(self._store, self._sidecars, pieces, recipients, payload)
        if not manifest_of(version.path, version.manifest.weights):  # then nobody is told of it
            raise NotVerified(
                f"{quoted_path(version.path)} is not 0x{version.manifest.weights.hex()} any more:"
                " the file changed"
            )
        return kept

    def _put_delta_to(
        self,
        parent: bytes,
        at_hand: Path | None,
        version: KeptVersion,
        recipients: Sequence[Recipient],
        depth: int,
    ) -> Sidecar | None:
        """Keep a delta to the parent, whose file is at hand or got back; as `_put_delta`."""
        if at_hand and (manifest := manifest_of(at_hand, parent)):
            return self._put_delta(version, recipients, KeptVersion(at_hand, manifest), depth)
        with self.opened(parent) as made:
            if manifest := manifest_of(made, parent):
                return self._put_delta(version, recipients, KeptVersion(made, manifest), depth)
        return None

    def _put_delta(
        self,
        version: KeptVersion,
        recipients: Sequence[Recipient],
        parent: KeptVersion,
        depth: int,
    ) -> Sidecar | None:
        """Keep a delta, if there can be one and its object is shorter than the file."""
        with open_model(parent.path) as base, open_model(version.path) as target:
            try:
                pieces = encode_delta(base, parent.manifest, target, version.manifest, depth)
            except NoDelta:
                return None
            return put_encrypted_if_shorter(
                self._store,
                self._sidecars,
                pieces,
                recipients,
                Payload(FORMAT, COMPRESSION),
                version.path.stat().st_size,
            )

    def _depth(self, weights: bytes, below: int = MAX_DEPTH + 1) -> int:
        """How many deltas lead to a version, fewer than ``below``.

        As many as may be if its object, or one that it builds on, is not to be had. Of a snapshot
        nothing is read: several stores would read all of it.
        """
        for recorded in self._locate(weights):
            try:
                sidecar = sidecar_of(recorded, self._sidecars)
                if sidecar.payload.format == FORMAT:
                    with ExitStack() as opened:
                        header = self._opened(recorded, weights, below, opened).header
                    if header is None:
                        return 0
                    if self._depth(header.base, header.depth) < self._snapshot_every:
                        return header.depth
                    continue
                open_sidecar(sidecar, self._keys)
                if self._store.has(sidecar.stored.cid):
                    return 0
            except ModelproofError:  # not here, not for us, or damaged
                continue
        return self._snapshot_every


def _says_less(refusal: ModelproofError) -> int:
    """What is damaged says most of why a version cannot be had, and what is no step to it least."""
    return 0 if isinstance(refusal, NotVerified) else 2 if isinstance(refusal, _LaterDelta) else 1


@contextmanager
def _said_of(step: _Step | None, wanted: _Step | None) -> Iterator[None]:
    """Say of a failure that it is one on the way to another version, where that is so."""
    try:
        yield
    except ModelproofError as error:
        if wanted is None or step is wanted:
            raise
        kind = DamagedBase if isinstance(error, NotVerified) else MissingBase
        of = f", {step.of.version}," if step else ""
        raise kind(
            f"{wanted.of.version} is kept as a delta, and what it builds on{of} cannot be had:"
            f" {error}"
        ) from error


def _write_snapshot(step: _Step, path: Path) -> None:
    with files.replacing(path, MODE) as temporary:
        with temporary.open("wb") as file:
            for piece in step.pieces:
                file.write(piece)
        if not manifest_of(temporary, step.weights):
            raise NotVerified(
                f"what is stored as {step.of.version} is not 0x{step.weights.hex()}, but another"
                " model: its object is not the one that was registered"
            )


def _copy(source: Path, target: Path, weights: bytes) -> None:
    """Copy a verified file to where it takes its name if it is the same under that name."""
    with files.replacing(target) as temporary:
        shutil.copyfile(source, temporary)
        if manifest_of(temporary, weights):
            return
        if manifest_of(source, weights):
            raise StorageError(
                f"under the name {quoted_path(target)}, the model would be read as one of another"
                f" format: give it the suffix {source.suffix or '.bin'}"
            )
        raise NotVerified(f"the file of 0x{weights.hex()} changed while it was copied")
