"""What is signed: an in-toto statement that lists a model's resources with their digests.

::

    {
      "_type": "https://in-toto.io/Statement/v1",
      "subject": [{"name": "model", "digest": {"sha256": "…over the digests below…"}}],
      "predicateType": "https://model_signing/signature/v1.0",
      "predicate": {
        "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": false,
                          "ignore_paths": [".git"]},
        "resources": [{"name": "config.json", "algorithm": "sha256", "digest": "…"}]
      }
    }

A shard is named ``path:start:end``, and a model that is one file ``.``. Fields that are not known
are passed over, as in-toto asks for, but for those of ``serialization``, which would change what a
digest is one of.
The subject's digest is over those of the resources, in the order in which they are listed.
Source: in-toto's Statement v1; ``_signing/signing.py`` of ``model_signing`` 1.1.1.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from ml.artifact import strict_json
from ml.artifact.entries import OPAQUE_PATH, check_path
from ml.artifact.errors import InvalidEntry, quoted
from ml.artifact.json_fields import fields_of, integer, list_of, string

from .resources import DIGEST_BYTES, Resource, Serialization, by_file, divided

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"

_WHOLE_MODEL: Final = "."
_METHODS: Final = ("files", "shards")
_MAX_FILE_BYTES: Final = 2**63 - 1
_OFFSET: Final = "(0|[1-9][0-9]{0,18})"
_SHARD_NAME: Final = re.compile(rf"(.+):{_OFFSET}:{_OFFSET}", re.DOTALL)


class Statement(NamedTuple):
    """A model as it was signed."""

    name: str
    """What its folder or file was called: a remark."""
    serialization: Serialization
    resources: tuple[Resource, ...]


def dumps(statement: Statement) -> bytes:
    """Write a statement, in the layout that the library gives it."""
    serialization = statement.serialization
    sharded = serialization.shard_bytes is not None
    document = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": statement.name, "digest": {"sha256": _root(statement.resources)}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": _METHODS[sharded],
                "hash_type": serialization.algorithm,
                **({"shard_size": serialization.shard_bytes} if sharded else {}),
                "allow_symlinks": serialization.follow_links,
                **({"ignore_paths": serialization.ignored} if serialization.ignored else {}),
            },
            "resources": [
                {
                    "name": _name(resource),
                    "algorithm": serialization.resource_algorithm,
                    "digest": resource.digest.hex(),
                }
                for resource in statement.resources
            ],
        },
    }
    return json.dumps(document, indent=2).encode()


def loads(payload: bytes) -> Statement:
    """Read a statement whose signature was found good.

    Raises:
        StrictJsonError, InvalidEntry: it is not of this form, contradicts itself, or lists
            something that is no file of a model; the message is a clause.
    """
    document = fields_of(strict_json.loads(payload, fractions=True), "the signed statement")
    for key, expected in (("_type", STATEMENT_TYPE), ("predicateType", PREDICATE_TYPE)):
        if document.get(key) != expected:
            raise InvalidEntry(f"its {key} is {quoted(document.get(key))}, not {expected}")
    predicate = fields_of(document.get("predicate"), "the predicate")
    serialization = _serialization(predicate.get("serialization"))
    rows = list_of(predicate.get("resources"), "the list of resources")
    resources = tuple(_resource(row, serialization) for row in rows)
    name, root = _subject(document.get("subject"))
    if root != _root(resources):
        raise InvalidEntry("the digest of its subject is not that of its resources")
    _check_files(resources, serialization.shard_bytes)
    return Statement(name, serialization, resources)


def _root(resources: Sequence[Resource]) -> str:
    return hashlib.sha256(b"".join(resource.digest for resource in resources)).hexdigest()


def _name(resource: Resource) -> str:
    path = _WHOLE_MODEL if resource.path == OPAQUE_PATH else resource.path
    return path if resource.stop is None else f"{path}:{resource.start}:{resource.stop}"


def _subject(value: object) -> tuple[str, str]:
    """The model's name, and the digest over the digests of its resources."""
    subjects = list_of(value, "the subject")
    if len(subjects) != 1:
        raise InvalidEntry(f"it has {len(subjects)} subjects, not one")
    subject = fields_of(subjects[0], "the subject")
    digest = fields_of(subject.get("digest"), "the subject's digest")
    return string(subject.get("name"), "the subject's name"), string(
        digest.get("sha256"), "the subject's SHA-256"
    )


