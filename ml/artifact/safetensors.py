"""Safetensors files: a strict header that says where each tensor lies.

Layout: 8 bytes of header length (little-endian), a JSON header, then the tensors' bytes, which
follow each other without a gap to the end of the file. Source: the "Format" section of the
safetensors README and ``tensor.rs`` of safetensors 0.8. Stricter than the reference reader where
that one is forgiving: no key twice, no unknown key, ``{`` first, nothing but spaces after ``}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from operator import attrgetter
from typing import Final, NamedTuple, cast

from . import strict_json
from .dtypes import MAX_DIMENSION, tensor_nbytes
from .entries import check_unicode
from .errors import ArtifactError, InvalidEntry, MalformedFile, quoted, quoted_path
from .file_reader import FilePath, FileReader
from .spans import TensorSpan

NAME: Final = "safetensors"
SUFFIX: Final = ".safetensors"

MAX_HEADER_BYTES: Final = 100_000_000
"""The reference reader's own limit."""

LENGTH_BYTES: Final = 8
_LONG_BYTES: Final = 1 << 16
METADATA_KEY: Final = "__metadata__"
"""In a header, no tensor's name: text about the file stands there."""
_POSITION: Final = attrgetter("start", "nbytes")
_SIZE: Final = rb"(?:0|[1-9][0-9]{0,17})"
_USUAL_TENSOR: Final = (
    rb'"([^"\\\x00-\x1f]*)":\{"dtype":"([A-Z0-9_]+)",'
    rb'"shape":\[((?:%b(?:,%b)*)?)\],"data_offsets":\[(%b),(%b)\]\}' % (4 * (_SIZE,))
)


class Header(NamedTuple):
    """A header that keeps every rule of the format; tensors in the order of their bytes."""

    tensors: list[TensorSpan]
    metadata: dict[str, str]


_Described = tuple[str, tuple[int, ...], int, int]
"""What a header says of a tensor, as long as it has the right form: dtype, shape, start, stop."""


def looks_like(start: bytes, size: int) -> bool:
    """Tell by the first bytes of a file, and its size, whether it is meant as safetensors."""
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    opening = start[LENGTH_BYTES : LENGTH_BYTES + 1]
    return opening == b"{" and length <= min(MAX_HEADER_BYTES, size - 1)


def read_spans(reader: FileReader, file: int = 0, key: str | None = None) -> list[TensorSpan]:
    """Find the tensors of an open file, in the order of their bytes.

    Args:
        reader: the file.
        file: its number among the files of the model.
        key: of no use here: the file has one set of tensors.

    Raises:
        ArtifactError: a key was given.
        UnreadableFile: it may not be read.
        MalformedFile: it breaks a rule of the format.
        FileChanged: it shrank while it was read.
    """
    if key is not None:
        raise ArtifactError(
            f"{quoted_path(reader.path)} is a safetensors file, so it has no entry {quoted(key)};"
            " leave the key out"
        )
    return _parse(reader, file).tensors


def read_header(path: FilePath) -> Header:
    """Read and check the header of a file, and nothing else of it; errors as for ``read_spans``."""
    with FileReader(path) as reader:
        return _parse(reader, 0)


def _parse(reader: FileReader, file: int) -> Header:
    try:
        raw, data_start = _header_bytes(reader)
        document: object = _usual_document(raw) if len(raw) > _LONG_BYTES else None
        if document is None:
            document = strict_json.loads(raw, take_object=_take_object)
        if not isinstance(document, dict):  # also when the header itself describes a tensor
            raise InvalidEntry("its header is not a JSON object with a tensor's name for each key")
        metadata = _metadata(document.pop(METADATA_KEY, {}))
        spans = [_span(name, value, file, data_start) for name, value in document.items()]
        spans.sort(key=_POSITION)
        _check_contiguous(spans, data_start, reader.size)
    except (InvalidEntry, strict_json.StrictJsonError) as error:
        raise MalformedFile(reader.path, str(error), "safetensors file") from None
    return Header(spans, metadata)


def _header_bytes(reader: FileReader) -> tuple[bytes, int]:
    """Return the header's text and the offset of the first tensor byte."""
    if reader.size < LENGTH_BYTES:
        raise InvalidEntry(f"it has {reader.size} bytes, and the header's length alone takes 8")
    length = int.from_bytes(reader.read(0, LENGTH_BYTES), "little")
    if length > MAX_HEADER_BYTES:
        raise InvalidEntry(
            f"its header is said to have {length} bytes, more than the format's {MAX_HEADER_BYTES}"
        )
    data_start = LENGTH_BYTES + length
    if data_start > reader.size:
        raise InvalidEntry(
            f"its header is said to end at byte {data_start}, but the file ends at {reader.size}"
        )
    raw = reader.read(LENGTH_BYTES, data_start)
    if not raw.startswith(b"{"):
        raise InvalidEntry("its header does not begin with '{'")
    if not raw.rstrip(b" ").endswith(b"}"):
        raise InvalidEntry("its header does not end with '}' and spaces")
    return raw, data_start


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise InvalidEntry(f"its {METADATA_KEY} is not a map from text to text")
    return cast(dict[str, str], value)


