"""Safetensors files made by hand, valid and not, so that tests need no writer of their own kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from ml.artifact import FileEntry, TensorEntry

Entry = TypeVar("Entry", TensorEntry, FileEntry)

Tensors = Mapping[str, tuple[str, list[int], bytes]]
"""Name to dtype, shape and bytes, in the order in which the bytes are laid out."""

SMALL: Tensors = {
    "fc.weight": ("F32", [2, 3], bytes(range(24))),
    "fc.bias": ("BF16", [3], b"\x80\x3f\x00\x40\x40\x40"),
    "steps": ("I64", [], b"\x07" + bytes(7)),
}


def header_of(tensors: Tensors) -> dict[str, Any]:
    """The header that lays the tensors out in their order."""
    header: dict[str, Any] = {}
    offset = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [offset, offset + len(data)],
        }
        offset += len(data)
    return header


def file_bytes(tensors: Tensors, metadata: Mapping[str, str] | None = None) -> bytes:
    """A valid safetensors file."""
    header = header_of(tensors)
    if metadata is not None:
        header = {"__metadata__": dict(metadata), **header}
    return raw_file(header, b"".join(data for _, _, data in tensors.values()))


def raw_file(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    """Any header, as JSON or as given bytes, any data, and any claim about the header's length."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":"))
    raw = text if isinstance(text, bytes) else text.encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def write(folder: Path, data: bytes, name: str = "model.safetensors") -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(data)
    return path


def changed(entry: Entry, **fields: object) -> Entry:
    """An entry with other fields, checked as every new one."""
    return type(entry)(**{**entry._asdict(), **fields})
