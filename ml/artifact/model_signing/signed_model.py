"""Signing the files of a model, and telling whether files are those that were signed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ml.artifact.differences import DifferenceKind
from ml.artifact.entries import OPAQUE_PATH
from ml.artifact.errors import (
    AmbiguousModel,
    InvalidEntry,
    MalformedFile,
    WrongSigner,
    quoted,
    quoted_path,
)
from ml.artifact.file_reader import FileReader, Progress
from ml.artifact.spans import ModelFile
from ml.artifact.strict_json import StrictJsonError

from . import bundle, keys, statement
from .bundle import MAX_BUNDLE_BYTES, Bundle, pre_authentication_encoding
from .resources import Resource, Serialization, by_file, digested, files_of, resources_of
from .statement import Statement


class FileDifference(NamedTuple):
    """A file that is not as it was signed."""

    kind: DifferenceKind
    """MISSING, ADDED or CHANGED."""
    path: str

    def __str__(self) -> str:
        """Say it in a clause, as ``file 'config.json' is missing``."""
        subject = "the file itself" if self.path == OPAQUE_PATH else f"file {quoted(self.path)}"
        return f"{subject} {_PREDICATES[self.kind]}"


_PREDICATES = {
    DifferenceKind.MISSING: "is missing",
    DifferenceKind.ADDED: "was added",
    DifferenceKind.CHANGED: "changed",
}


class Verdict(NamedTuple):
    """How a model compares with a bundle whose signature is good."""

    statement: Statement
    """What was signed."""
    differences: list[FileDifference]
    """Empty if the model is the one that was signed; in the order of paths."""


def sign_model(
    model: Path,
    private_key: Path,
    serialization: Serialization | None = None,
    progress: Progress | None = None,
) -> str:
    """Sign the files of a model.

    Args:
        model: a folder, or one file.
        private_key: in PEM, of the curve P-256, P-384 or P-521, readable by its owner alone.
        serialization: how files are counted and digested; whole, by SHA-256, unless given.
        progress: called with bytes done and bytes in all, once per MiB or so and at the end.

    Returns:
        the bundle's text.

    Raises:
        UnusableKey: the key is no such one.
        AmbiguousModel: there is no file to sign.
        UnreadableFile: a file is missing, special or a link, or may not be read.
        InvalidEntry, UnsupportedFormat: a file's name cannot be written down.
        FileChanged: a file's size changed while it was read.
    """
    key = keys.read_private_key(private_key)
    chosen = serialization or Serialization()
    files = files_of(model, chosen)
    resources = digested(files, resources_of(files, chosen.shard_bytes), chosen, progress)
    if not resources:
        raise AmbiguousModel(f"there is nothing in {quoted_path(model)} to sign")
    name = model.name if model.name not in ("", "..") else model.resolve().name
    payload = statement.dumps(Statement(name, chosen, tuple(resources)))
    signature = keys.sign(key, pre_authentication_encoding(payload))
    return bundle.dumps(Bundle(payload, signature, keys.hint_of(key.public_key())))


def verify_model(
    model: Path, bundle_path: Path, public_key: Path, progress: Progress | None = None
) -> Verdict:
    """Compare the files of a model with what was signed; the signature is checked before all else.

    What the signer left out is left out here too, and so is the bundle itself; links are followed
    if the signer followed them.

    Args:
        model: a folder, or one file.
        bundle_path: the bundle.
        public_key: of the signer, in PEM.
        progress: called with bytes done and bytes in all, once per MiB or so and at the end.

    Raises:
        WrongSigner: the signature is not that of the key.
        MalformedFile: the bundle breaks a rule of its format.
        UnsupportedFormat: it is signed otherwise than by a key.
        UnusableKey: the key is none that signs bundles.
        UnreadableFile, InvalidEntry, FileChanged: as for `sign_model`.
    """
    signed = _read_signed(bundle_path, public_key)
    ignored = (*signed.serialization.ignored, *path_inside(bundle_path, model))
    serialization = signed.serialization._replace(ignored=ignored)
    files = files_of(model, serialization)
    differences = _compare(files, signed.resources, serialization, progress)
    return Verdict(signed, differences)


def path_inside(path: Path, model: Path) -> tuple[str, ...]:
    """A file's path in the folder of a model; nothing if it is elsewhere."""
    below = os.path.relpath(path.resolve(), model.resolve())
    return () if below in (".", "..") or below.startswith("../") else (below,)


def _read_signed(path: Path, public_key: Path) -> Statement:
    """Read what a bundle says, once it is known who says it."""
    key = keys.read_public_key(public_key)
    try:
        with FileReader(path) as reader:
            if reader.size > MAX_BUNDLE_BYTES:
                raise InvalidEntry(f"it has {reader.size} bytes, more than {MAX_BUNDLE_BYTES}")
            found = bundle.loads(reader.read(0, reader.size))
        if found.key_hint not in ("", keys.hint_of(key)):
            raise WrongSigner(
                f"{quoted_path(path)} was signed with another key than {quoted_path(public_key)}",
                data={"verified": False},
            )
        signed = pre_authentication_encoding(found.payload)
        if not keys.is_signed(key, found.signature, signed):
            raise WrongSigner(
                f"the signature in {quoted_path(path)} is not that of {quoted_path(public_key)}"
                " over what it holds",
                data={"verified": False},
            )
        return statement.loads(found.payload)
    except (InvalidEntry, StrictJsonError) as error:
        raise MalformedFile(path, str(error), "Model Signing bundle") from None


def _compare(
    files: Sequence[ModelFile],
    resources: Sequence[Resource],
    serialization: Serialization,
    progress: Progress | None,
) -> list[FileDifference]:
    """What differs; of files that are there, those are read that have the size that was signed."""
    there = {file.path: file for file in files}
    expected = by_file(resources)
    kinds = dict.fromkeys(expected.keys() - there.keys(), DifferenceKind.MISSING)
    to_read: list[Resource] = []
    for path, file in there.items():
        parts = expected.get(path)
        if parts is None:
            # An empty file has no shard, so that nothing was signed about one.
            if file.size or serialization.shard_bytes is None:
                kinds[path] = DifferenceKind.ADDED
        elif parts[-1].stop not in (None, file.size):
            kinds[path] = DifferenceKind.CHANGED
        else:
            to_read += parts
    for was, now in zip(to_read, digested(files, to_read, serialization, progress), strict=True):
        if was != now:
            kinds[was.path] = DifferenceKind.CHANGED
    return [FileDifference(kinds[path], path) for path in sorted(kinds)]
