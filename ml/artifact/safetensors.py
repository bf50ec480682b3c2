"""Safetensors files: a strict header, tensors digested in pieces, or loaded and digested at once.

Layout: 8 bytes of header length (little-endian), a JSON header, then the tensors' bytes, which
follow each other without a gap to the end of the file. Source: the "Format" section of the
safetensors README and ``tensor.rs`` of safetensors 0.8. Stricter than the reference reader where
that one is forgiving: no key twice, no unknown key, ``{`` first, nothing but spaces after ``}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from . import strict_json
from .digests import DigestAlgorithm
from .dtypes import MAX_DIMENSION, tensor_nbytes
from .entries import TensorEntry, check_unicode
from .errors import InvalidEntry, MalformedFile, quoted
from .file_reader import FilePath, FileReader, Progress, digest_pieces
from .manifest import Manifest

MAX_HEADER_BYTES: Final = 100_000_000
"""The reference reader's own limit."""

_LENGTH_BYTES: Final = 8
_METADATA_KEY: Final = "__metadata__"
_TENSOR_KEYS: Final = {"dtype", "shape", "data_offsets"}


@dataclass(frozen=True, slots=True)
class TensorSpan:
    """Where one tensor lies: bytes ``start`` to ``stop`` of the file, ``stop`` excluded."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        """The tensor's size in bytes."""
        return self.stop - self.start

    def entry(self, digest: bytes) -> TensorEntry:
        """Return the manifest's entry, given the digest of the bytes."""
        return TensorEntry(self.name, self.dtype, self.shape, digest, self.nbytes)


@dataclass(frozen=True, slots=True)
class Header:
    """A header that keeps every rule of the format; tensors in the order of their bytes."""

    tensors: tuple[TensorSpan, ...]
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A loaded tensor: ``data`` holds its contiguous little-endian bytes, and may be written to."""

    dtype: str
    shape: tuple[int, ...]
    data: bytearray


def looks_like(start: bytes, size: int) -> bool:
    """Tell by the first bytes of a file, and its size, whether it is meant as safetensors."""
    length = int.from_bytes(start[:_LENGTH_BYTES], "little")
    opening = start[_LENGTH_BYTES : _LENGTH_BYTES + 1]
    return opening == b"{" and length <= min(MAX_HEADER_BYTES, size - 1)


def read_header(path: FilePath) -> Header:
    """Read and check the header of a file, and nothing else of it.

    Raises:
        UnreadableFile: the file is missing, special, or may not be read.
        MalformedFile: it breaks a rule of the format.
        FileChanged: it shrank while it was read.
    """
    with FileReader(path) as reader:
        return parse_header(reader)


def parse_header(reader: FileReader) -> Header:
    """Read and check the header of an open file; errors as for ``read_header``."""
    try:
        raw, data_start = _header_bytes(reader)
        document = strict_json.loads(raw)
        if not isinstance(document, dict):
            raise InvalidEntry("its header is not a JSON object")
        metadata = _metadata(document.pop(_METADATA_KEY, {}))
        spans = sorted(
            (_span(name, value, data_start) for name, value in document.items()),
            key=lambda span: (span.start, span.stop),
        )
        _check_contiguous(spans, data_start, reader.size)
    except (InvalidEntry, strict_json.StrictJsonError) as error:
        raise MalformedFile(reader.path, str(error)) from None
    return Header(tuple(spans), metadata)


def read_manifest(
    path: FilePath, algorithm: DigestAlgorithm, progress: Progress | None = None
) -> Manifest:
    """Digest every tensor, holding 1 MiB of the file at a time; errors as for ``read_header``."""
    with FileReader(path, progress) as reader:
        entries = tuple(
            span.entry(reader.digest(span.start, span.stop, algorithm))
            for span in parse_header(reader).tensors
        )
        reader.finish()
    return Manifest(entries, digest_algorithm=algorithm)


def load(
    path: FilePath, algorithm: DigestAlgorithm, progress: Progress | None = None
) -> tuple[dict[str, Tensor], Manifest]:
    """Load every tensor, with the manifest of the very bytes loaded; each byte is read once.

    Verifying that manifest is the caller's part. Errors as for ``read_header``.
    """
    tensors: dict[str, Tensor] = {}
    entries: list[TensorEntry] = []
    with FileReader(path, progress) as reader:
        for span in parse_header(reader).tensors:
            data = bytearray(span.nbytes)
            digest = digest_pieces(reader.read_into(memoryview(data), span.start), algorithm)
            tensors[span.name] = Tensor(span.dtype, span.shape, data)
            entries.append(span.entry(digest))
        reader.finish()
    return tensors, Manifest(tuple(entries), digest_algorithm=algorithm)


def _header_bytes(reader: FileReader) -> tuple[bytes, int]:
    """Return the header's text and the offset of the first tensor byte."""
    if reader.size < _LENGTH_BYTES:
        raise InvalidEntry(f"it has {reader.size} bytes, and the header's length alone takes 8")
    length = int.from_bytes(reader.read(0, _LENGTH_BYTES), "little")
    if length > MAX_HEADER_BYTES:
        raise InvalidEntry(
            f"its header is said to have {length} bytes, more than the format's {MAX_HEADER_BYTES}"
        )
    data_start = _LENGTH_BYTES + length
    if data_start > reader.size:
        raise InvalidEntry(
            f"its header is said to end at byte {data_start}, but the file ends at {reader.size}"
        )
    raw = reader.read(_LENGTH_BYTES, data_start)
    if not raw.startswith(b"{"):
        raise InvalidEntry("its header does not begin with '{'")
    if not raw.rstrip(b" ").endswith(b"}"):
        raise InvalidEntry("its header does not end with '}' and spaces")
    return raw, data_start


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise InvalidEntry(f"its {_METADATA_KEY} is not a map from text to text")
    return cast(dict[str, str], value)


