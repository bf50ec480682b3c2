"""Deltas: a version's tensors by what changed since another version.

``docs/storage.md`` has the format byte by byte. A delta is an object's plaintext: encryption
authenticates it, and whatever it says, what comes of it must have the identity that was asked for.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from ml import files
from ml.artifact import Manifest, Model, TensorEntry, open_model, read_manifest
from ml.artifact.digests import DigestAlgorithm, new_hasher
from ml.artifact.dtypes import DTYPE_BITS
from ml.artifact.errors import ArtifactError, UnsupportedFormat, quoted, quoted_path
from ml.artifact.file_reader import FilePath, FileReader
from ml.artifact.safetensors import LENGTH_BYTES, MAX_HEADER_BYTES
from ml.artifact.safetensors_writer import start_of
from ml.artifact.spans import TensorSpan
from ml.errors import NotVerified

from .delta_coding import (
    CHUNK_BYTES,
    Undecodable,
    compress_head,
    decode_chunk,
    decompress_head,
    encode_chunk,
)
from .errors import DamagedObject, StorageError
from .pieces import Piece, PieceReader

FORMAT: Final = "modelproof-delta-v1"
"""The sidecar's name of the format."""
COMPRESSION: Final = "zstd"
MAX_DEPTH: Final = (1 << 16) - 1

_MAGIC: Final = b"\x89MPD\r\n\x1a\n"
_VERSION: Final = 1
_HEADER: Final = struct.Struct(">8sBBHIQ32s32s")
_RECORD: Final = struct.Struct(">BI")
_MAX_HEAD: Final = LENGTH_BYTES + MAX_HEADER_BYTES


class NoDelta(StorageError):
    """The model cannot be written as a delta: keep it whole."""


class DamagedDelta(DamagedObject):
    """The bytes are no delta, or not one of this base."""

    def __init__(self, reason: str) -> None:
        """Say what is wrong with it."""
        super().__init__(f"a delta is damaged: {reason}; fetch its object again")


@dataclass(frozen=True, slots=True)
class DeltaHeader:
    """What a delta says of itself."""

    algorithm: DigestAlgorithm
    """How tensors are digested in the identities."""
    depth: int
    """How many deltas lead from a snapshot to this version, this one included."""
    file_bytes: int
    """The size of the file that it becomes."""
    base: bytes
    """The identity that it builds on, 32 bytes."""
    target: bytes
    """The identity of what it becomes, 32 bytes."""


def encode_delta(
    base: Model, base_manifest: Manifest, target: Model, manifest: Manifest, depth: int
) -> Iterator[bytes]:
    """Write a model by what changed since another; some MiB are held in memory.

    Args:
        base: the other model, open
        base_manifest: its manifest, which its bytes are checked against as they are read
        target: the model, open; it becomes a safetensors file again, of the same bytes if it is one
        manifest: its manifest, checked likewise
        depth: how many deltas lead to it from a snapshot, this one included

    Raises:
        NoDelta: at once, if the model has more than tensors, or other digests than the base, or
            no safetensors file can hold what it has.
        NotVerified: in the iteration, if a file is not that of its manifest.
    """
    if target.layout.files:
        raise NoDelta(
            f"{quoted_path(target.path)} has more than tensors, and a delta is of these alone:"
            " keep it whole"
        )
    if manifest.digest_algorithm != base_manifest.digest_algorithm or base.layout.files:
        raise NoDelta(
            "the version before has files or digests of another kind: keep this one whole"
        )
    if not 1 <= depth <= MAX_DEPTH:
        raise ValueError(f"a delta cannot be number {depth} after a snapshot")
    head, spans = _head(target)
    header = DeltaHeader(
        manifest.digest_algorithm,
        depth,
        len(head) + sum(span.nbytes for span in spans),
        base_manifest.weights,
        manifest.weights,
    )
    return _encode(header, head, spans, (base, base_manifest), (target, manifest))


