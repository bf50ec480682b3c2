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
from .json_fields import bytes32, integer, list_of, object_of, string

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
        document = object_of(
            strict_json.loads(data),
            "the document",
            {"format", "digest_algorithm", "weights", "tensors", "files"},
        )
        if document["format"] != FORMAT:
            raise MalformedManifest(f"its format is {quoted(document['format'])}, not {FORMAT!r}")
        return ManifestFields(
            tuple(_tensor(row) for row in list_of(document["tensors"], '"tensors"')),
            tuple(_file(row) for row in list_of(document["files"], '"files"')),
            _algorithm(document["digest_algorithm"]),
            bytes32(document["weights"], '"weights"'),
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
    fields = object_of(row, "a tensor", {"name", "dtype", "shape", "digest"})
    name = string(fields["name"], "a tensor's name")
    where = f"of tensor {quoted(name)}"
    dtype = string(fields["dtype"], f"the dtype {where}")
    shape = tuple(
        integer(dimension, f"a dimension {where}")
        for dimension in list_of(fields["shape"], f"the shape {where}")
    )
    digest = bytes32(fields["digest"], f"the digest {where}")
    return TensorEntry(name, dtype, shape, digest, tensor_nbytes(name, dtype, shape))


def _file(row: object) -> FileEntry:
    fields = object_of(row, "a file", {"path", "size", "sha256"})
    path = string(fields["path"], "a file's path")
    where = f"of file {quoted(path)}"
    size = integer(fields["size"], f"the size {where}")
    return FileEntry(path, size, bytes32(fields["sha256"], f"the SHA-256 {where}"))


def _algorithm(value: object) -> DigestAlgorithm:
    if isinstance(value, str) and value in DigestAlgorithm.__members__:
        return DigestAlgorithm[value]
    known = " and ".join(DigestAlgorithm.__members__)
    raise MalformedManifest(f"its digest algorithm is {quoted(value)}; known are {known}")