def _span(name: str, value: object, data_start: int) -> TensorSpan:
    check_unicode(name, "tensor name")
    if not isinstance(value, dict) or value.keys() != _TENSOR_KEYS:
        raise InvalidEntry(
            f"tensor {quoted(name)} is not described by dtype, shape and data_offsets alone"
        )
    dtype = value["dtype"]
    if not isinstance(dtype, str):
        raise InvalidEntry(f"the dtype of tensor {quoted(name)} is not text")
    shape = _integers(value["shape"], f"the shape of tensor {quoted(name)}")
    offsets = _integers(value["data_offsets"], f"the data_offsets of tensor {quoted(name)}")
    if len(offsets) != 2:
        raise InvalidEntry(f"tensor {quoted(name)} has {len(offsets)} data_offsets, not 2")
    start, stop = offsets
    nbytes = tensor_nbytes(name, dtype, shape)
    if stop - start != nbytes:
        raise InvalidEntry(
            f"tensor {quoted(name)} has {nbytes} bytes by its dtype and shape,"
            f" but {stop - start} by its data_offsets"
        )
    return TensorSpan(name, dtype, shape, data_start + start, data_start + stop)


def _integers(value: object, what: str) -> tuple[int, ...]:
    # ``type`` and not ``isinstance``: JSON's true is an int to Python.
    if not isinstance(value, list) or not all(
        type(number) is int and 0 <= number <= MAX_DIMENSION for number in value
    ):
        raise InvalidEntry(f"{what} is not a list of whole numbers from 0 to 2**63 - 1")
    return tuple(value)


def _check_contiguous(spans: list[TensorSpan], data_start: int, file_size: int) -> None:
    position = data_start
    for span in spans:
        if span.start != position:
            fault = "a hole" if span.start > position else "an overlap"
            raise InvalidEntry(
                f"there is {fault} before tensor {quoted(span.name)}, which begins at byte"
                f" {span.start} where {position} was due"
            )
        position = span.stop
    if position != file_size:
        raise InvalidEntry(f"its tensors end at byte {position}, but the file ends at {file_size}")
