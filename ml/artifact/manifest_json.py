"""The manifest as JSON: one line per tensor, the same text for the same model, read strictly.

::

    {
      "format": "modelproof.manifest.v1",
      "digest_algorithm": "BLAKE3",
      "weights": "0x…",
      "tensors": [
        {"name": "fc.weight", "dtype": "F32", "shape": [10, 64], "digest": "0x…"}
      ],
      "files": []
    }

``weights`` follows from the rest; it is there to be searched for, and is checked on reading.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from . import strict_json
from .digests import DigestAlgorithm
from .dtypes import tensor_nbytes
from .entries import FileEntry, TensorEntry
from .errors import InvalidEntry, MalformedManifest, quoted

FORMAT: Final = "modelproof.manifest.v1"


@dataclass(frozen=True, slots=True)
class ManifestFields:
    """What a manifest says, each entry valid by itself."""

    tensors: tuple[TensorEntry, ...]
    files: tuple[FileEntry, ...]
    digest_algorithm: DigestAlgorithm
    weights: bytes


def dumps(fields: ManifestFields) -> str:
    """Write a manifest as JSON (ASCII, with a newline at the end)."""
    tensors = _rows(
        {
            "name": tensor.name,
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "digest": _hex(tensor.digest),
        }
        for tensor in fields.tensors
    )
    files = _rows(
        {"path": file.path, "size": file.size, "sha256": _hex(file.sha256)} for file in fields.files
    )
    return (
        "{\n"
        f'  "format": "{FORMAT}",\n'
        f'  "digest_algorithm": "{fields.digest_algorithm.name}",\n'
        f'  "weights": "{_hex(fields.weights)}",\n'
        f'  "tensors": {tensors},\n'
        f'  "files": {files}\n'
        "}\n"
    )


def loads(text: str | bytes) -> ManifestFields:
    """Read a manifest's fields; whether they agree with each other is the caller's to check.

    Raises:
        MalformedManifest: a field is missing, unknown, or not of its form.
    """
    try:
        data = text if isinstance(text, bytes) else text.encode()
        document = _object(
            strict_json.loads(data),
            "the document",
            {"format", "digest_algorithm", "weights", "tensors", "files"},
        )
        if document["format"] != FORMAT:
            raise MalformedManifest(f"its format is {quoted(document['format'])}, not {FORMAT!r}")
        return ManifestFields(
            tuple(_tensor(row) for row in _list(document["tensors"], '"tensors"')),
            tuple(_file(row) for row in _list(document["files"], '"files"')),
            _algorithm(document["digest_algorithm"]),
            _bytes32(document["weights"], '"weights"'),
        )
    except (strict_json.StrictJsonError, InvalidEntry) as error:
        raise MalformedManifest(str(error)) from None
    except UnicodeEncodeError:
        raise MalformedManifest("it cannot be written as UTF-8") from None


def _rows(rows: Iterable[dict[str, object]]) -> str:
    lines = ",\n    ".join(map(json.dumps, rows))
    return f"[\n    {lines}\n  ]" if lines else "[]"


def _hex(data: bytes) -> str:
    return f"0x{data.hex()}"


def _tensor(row: object) -> TensorEntry:
    fields = _object(row, "a tensor", {"name", "dtype", "shape", "digest"})
    name = _string(fields["name"], "a tensor's name")
    where = f"of tensor {quoted(name)}"
    dtype = _string(fields["dtype"], f"the dtype {where}")
    shape = tuple(
        _integer(dimension, f"a dimension {where}")
        for dimension in _list(fields["shape"], f"the shape {where}")
    )
    digest = _bytes32(fields["digest"], f"the digest {where}")
    return TensorEntry(name, dtype, shape, digest, tensor_nbytes(name, dtype, shape))


def _file(row: object) -> FileEntry:
    fields = _object(row, "a file", {"path", "size", "sha256"})
    path = _string(fields["path"], "a file's path")
    where = f"of file {quoted(path)}"
    size = _integer(fields["size"], f"the size {where}")
    return FileEntry(path, size, _bytes32(fields["sha256"], f"the SHA-256 {where}"))


def _algorithm(value: object) -> DigestAlgorithm:
    if isinstance(value, str) and value in DigestAlgorithm.__members__:
        return DigestAlgorithm[value]
    known = " and ".join(DigestAlgorithm.__members__)
    raise MalformedManifest(f"its digest algorithm is {quoted(value)}; known are {known}")


def _object(value: object, what: str, keys: set[str]) -> dict[str, object]:
    if not isinstance(value, dict):
        raise MalformedManifest(f"{what} is not an object")
    missing, unknown = sorted(keys - value.keys()), sorted(value.keys() - keys)
    if missing:
        raise MalformedManifest(f"{what} has no {quoted(missing[0])}")
    if unknown:
        raise MalformedManifest(f"{what} has the unknown key {quoted(unknown[0])}")
    return value


def _list(value: object, what: str) -> list[object]:
    if not isinstance(value, list):
        raise MalformedManifest(f"{what} is not a list")
    return value


def _string(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise MalformedManifest(f"{what} is not a string")
    return value


def _integer(value: object, what: str) -> int:
    if type(value) is not int:
        raise MalformedManifest(f"{what} is not a whole number")
    return value


def _bytes32(value: object, what: str) -> bytes:
    text = _string(value, what)
    if len(text) == 66 and text.startswith("0x"):
        try:
            digest = bytes.fromhex(text[2:])
        except ValueError:
            digest = b""
        if _hex(digest) == text:  # so no capitals, and none of the spaces that fromhex skips
            return digest
    raise MalformedManifest(f"{what} is not 0x and 64 lower-case hexadecimal digits")