def _take_object(pairs: list[tuple[str, object]]) -> object:
    """Take an object of the header; what describes a tensor shrinks to a tuple at once.

    A header of a million tensors would otherwise need gigabytes.
    """
    mapping = strict_json.unique(pairs)
    if len(mapping) == 3:
        dtype, shape, offsets = map(mapping.get, ("dtype", "shape", "data_offsets"))
        if (
            type(dtype) is str
            and (type(shape) is list and are_sizes(shape))
            and (type(offsets) is list and are_sizes(offsets) and len(offsets) == 2)
        ):
            return dtype, tuple(shape), *offsets
    return mapping


def _usual_document(raw: bytes) -> dict[str, object] | None:
    """Parse a header in the very form in which the safetensors library writes it, much faster.

    None if it has any other, or a fault: then it is for the JSON parser to read, or to refuse.
    """
    parts = re.split(_USUAL_TENSOR, raw.rstrip(b" "))
    before = parts.pop(0)
    if not parts or not set(parts[5:-1:6]) <= {b","} or parts[-1] != b"}":
        return None
    metadata: object = {}
    try:
        if before != b"{":
            if not before.endswith(b","):
                return None
            metadata = strict_json.loads(before[:-1] + b"}", take_object=_take_object)
        names = b"\0".join(parts[0::6]).decode().split("\0")
    except (strict_json.StrictJsonError, UnicodeDecodeError):
        return None
    if not isinstance(metadata, dict) or (before != b"{" and not metadata):
        return None
    dtypes, shapes = map(_usual_dtype, parts[1::6]), map(_usual_shape, parts[2::6])
    starts, stops = map(int, parts[3::6]), map(int, parts[4::6])
    described: Iterator[_Described] = zip(dtypes, shapes, starts, stops, strict=True)
    document = {**metadata, **dict(zip(names, described, strict=True))}
    return document if len(document) == len(metadata) + len(names) else None


@lru_cache(maxsize=64)
def _usual_dtype(text: bytes) -> str:
    return text.decode()


@lru_cache(maxsize=4096)
def _usual_shape(text: bytes) -> tuple[int, ...]:
    return tuple(map(int, text.split(b","))) if text else ()


def _span(name: str, value: object, file: int, data_start: int) -> TensorSpan:
    check_unicode(name, "tensor name")
    if type(value) is not tuple:
        raise InvalidEntry(_fault(name, value))
    dtype, shape, start, stop = cast(_Described, value)
    nbytes = tensor_nbytes(name, dtype, shape)
    if stop - start != nbytes:
        raise InvalidEntry(
            f"tensor {quoted(name)} has {nbytes} bytes by its dtype and shape,"
            f" but {stop - start} by its data_offsets"
        )
    return TensorSpan(name, dtype, shape, file, data_start + start, nbytes)


def _fault(name: str, value: object) -> str:
    """Say why a value does not describe a tensor."""
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        return f"tensor {quoted(name)} is not described by dtype, shape and data_offsets alone"
    if not isinstance(value["dtype"], str):
        return f"the dtype of tensor {quoted(name)} is not text"
    for key in ("shape", "data_offsets"):
        if not isinstance(value[key], list) or not are_sizes(value[key]):
            return (
                f"the {key} of tensor {quoted(name)} is not a list of whole numbers"
                " from 0 to 2**63 - 1"
            )
    return f"tensor {quoted(name)} has {len(value['data_offsets'])} data_offsets, not 2"


def are_sizes(numbers: list[object] | tuple[object, ...]) -> bool:
    """Tell whether all are whole numbers from 0 to 2**63 - 1."""
    for number in numbers:
        # ``type`` and not ``isinstance``: JSON's true is an int to Python.
        if type(number) is not int or not 0 <= number <= MAX_DIMENSION:
            return False
    return True


def _check_contiguous(spans: list[TensorSpan], data_start: int, file_size: int) -> None:
    position = data_start
    for span in spans:
        if span.start != position:
            fault = "a hole" if span.start > position else "an overlap"
            raise InvalidEntry(
                f"there is {fault} before tensor {quoted(span.name)}, which begins at byte"
                f" {span.start} where {position} was due"
            )
        position += span.nbytes
    if position != file_size:
        raise InvalidEntry(f"its tensors end at byte {position}, but the file ends at {file_size}")
