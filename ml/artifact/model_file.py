"""A model file by its path: its identity, and its bytes once they are known to be right."""

from __future__ import annotations

import os
from typing import Final

from . import opaque, safetensors
from .compare import compare, summarize
from .digests import DigestAlgorithm
from .errors import UnsupportedFormat, WeightsMismatch, quoted_path
from .file_reader import FilePath, FileReader, Progress
from .manifest import Manifest
from .safetensors import Tensor

SAFETENSORS_SUFFIX: Final = ".safetensors"

# Their tensors must have the identity that they would have in a safetensors file, so until they
# can be read, being taken for opaque files would give them a second one.
_REFUSED_SUFFIXES: Final = {
    ".pt": "a torch pickle",
    ".pth": "a torch pickle",
    ".safetensors.index.json": "the index of a sharded model",
}


_PICKLE_SUFFIXES: Final = (".bin", ".ckpt", ".pkl", ".pickle")

_ZIP_MAGIC: Final = b"PK\x03\x04"
_ZIP_HEADER_BYTES: Final = 30
# What torch.save wrote before it wrote zip archives: its magic number, pickled by itself.
_TORCH_MAGIC: Final = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_LOOKED_AT_BYTES: Final = 1024


def is_safetensors(path: FilePath) -> bool:
    """Tell whether a file is read as safetensors or as one opaque file.

    It is by its name, and by its content under any other name: else a copy of a model would have
    a second identity, under which nothing is known of it.

    Raises:
        UnreadableFile: the file is missing, special, or may not be read.
        UnsupportedFormat: a torch pickle, which could run code, or an index of shards.
    """
    name = os.fspath(path).lower()
    for suffix, what in _REFUSED_SUFFIXES.items():
        if name.endswith(suffix):
            raise _unsupported(path, what)
    if name.endswith(SAFETENSORS_SUFFIX):
        return True
    with FileReader(path) as reader:
        size, start = reader.size, reader.read(0, min(reader.size, _LOOKED_AT_BYTES))
    if safetensors.looks_like(start, size):
        return True
    if start.startswith(_TORCH_MAGIC) or _is_torch_archive(start, name):
        raise _unsupported(path, "a torch pickle")
    return False


def _is_torch_archive(start: bytes, name: str) -> bool:
    """Tell by its first entry, or by a name that pickles have, whether a zip archive is torch's.

    Source: "Local file header" in PKWARE's APPNOTE.TXT; torch's archives begin with a data.pkl.
    """
    if not start.startswith(_ZIP_MAGIC):
        return False
    length = int.from_bytes(start[26:28], "little")
    entry = start[_ZIP_HEADER_BYTES : _ZIP_HEADER_BYTES + length]
    return entry.endswith(b"/data.pkl") or name.endswith(_PICKLE_SUFFIXES)


def _unsupported(path: FilePath, what: str) -> UnsupportedFormat:
    return UnsupportedFormat(
        f"{quoted_path(path)} is {what}, which is not read here;"
        " save the tensors as one .safetensors file and use that"
    )


def read_manifest(
    path: FilePath,
    algorithm: DigestAlgorithm = DigestAlgorithm.BLAKE3,
    progress: Progress | None = None,
) -> Manifest:
    """Compute what a model file is, without loading it: memory stays at 1 MiB and the header.

    A safetensors file, by its name or by its content, is parsed strictly and each tensor digested
    with ``algorithm``; any other file is opaque and digested as a whole with SHA-256.

    Args:
        path: the model file.
        algorithm: how tensors are digested; part of the identity.
        progress: called with bytes done and bytes in all, once per MiB and at the end.

    Raises:
        UnreadableFile: the file is missing, special, or may not be read.
        MalformedFile: a safetensors file breaks a rule of its format.
        FileChanged: its size changed while it was read.
        UnsupportedFormat: a torch pickle, which could run code, or an index of shards.
    """
    if is_safetensors(path):
        return safetensors.read_manifest(path, algorithm, progress)
    return opaque.read_manifest(path, progress)


def load_verified(
    path: FilePath,
    weights: bytes,
    algorithm: DigestAlgorithm = DigestAlgorithm.BLAKE3,
    progress: Progress | None = None,
    expected: Manifest | None = None,
) -> dict[str, Tensor]:
    """Load a safetensors file if its tensors are those that ``weights`` stands for.

    Each byte is read once: what is returned is what was digested. ``to_state_dict`` turns it into
    torch tensors without copying.

    Args:
        path: the model file.
        weights: the identity that the tensors must have, 32 bytes.
        algorithm: how the identity's tensors were digested.
        progress: as for ``read_manifest``.
        expected: the manifest with that identity, if at hand, to name what differs.

    Raises:
        WeightsMismatch: the tensors are not those; nothing is returned.
        ArtifactError: ``expected`` uses another digest algorithm than ``algorithm``.
        UnsupportedFormat: not a safetensors file, by its name nor by its content.
        UnreadableFile, MalformedFile, FileChanged: as for ``read_manifest``.
    """
    if not is_safetensors(path):
        raise UnsupportedFormat(
            f"{quoted_path(path)} is not a safetensors file;"
            " load its bytes with load_verified_file instead"
        )
    tensors, manifest = safetensors.load(path, algorithm, progress)
    check_weights(path, manifest, weights, expected)
    return tensors


def load_verified_file(path: FilePath, weights: bytes, progress: Progress | None = None) -> bytes:
    """Load an opaque file, as joblib's, if it is the one that ``weights`` stands for.

    What is returned is what was digested, so it can be unpickled as it is.

    Raises:
        WeightsMismatch: the file is not that one; nothing is returned.
        UnsupportedFormat: a file with a reader of its own.
        UnreadableFile, FileChanged: as for ``read_manifest``.
    """
    if is_safetensors(path):
        raise UnsupportedFormat(
            f"{quoted_path(path)} is a safetensors file; load it with load_verified instead"
        )
    data, manifest = opaque.load(path, progress)
    check_weights(path, manifest, weights)
    return data


def check_weights(
    path: FilePath, actual: Manifest, weights: bytes, expected: Manifest | None = None
) -> None:
    """Check that a manifest just read from ``path`` has the identity ``weights``.

    Raises:
        WeightsMismatch: it has another; the sentence names what differs from ``expected``, if that
            manifest has the identity asked for.
        ArtifactError: that manifest uses another digest algorithm, so the two say nothing about
            each other.
    """
    if actual.weights == weights:
        return
    sentence = (
        f"{quoted_path(path)} is not the expected model:"
        f" its identity is 0x{actual.weights.hex()}, not 0x{weights.hex()}"
    )
    if expected is not None and expected.weights == weights:
        sentence += f"; {summarize(compare(expected, actual))}"
    raise WeightsMismatch(f"{sentence}; get the file again from where it was registered")
