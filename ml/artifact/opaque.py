"""A model file whose inside has no reader here, as joblib's: identified as a whole by SHA-256."""

from __future__ import annotations

from .digests import DigestAlgorithm
from .entries import OPAQUE_PATH, FileEntry
from .file_reader import FilePath, FileReader, Progress, digest_pieces
from .manifest import Manifest
from .parallel import Meter


def read_manifest(path: FilePath, progress: Progress | None = None) -> Manifest:
    """Digest a file, holding 1 MiB of it at a time.

    Its manifest always says SHA-256, so that one file has one identity.

    Raises:
        UnreadableFile: the file is missing, special, or may not be read.
        FileChanged: its size changed while it was read.
    """
    with FileReader(path) as reader:
        meter = Meter(reader.size, progress)
        pieces = meter.count(reader.pieces(0, reader.size))
        digest = digest_pieces(pieces, DigestAlgorithm.SHA256)
        reader.check_size()
        meter.finish()
    return _manifest(reader.size, digest)


def load(path: FilePath, progress: Progress | None = None) -> tuple[bytes, Manifest]:
    """Load a file, with the manifest of the very bytes loaded; errors as for ``read_manifest``."""
    with FileReader(path) as reader:
        meter = Meter(reader.size, progress)
        data = b"".join(map(bytes, meter.count(reader.pieces(0, reader.size))))
        reader.check_size()
        meter.finish()
    return data, _manifest(len(data), digest_pieces([memoryview(data)], DigestAlgorithm.SHA256))


def _manifest(size: int, sha256: bytes) -> Manifest:
    entry = FileEntry(OPAQUE_PATH, size, sha256)
    return Manifest((), (entry,), DigestAlgorithm.SHA256)
