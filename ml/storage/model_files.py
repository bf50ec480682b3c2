"""A model's files in a local folder, each under a name that says which version it is.

``<root>/<model>/v<version>-<weights>.safetensors`` (or another suffix) is the artifact,
``….manifest.json`` beside it its manifest, ``….json`` how it came about. The first eight hex digits
of the weights identity are in the name, so that versions of another chain's model of the same name
are never overwritten. Nothing here is trusted: a manifest must reproduce the identity that it is
asked for, and a file is verified before it is used.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ml import files
from ml.artifact import Manifest, open_model, read_manifest
from ml.artifact.digests import DigestAlgorithm
from ml.artifact.folder_archive import SUFFIX as ARCHIVE_SUFFIX
from ml.artifact.folder_archive import pack
from ml.artifact.safetensors import SUFFIX as SAFETENSORS_SUFFIX
from ml.artifact.safetensors_writer import save
from ml.errors import ModelproofError, NotVerified

DEFAULT_ROOT: Final = Path("artifacts")
MANIFEST_SUFFIX: Final = ".manifest.json"
METADATA_SUFFIX: Final = ".json"
_ID_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """Where the files of one version are, or would be."""

    artifact: Path

    @property
    def manifest(self) -> Path:
        """What the artifact's tensors and files are."""
        return self.artifact.with_name(self.artifact.stem + MANIFEST_SUFFIX)

    @property
    def metadata(self) -> Path:
        """How the artifact came about."""
        return self.artifact.with_name(self.artifact.stem + METADATA_SUFFIX)


class ModelFiles:
    """The files of all models below one folder."""

    def __init__(self, root: Path = DEFAULT_ROOT) -> None:
        self.root = root

    def place(self, model: str, version: int, weights: bytes, suffix: str) -> StoredVersion:
        """Where the files of a version belong; nothing is written.

        An artifact without a suffix, or with the one of its metadata, gets ``.bin``.
        """
        kept_suffix = ".bin" if suffix in ("", METADATA_SUFFIX) else suffix
        name = f"v{version}-{_short(weights)}{kept_suffix}"
        return StoredVersion(self.root / _folder_name(model) / name)

    def find(self, weights: bytes, version: int | None = None) -> StoredVersion | None:
        """The first of `find_all`, or None."""
        return next(self.find_all(weights, version), None)

    def find_all(self, weights: bytes, version: int | None = None) -> Iterator[StoredVersion]:
        """The versions that are kept under the name of these weights and whose artifact is here.

        Those named after ``version`` come first: two versions may have the same weights, and each
        has its own metadata. Their names say so and nothing else: verify a file before using it.
        """
        name = re.compile(rf"v\d+-{_short(weights)}\.[^.]+")
        named = sorted(self._named(weights), key=lambda at: not at.name.startswith(f"v{version}-"))
        for path in named:
            if name.fullmatch(path.name) and path.suffix != METADATA_SUFFIX and path.is_file():
                yield StoredVersion(path)

    def manifest(self, weights: bytes) -> Manifest | None:
        """The manifest of these weights, if it is here, whether the artifact is or not."""
        for path in self._named(weights):
            if path.name.endswith(MANIFEST_SUFFIX) and (manifest := _reproducing(path, weights)):
                return manifest
        return None

    def keep(
        self, model: str, version: int, source: Path, manifest: Manifest, key: str | None = None
    ) -> StoredVersion:
        """Copy an artifact and its manifest to where they belong; of a folder, its archive.

        Args:
            model: the model's name
            version: its version
            source: the artifact
            manifest: its manifest
            key: the entry of a checkpoint that is the model, which is kept alone, as a safetensors
                file: nobody has to be told the key again

        Raises:
            NotVerified: the file has changed since its manifest was made.
            UnsupportedFormat: no safetensors file can hold the entry.
        """
        suffix = ARCHIVE_SUFFIX if source.is_dir() else source.suffix
        if key is not None:
            suffix = SAFETENSORS_SUFFIX
        stored = self.place(model, version, manifest.weights, suffix)
        if not (stored.artifact.exists() and stored.artifact.samefile(source)):
            copy_verified(source, stored.artifact, manifest.weights, key)
        self.keep_manifest(stored, manifest)
        return stored

    def is_own(self, stored: StoredVersion, model: str, version: int, weights: bytes) -> bool:
        """Whether files that were found here are in the place of this version of this model."""
        return stored == self.place(model, version, weights, stored.artifact.suffix)

    def keep_manifest(self, stored: StoredVersion, manifest: Manifest) -> None:
        """Write a manifest beside its artifact."""
        files.write_text(stored.manifest, manifest.to_json())

    def _named(self, weights: bytes) -> list[Path]:
        """The files whose names carry the first digits of these weights."""
        return sorted(self.root.glob(f"*/v*-{_short(weights)}.*"))


def copy_verified(source: Path, target: Path, weights: bytes, key: str | None = None) -> Manifest:
    """Copy a file, or pack a folder, and check the copy before it takes its name.

    Of a checkpoint of which ``key`` names the entry that is the model, that one is copied alone.

    Returns:
        the copy's manifest

    Raises:
        NotVerified: the copy does not have these weights; ``target`` is left as it was.
    """
    with files.replacing(target) as temporary:
        if key is not None:
            with open_model(source, key=key) as chosen:
                save(chosen, temporary)
        elif source.is_dir():
            pack(source, temporary)
        else:
            shutil.copyfile(source, temporary)
        manifest = manifest_of(temporary, weights)
        if manifest is None:
            raise NotVerified(f"{source} does not have the weights that it is kept as")
    return manifest


def manifest_of(path: Path, weights: bytes) -> Manifest | None:
    """The manifest of a file that has this identity, however its tensors are digested in it."""
    for algorithm in DigestAlgorithm:
        try:
            manifest = read_manifest(path, algorithm)
        except ModelproofError:  # a damaged file may not even parse
            return None
        if manifest.weights == weights:
            return manifest
    return None


def has_identity(path: Path, weights: bytes) -> bool:
    """Whether a file has these weights; one that cannot be read has not."""
    return manifest_of(path, weights) is not None


def copy_with_digest(source: Path, target: Path, sha256: bytes) -> None:
    """Copy a file and check the copy's SHA-256 before it takes its name.

    Raises:
        NotVerified: the copy has another; ``target`` is left as it was.
    """
    with files.replacing(target) as temporary:
        shutil.copyfile(source, temporary)
        if not has_digest(temporary, sha256):
            raise NotVerified(f"{source} does not have the SHA-256 {sha256.hex()}")


def has_digest(path: Path, sha256: bytes) -> bool:
    """Whether there is such a file and its bytes have this SHA-256."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).digest() == sha256


def _reproducing(path: Path, weights: bytes) -> Manifest | None:
    """The manifest in a file, if it is one of these weights."""
    if not path.is_file():
        return None
    try:
        manifest = Manifest.from_json(path.read_bytes())
    except ModelproofError:
        return None
    return manifest if manifest.weights == weights else None


def _folder_name(model: str) -> str:
    """A model's name as a folder's: other characters than these could leave the root."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", model).lstrip(".") or "_"


def _short(weights: bytes) -> str:
    return weights[:_ID_BYTES].hex()
