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

``weights`` follows from the rest; it is there to be searched for, and is checked on reading. A
model in a folder also has ``ignored``, the rules by which files were left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final, NamedTuple

from . import strict_json
from .digests import DigestAlgorithm
from .dtypes import tensor_nbytes
from .entries import FileEntry, TensorEntry
from .errors import InvalidEntry, MalformedManifest, quoted
from .json_fields import bytes32, integer, list_of, object_of, string
from .strict_json import StrictJsonError

FORMAT: Final = "modelproof.manifest.v1"

_KEYS: Final = {"format", "digest_algorithm", "weights", "tensors", "files"}
_IGNORED: Final = "ignored"
_TENSOR_KEYS: Final = {"name", "dtype", "shape", "digest"}


class ManifestFields(NamedTuple):
    """What a manifest says, each entry valid by itself."""

    tensors: tuple[TensorEntry, ...]
    files: tuple[FileEntry, ...]
    digest_algorithm: DigestAlgorithm
    weights: bytes
    ignored: tuple[str, ...]


def dumps(fields: ManifestFields) -> str:
    """Write a manifest as JSON (ASCII, with a newline at the end)."""
    tensors = _rows(map(tensor_row, fields.tensors))
    files = _rows(
        {"path": file.path, "size": file.size, "sha256": _hex(file.sha256)} for file in fields.files
    )
    ignored = f',\n  "{_IGNORED}": {json.dumps(fields.ignored)}' if fields.ignored else ""
    return (
        "{\n"
        f'  "format": "{FORMAT}",\n'
        f'  "digest_algorithm": "{fields.digest_algorithm.name}",\n'
        f'  "weights": "{_hex(fields.weights)}",\n'
        f'  "tensors": {tensors},\n'
        f'  "files": {files}{ignored}\n'
        "}\n"
    )


def loads(text: str | bytes) -> ManifestFields:
    """Read a manifest's fields; whether they agree with each other is the caller's to check.

    Raises:
        MalformedManifest: a field is missing, unknown, or not of its form.
    """
    try:
        data = text if isinstance(text, bytes) else text.encode()
        document = strict_json.loads(data)
        has_rules = isinstance(document, dict) and _IGNORED in document
        document = object_of(document, "the document", {*_KEYS, _IGNORED} if has_rules else _KEYS)
        if document["format"] != FORMAT:
            raise MalformedManifest(f"its format is {quoted(document['format'])}, not {FORMAT!r}")
        return ManifestFields(
            tuple(map(read_tensor, list_of(document["tensors"], '"tensors"'))),
            tuple(map(_file, list_of(document["files"], '"files"'))),
            read_algorithm(document["digest_algorithm"]),
            bytes32(document["weights"], '"weights"'),
            tuple(
                string(rule, "a rule")
                for rule in list_of(document.get(_IGNORED, []), f'"{_IGNORED}"')
            ),
        )
    except (StrictJsonError, InvalidEntry) as error:
        raise MalformedManifest(str(error)) from None
    except UnicodeEncodeError:
        raise MalformedManifest("it cannot be written as UTF-8") from None


def _rows(rows: Iterable[dict[str, object]]) -> str:
    lines = ",\n    ".join(map(json.dumps, rows))
    return f"[\n    {lines}\n  ]" if lines else "[]"


def _hex(data: bytes) -> str:
    return f"0x{data.hex()}"


def tensor_row(tensor: TensorEntry) -> dict[str, object]:
    """Describe a tensor, as manifests and proofs do."""
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "digest": _hex(tensor.digest),
    }


def read_tensor(row: object) -> TensorEntry:
    """Read what ``tensor_row`` described.

    Raises:
        StrictJsonError, InvalidEntry: it is anything else, or no tensor can be like this.
    """
    fields = object_of(row, "a tensor", _TENSOR_KEYS)
    name = string(fields["name"], "a tensor's name")
    try:
        dtype = string(fields["dtype"], "the dtype")
        shape = tuple(
            integer(size, "a dimension") for size in list_of(fields["shape"], "the shape")
        )
        digest = bytes32(fields["digest"], "the digest")
    except StrictJsonError as error:
        raise StrictJsonError(f"{error}, in tensor {quoted(name)}") from None
    return TensorEntry(name, dtype, shape, digest, tensor_nbytes(name, dtype, shape))


def _file(row: object) -> FileEntry:
    fields = object_of(row, "a file", {"path", "size", "sha256"})
    path = string(fields["path"], "a file's path")
    try:
        size = integer(fields["size"], "the size")
        return FileEntry(path, size, bytes32(fields["sha256"], "the SHA-256"))
    except StrictJsonError as error:
        raise StrictJsonError(f"{error}, in file {quoted(path)}") from None


def read_algorithm(value: object) -> DigestAlgorithm:
    """Read the name of a digest algorithm.

    Raises:
        StrictJsonError: it is not known.
    """
    if isinstance(value, str) and value in DigestAlgorithm.__members__:
        return DigestAlgorithm[value]
    known = " and ".join(DigestAlgorithm.__members__)
    raise StrictJsonError(f"its digest algorithm is {quoted(value)}; known are {known}")