def _serialization(value: object) -> Serialization:
    fields = fields_of(value, "the serialization")
    method = fields.get("method")
    if method not in _METHODS:
        raise InvalidEntry(f"its method is {quoted(method)}; known are {', '.join(_METHODS)}")
    sharded = method == "shards"
    known = {"method", "hash_type", "allow_symlinks", "ignore_paths"}
    unknown = fields.keys() - (known | {"shard_size"} if sharded else known)
    if unknown:
        raise InvalidEntry(f"its serialization has the unknown key {quoted(min(unknown))}")
    algorithm = fields.get("hash_type")
    if not isinstance(algorithm, str) or algorithm not in DIGEST_BYTES:
        raise InvalidEntry(
            f"its hash_type is {quoted(algorithm)}; known are {', '.join(DIGEST_BYTES)}"
        )
    follow_links = fields.get("allow_symlinks")
    if type(follow_links) is not bool:
        raise InvalidEntry("its allow_symlinks is neither true nor false")
    shard_bytes = _shard_bytes(fields.get("shard_size")) if sharded else None
    rules = list_of(fields.get("ignore_paths", []), "ignore_paths")
    return Serialization(algorithm, shard_bytes, follow_links, tuple(_rules(rules)))


def _shard_bytes(value: object) -> int:
    """A size, which the library writes with a fraction of nought."""
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    size = integer(whole, "shard_size")
    if not 1 <= size <= _MAX_FILE_BYTES:
        raise InvalidEntry(f"its shard_size is {quoted(size)}, not a size in bytes")
    return size


def _rules(values: list[object]) -> Iterator[str]:
    """The paths that are left out; those that lead out of the model leave out nothing of it."""
    for value in values:
        path = PurePosixPath(string(value, "an ignored path"))
        if str(path) == _WHOLE_MODEL:
            raise InvalidEntry("it leaves out the whole model")
        if not path.is_absolute() and ".." not in path.parts:
            yield str(path)


def _resource(row: object, serialization: Serialization) -> Resource:
    fields = fields_of(row, "a resource")
    name = string(fields.get("name"), "a resource's name")
    path, start, stop = name, 0, None
    if serialization.shard_bytes is not None:
        parts = _SHARD_NAME.fullmatch(name)
        if parts is None:
            raise InvalidEntry(f"its resource {quoted(name)} is not a path, a start and an end")
        path, start, stop = parts[1], int(parts[2]), int(parts[3])
    if path == _WHOLE_MODEL:
        path = OPAQUE_PATH
    else:
        check_path(path)
    algorithm, digest = fields.get("algorithm"), fields.get("digest")
    if algorithm != serialization.resource_algorithm:
        raise InvalidEntry(
            f"the algorithm of its resource {quoted(name)} is {quoted(algorithm)},"
            f" not {serialization.resource_algorithm}"
        )
    digits = 2 * DIGEST_BYTES[serialization.algorithm]
    if not isinstance(digest, str) or not re.fullmatch(f"[0-9a-f]{{{digits}}}", digest):
        raise InvalidEntry(
            f"the digest of its resource {quoted(name)} is not {digits} lower-case hexadecimal"
            " digits"
        )
    return Resource(path, start, stop, bytes.fromhex(digest))


def _check_files(resources: Iterable[Resource], shard_bytes: int | None) -> None:
    """Check that each file is listed once, or in shards without a hole or an overlap."""
    files = by_file(resources)
    if not files:
        raise InvalidEntry("it lists no file")
    if OPAQUE_PATH in files and len(files) > 1:
        raise InvalidEntry("a file that is the whole model has nothing beside it")
    for path, parts in files.items():
        name = quoted(path or _WHOLE_MODEL)
        if shard_bytes is None:
            if len(parts) > 1:
                raise InvalidEntry(f"its file {name} occurs twice")
            continue
        # By their number first, which a file's stated size alone could make immense.
        size = parts[-1].stop or 0
        if len(parts) == -(-size // shard_bytes):
            due = divided(path, size, shard_bytes)
            if all(part[:3] == shard[:3] for part, shard in zip(parts, due, strict=True)):
                continue
        raise InvalidEntry(
            f"the shards of its file {name} do not follow each other from its first byte on, each"
            f" of {shard_bytes} bytes but the last"
        )