def look_into_delta(pieces: Iterable[Piece]) -> tuple[DeltaHeader, Iterable[Piece]]:
    """Read what a delta says of itself, and give all of its pieces, to be applied.

    Raises:
        DamagedDelta: it is none, or one of another version.
    """
    reader = PieceReader(pieces)
    start = bytes(reader.take(_HEADER.size))
    return _read_header(PieceReader([start]))[0], itertools.chain([start], reader.rest())


def apply_delta(
    pieces: Iterable[Piece], base: FilePath, path: Path, weights: bytes, mode: int = 0o644
) -> None:
    """Make the model of a delta and its base, as a safetensors file that takes its name when right.

    Args:
        pieces: the delta
        base: the model that it builds on
        path: where the file goes
        weights: the identity that the file must have
        mode: who may read it

    Raises:
        DamagedDelta: the bytes are no delta.
        NotVerified: what comes of it has another identity; ``path`` is left as it was.
    """
    reader = PieceReader(pieces)
    header, head_bytes = _read_header(reader)
    try:
        head = decompress_head(_take(reader, head_bytes), _MAX_HEAD)
    except Undecodable as error:
        raise DamagedDelta(f"of the file's start, {error}") from None
    with files.replacing(path, mode) as temporary:
        with temporary.open("r+b") as file, open_model(base) as source:
            _make_room(file, head, header.file_bytes)
            with _open_head(temporary) as target:
                known = {span.name: span for span in source.layout.tensors}
                for span in target.layout.tensors:
                    file.seek(span.start)
                    for chunk in _decoded(reader, span, source, known):
                        file.write(chunk)
        if reader.take(1):
            raise DamagedDelta("it goes on after its end")
        actual = read_manifest(temporary, header.algorithm).weights
        if actual != weights:
            raise NotVerified(
                f"what a delta to 0x{header.target.hex()} makes of {quoted_path(base)} is"
                f" 0x{actual.hex()}, not 0x{weights.hex()}: the delta is another version's, or the"
                f" base is not 0x{header.base.hex()}"
            )


# --- Writing --------------------------------------------------------------------------------------


def _encode(
    header: DeltaHeader,
    head: bytes,
    spans: Iterable[TensorSpan],
    base: tuple[Model, Manifest],
    target: tuple[Model, Manifest],
) -> Iterator[bytes]:
    packed = compress_head(head)
    yield _HEADER.pack(
        _MAGIC,
        _VERSION,
        header.algorithm,
        header.depth,
        len(packed),
        header.file_bytes,
        header.base,
        header.target,
    )
    yield packed
    known = {entry.name: entry for entry in base[1].tensors}
    for span in spans:
        entry = known.get(span.name)
        before = None
        if entry and (entry.dtype, entry.nbytes) == (span.dtype, span.nbytes):
            before = _Checked(base[0], entry, header.algorithm)
        after = _Checked(target[0], target[1].tensor(span.name), header.algorithm)
        for size in _chunk_sizes(span.nbytes):
            old = before.take(size) if before else None
            kind, payload = encode_chunk(old, after.take(size), _item_bytes(span.dtype))
            yield _RECORD.pack(kind, len(payload))
            yield payload
        for each in (before, after):
            if each:
                each.check()


class _Checked:
    """A tensor's bytes in chunks, digested as they pass."""

    def __init__(self, model: Model, entry: TensorEntry, algorithm: DigestAlgorithm) -> None:
        self._path = model.path
        self._entry = entry
        self._reader = PieceReader(model.pieces(entry.name))
        self._hasher = new_hasher(algorithm)

    def take(self, size: int) -> memoryview:
        """The next bytes, valid until the next call."""
        chunk = self._reader.take(size)
        self._hasher.update(chunk)
        return chunk

    def check(self) -> None:
        """See, at the end, that they were the manifest's."""
        if self._hasher.digest() != self._entry.digest:
            raise NotVerified(
                f"tensor {quoted(self._entry.name)} of {quoted_path(self._path)} is not the one of"
                " its manifest: the file changed"
            )


