"""A model file whose inside has no reader here, as joblib's: identified as a whole by SHA-256."""

from __future__ import annotations

import hashlib

from .digests import DigestAlgorithm
from .entries import OPAQUE_PATH, FileEntry
from .file_reader import FilePath, FileReader, Progress
from .manifest import Manifest


def read_manifest(path: FilePath, progress: Progress | None = None) -> Manifest:
    """Digest a file, holding 1 MiB of it at a time.

    Its manifest always says SHA-256, so that one file has one identity.

    Raises:
        UnreadableFile: the file is missing, special, or may not be read.
        FileChanged: its size changed while it was read.
    """
    with FileReader(path, progress) as reader:
        digest = reader.digest(0, reader.size, DigestAlgorithm.SHA256)
        reader.finish()
    return _manifest(reader.size, digest)


def load(path: FilePath, progress: Progress | None = None) -> tuple[bytes, Manifest]:
    """Load a file, with the manifest of the very bytes loaded; errors as for ``read_manifest``."""
    with FileReader(path, progress) as reader:
        data = reader.read(0, reader.size)
        reader.finish()
    return data, _manifest(len(data), hashlib.sha256(data).digest())


def _manifest(size: int, sha256: bytes) -> Manifest:
    entry = FileEntry(OPAQUE_PATH, size, sha256)
    return Manifest((), (entry,), DigestAlgorithm.SHA256)
