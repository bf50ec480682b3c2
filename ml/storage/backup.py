"""Copies of a model's files, each verified before it is kept, and put back the same way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ml.artifact import Manifest
from ml.errors import NotVerified

from .model_files import (
    ModelFiles,
    StoredVersion,
    copy_verified,
    copy_with_digest,
    has_digest,
    manifest_of,
)


class Outcome(Enum):
    """What became of one version."""

    COPIED = "copied"
    PRESENT = "already there"
    MISSING = "missing"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class RecordedVersion:
    """What the chain says of one version's files.

    ``metadata_digest`` is the SHA-256 of the metadata, None for a version that states none, as one
    that was trained elsewhere.
    """

    number: int
    weights: bytes
    metadata_digest: bytes | None


@dataclass(frozen=True, slots=True)
class CopiedVersion:
    """One version, what became of it, and the file that it is about (None if there is none)."""

    version: int
    outcome: Outcome
    path: Path | None


def copy_versions(
    source: ModelFiles, target: ModelFiles, model: str, versions: Iterable[RecordedVersion]
) -> list[CopiedVersion]:
    """Copy the files of some versions, each version's under its own name.

    A version is its artifact and the metadata that it states, with a manifest made of the artifact:
    it is copied whole or not at all. Files in ``target`` stay if all are right, and are replaced if
    one is not; damaged ones in ``source`` are not copied, nor is metadata that no version states.

    Args:
        source: where the files are
        target: where they should be
        model: the model's name, for its folder
        versions: what the chain says of each
    """
    return [_copy(source, target, model, version) for version in versions]


def _copy(
    source: ModelFiles, target: ModelFiles, model: str, version: RecordedVersion
) -> CopiedVersion:
    number, weights = version.number, version.weights
    for there in target.find_all(weights, number):
        if not target.is_own(there, model, number, weights) or not _has_metadata(there, version):
            continue
        if manifest := manifest_of(there.artifact, weights):
            if target.manifest(weights) is None:
                target.keep_manifest(there, manifest)
            return CopiedVersion(number, Outcome.PRESENT, there.artifact)
    faulty = None
    for found in source.find_all(weights, number):
        wanted = target.place(model, number, weights, found.artifact.suffix)
        copied = _copy_files(found, wanted, version)
        if isinstance(copied, Manifest):
            target.keep_manifest(wanted, copied)
            return CopiedVersion(number, Outcome.COPIED, wanted.artifact)
        # another version with the same weights has metadata of its own: that is no damage
        if source.is_own(found, model, number, weights):
            faulty = copied
    outcome = Outcome.DAMAGED if faulty and faulty.exists() else Outcome.MISSING
    return CopiedVersion(number, outcome, faulty)


def _has_metadata(stored: StoredVersion, version: RecordedVersion) -> bool:
    """Whether the metadata is what the version states, which may be nothing."""
    digest = version.metadata_digest
    return digest is None or has_digest(stored.metadata, digest)


def _copy_files(
    found: StoredVersion, wanted: StoredVersion, version: RecordedVersion
) -> Manifest | Path:
    """Copy an artifact and its metadata.

    Returns:
        the artifact's manifest, or the file that is not right
    """
    if not _has_metadata(found, version):
        return found.metadata
    try:
        manifest = copy_verified(found.artifact, wanted.artifact, version.weights)
    except NotVerified:
        return found.artifact
    if version.metadata_digest is not None:
        try:
            copy_with_digest(found.metadata, wanted.metadata, version.metadata_digest)
        except NotVerified:  # it changed since it was read
            return found.metadata
    return manifest
