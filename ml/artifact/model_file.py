"""A model by its path: its identity, and its bytes once they are known to be right."""

from __future__ import annotations

from collections.abc import Sequence

from . import opaque
from .digests import DigestAlgorithm
from .errors import UnsupportedFormat, WeightsMismatch, quoted_path
from .file_reader import FilePath, FileReader, Progress
from .formats import format_of
from .manifest import Manifest
from .model import open_model
from .spans import Tensor


def read_manifest(
    path: FilePath,
    algorithm: DigestAlgorithm = DigestAlgorithm.BLAKE3,
    progress: Progress | None = None,
    *,
    key: str | None = None,
    tensors: str | None = None,
    ignore: Sequence[str] = (),
) -> Manifest:
    """Compute what a model is, without loading it: memory stays at 1 MiB a processor.

    Of a safetensors file, a torch checkpoint or shards of either, each tensor is digested with
    ``algorithm``; the other files of a folder, and any other file, as a whole with SHA-256.

    Args:
        path: the model; see `open_model`, also for ``key``, ``tensors`` and ``ignore``.
        algorithm: how tensors are digested; part of the identity.
        progress: called with bytes done and bytes in all, once per MiB or so and at the end.

    Raises:
        UnreadableFile: a file is missing, special, or may not be read.
        MalformedFile: a file breaks a rule of its format.
        FileChanged: a file's size changed while it was read.
        UnsafePickle, UnsupportedFormat, AmbiguousModel: as for `open_model`.
    """
    with open_model(path, key=key, tensors=tensors, ignore=ignore) as model:
        return model.manifest(algorithm, progress)


def load_verified(
    path: FilePath,
    weights: bytes,
    algorithm: DigestAlgorithm = DigestAlgorithm.BLAKE3,
    progress: Progress | None = None,
    expected: Manifest | None = None,
    *,
    key: str | None = None,
    tensors: str | None = None,
    ignore: Sequence[str] = (),
) -> dict[str, Tensor]:
    """Load a model's tensors, if it is the one that ``weights`` stands for.

    What is returned is what was digested: each byte is read once.

    Args:
        path: the model; see `open_model`, also for ``key``, ``tensors`` and ``ignore``.
        weights: the identity that it must have, 32 bytes.
        algorithm: how tensors are digested in that identity.
        progress: as for ``read_manifest``.
        expected: the manifest with that identity, if at hand, to name what differs.

    Raises:
        WeightsMismatch: the model is another; nothing is returned.
        ArtifactError: ``expected`` uses another digest algorithm than ``algorithm``.
        UnsupportedFormat: an opaque file, besides the reasons of `open_model`.
        UnreadableFile, MalformedFile, FileChanged: as for ``read_manifest``.
    """
    with open_model(path, key=key, tensors=tensors, ignore=ignore) as model:
        if model.layout.format == "opaque":
            raise UnsupportedFormat(
                f"{quoted_path(path)} has no tensors that can be read;"
                " load its bytes with load_verified_file instead"
            )
        loaded, manifest = model.load(algorithm, progress)
    check_weights(path, manifest, weights, expected)
    return loaded


def load_verified_file(path: FilePath, weights: bytes, progress: Progress | None = None) -> bytes:
    """Load an opaque file, as joblib's, if it is the one that ``weights`` stands for.

    What is returned is what was digested, so it can be unpickled as it is.

    Raises:
        WeightsMismatch: the file is not that one; nothing is returned.
        UnsupportedFormat: a file with a reader of its own.
        UnreadableFile, FileChanged: as for ``read_manifest``.
    """
    with FileReader(path) as reader:
        file_format = format_of(reader)
    if file_format is not None:
        raise UnsupportedFormat(
            f"{quoted_path(path)} is a {file_format.NAME} file; load it with load_verified instead"
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
        from .differences import compare, summarize

        sentence += f"; {summarize(compare(expected, actual))}"
    raise WeightsMismatch(f"{sentence}; get the file again from where it was registered")