def _head(model: Model) -> tuple[bytes, list[TensorSpan]]:
    """The start of the safetensors file that a model becomes, and its tensors in their order.

    A checkpoint may have what a safetensors file cannot. It is a model with an identity all the
    same, so that its reader takes it, and it is kept whole.
    """
    spans = list(model.layout.tensors)
    if model.layout.format == "safetensors":
        with FileReader(model.path) as reader:
            return reader.read(0, reader.size - sum(span.nbytes for span in spans)), spans
    try:
        return start_of(spans, model.path)
    except UnsupportedFormat as error:
        raise NoDelta(f"{error}: keep it whole") from None


# --- Reading --------------------------------------------------------------------------------------


def _read_header(reader: PieceReader) -> tuple[DeltaHeader, int]:
    """What a delta says of itself, and how many bytes of the file's start follow."""
    magic, version, algorithm, depth, head_bytes, file_bytes, base, target = _HEADER.unpack(
        _take(reader, _HEADER.size)
    )
    if magic != _MAGIC:
        raise DamagedDelta("it does not begin as one")
    if version != _VERSION:
        raise DamagedDelta(f"its version is {version}, and known is {_VERSION}")
    if algorithm not in set(DigestAlgorithm) or depth == 0:
        raise DamagedDelta("no delta has such a header")
    if head_bytes > 2 * _MAX_HEAD:
        raise DamagedDelta(f"the start of a file cannot take {head_bytes} bytes")
    return DeltaHeader(DigestAlgorithm(algorithm), depth, file_bytes, base, target), head_bytes


def _make_room(file: BinaryIO, head: bytes, file_bytes: int) -> None:
    """Write a file's start, and make it as long as it will be."""
    file.write(head)
    try:
        file.truncate(file_bytes)
    except (OSError, OverflowError) as error:
        raise StorageError(f"there is no room for a file of {file_bytes} bytes: {error}") from error
    file.flush()


def _open_head(path: Path) -> Model:
    """Find out from a file's start where its tensors go."""
    try:
        model = open_model(path)
    except ArtifactError as error:
        raise DamagedDelta(f"of the file's start, {error}") from None
    if model.layout.format != "safetensors":
        model.close()
        raise DamagedDelta("the file's start is not one of a safetensors file")
    return model


def _decoded(
    reader: PieceReader, span: TensorSpan, source: Model, known: Mapping[str, TensorSpan]
) -> Iterator[bytes]:
    """A tensor's bytes, chunk by chunk."""
    before, there = None, known.get(span.name)
    if there and (there.dtype, there.nbytes) == (span.dtype, span.nbytes):
        before = PieceReader(source.pieces(span.name))
    for size in _chunk_sizes(span.nbytes):
        kind, length = _RECORD.unpack(_take(reader, _RECORD.size))
        if length > size:
            raise DamagedDelta(f"{length} bytes are written for {size}")
        payload = _take(reader, length)
        base = before.take(size) if before else None
        try:
            yield decode_chunk(kind, payload, base, size, _item_bytes(span.dtype))
        except Undecodable as error:
            raise DamagedDelta(f"of tensor {quoted(span.name)}, {error}") from None


def _take(reader: PieceReader, count: int) -> bytes:
    data = bytes(reader.take(count))
    if len(data) < count:
        raise DamagedDelta("it is cut short")
    return data


def _chunk_sizes(nbytes: int) -> Iterator[int]:
    for start in range(0, nbytes, CHUNK_BYTES):
        yield min(CHUNK_BYTES, nbytes - start)


def _item_bytes(dtype: str) -> int:
    """The size of an element; 1 where elements do not fill bytes."""
    return max(1, DTYPE_BITS[dtype] // 8)
