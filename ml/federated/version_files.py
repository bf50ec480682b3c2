"""A version of a federated training as the bytes of its file, and the other way round.

Of a rule that remembers nothing, the file is safetensors as any model's; of one that does, the
archive of a folder in which the rule's memory lies beside the model, so that the version's identity
stands for both. Tensors are numpy arrays, float32; nothing is returned before it is identified.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from ml.artifact import FileEntry, Manifest, TensorEntry, WeightsMismatch, folder_archive
from ml.artifact.digests import DigestAlgorithm
from ml.artifact.errors import MalformedFile
from ml.artifact.file_reader import digest_pieces
from ml.artifact.safetensors import NAME as PLAIN_NAME
from ml.artifact.safetensors import SUFFIX as PLAIN_SUFFIX
from ml.errors import ModelproofError
from ml.training.architectures import Architecture

from . import server_state
from .aggregation import NO_STATE, ServerState, Weights
from .robust import AnyRule, NormClipped
from .run_configuration import RunConfiguration
from .server_optimizers import FedAdam, FedAvgM

MODEL_PATH: Final = "model.safetensors"
STATE_PATH: Final = f"server/{server_state.FILE_NAME}"
"""In a folder of its own: of the safetensors files at the top, one alone can be the model."""

_DTYPE: Final = "F32"
_MOMENTS: Final[Mapping[type, int]] = {FedAvgM: 1, FedAdam: 2}
_HEADER_BYTES: Final = 1 << 16
_TENSOR_HEADER_BYTES: Final = 1 << 10


@dataclass(frozen=True, slots=True)
class VersionFile:
    """The file of a version."""

    data: bytes
    suffix: str
    """Of its name, by which it is read."""
    format: str
    """What the sidecar of its object calls it."""
    manifest: Manifest

    @property
    def weights(self) -> bytes:
        """The version's identity, 32 bytes."""
        return self.manifest.weights


@dataclass(frozen=True, eq=False, slots=True)
class Loaded:
    """What a version's file holds."""

    tensors: dict[str, NDArray[np.float32]]
    state: ServerState
    """What the rule remembers."""


def first_weights(run: RunConfiguration) -> dict[str, NDArray[np.float32]]:
    """The seeded weights that a training starts from: its version 0; errors as `seeded_weights`."""
    return seeded_weights(run.architecture, run.seed)


def seeded_weights(architecture: Architecture, seed: int) -> dict[str, NDArray[np.float32]]:
    """The weights that a seed gives an architecture, equal for all who take part.

    Raises:
        ModelproofError: the architecture is no torch network.
    """
    from ml.training.loop import derive_seed
    from ml.training.networks import build_network
    from ml.training.torch_model import TorchClassifier

    network = build_network(architecture, derive_seed(seed, "initial weights"))
    tensors = TorchClassifier(network, architecture).state_dict()
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def weights_of(tensors: Weights) -> bytes:
    """The identity of tensors without a rule's memory, as of the first weights: 32 bytes."""
    return _manifest(tensors).weights


def remembers(rule: AnyRule) -> bool:
    """Whether a rule has a memory, so that the files of its versions are archives."""
    return _moments(rule) > 0


def size_limit(architecture: Architecture, rule: AnyRule) -> int:
    """How many bytes a version's file has at most.

    Raises:
        ModelproofError: the architecture is no torch network.
    """
    from ml.training.torch_model import tensors_of

    shapes = [shape for shape, _ in tensors_of(architecture).values()]
    one = sum(4 * math.prod(shape) + _TENSOR_HEADER_BYTES for shape in shapes)
    return _HEADER_BYTES + (1 + _moments(rule)) * one


def dump(weights: Weights, state: ServerState, rule: AnyRule) -> VersionFile:
    """Write what a rule made; equal ones give equal bytes.

    Args:
        weights: the model's tensors.
        state: what the rule remembers.
        rule: how they were made.

    Raises:
        ModelproofError: the rule has a memory and there is none, or the other way round.
    """
    if bool(state.moments) is not remembers(rule):
        raise ModelproofError(f"the state is not one that the rule {rule.name} leaves behind")
    ordered = {name: np.asarray(tensor, np.float32, order="C") for name, tensor in weights.items()}
    model = bytes(safetensors.numpy.save(dict(ordered)))
    if not state.moments:
        return VersionFile(model, PLAIN_SUFFIX, PLAIN_NAME, _manifest(ordered))
    memory = server_state.dump(state, rule)
    archive = folder_archive.pack_bytes({MODEL_PATH: model, STATE_PATH: memory})
    suffix, name = folder_archive.SUFFIX, folder_archive.NAME
    return VersionFile(archive, suffix, name, _manifest(ordered, memory))


def load(data: bytes, weights: bytes, rule: AnyRule, architecture: Architecture) -> Loaded:
    """Read what `dump` wrote, if it is the version that ``weights`` stands for.

    Args:
        data: the file.
        weights: the identity that it must have, 32 bytes.
        rule: by which it was made.
        architecture: of the model.

    Raises:
        WeightsMismatch: it is another version, or none; nothing is returned.
        ModelproofError: it is that version, and not of this architecture or this rule.
    """
    model, memory = _parts(data)
    described, manifest = _described(model, memory)
    if manifest.weights != weights:
        raise WeightsMismatch(
            f"the file is not the expected version: its identity is 0x{manifest.weights.hex()}, not"
            f" 0x{weights.hex()}; get it again from where it was stored"
        )
    tensors = _tensors(described, architecture)
    if (memory is not None) is not remembers(rule):
        has, needs = ("no", "one") if memory is None else ("a", "none")
        raise ModelproofError(
            f"the version has {has} server state, and the rule {rule.name} needs {needs}: go on"
            " with the rule that made it"
        )
    if memory is None:
        return Loaded(tensors, NO_STATE)
    return Loaded(tensors, server_state.load(memory, rule, "the version's server state"))


def _parts(data: bytes) -> tuple[bytes, bytes | None]:
    """The bytes of the model's file, and of the rule's memory if there is one."""
    if not folder_archive.looks_like(data[: folder_archive.BLOCK]):
        return data, None
    try:
        files = folder_archive.unpack_bytes(data, "the version's file")
    except MalformedFile as error:
        raise WeightsMismatch(str(error)) from None
    if files.keys() != {MODEL_PATH, STATE_PATH}:
        raise WeightsMismatch(
            f"the version's file is an archive of {', '.join(sorted(files))}, not of {MODEL_PATH}"
            f" and {STATE_PATH}"
        )
    return files[MODEL_PATH], files[STATE_PATH]


def _described(
    model: bytes, memory: bytes | None
) -> tuple[list[tuple[TensorEntry, bytearray]], Manifest]:
    """The tensors in a file with their bytes, and the manifest of just these bytes."""
    try:
        described = [
            (_entry(name, each["dtype"], tuple(each["shape"]), each["data"]), each["data"])
            for name, each in deserialize(model)  # type: ignore[no-untyped-call]
        ]
        entries = [entry for entry, _ in described]
        return described, Manifest(entries, _files(memory))
    except (SafetensorError, ModelproofError) as error:
        raise WeightsMismatch(
            f"the version's file is not a valid safetensors file: {error}; get it again"
        ) from None


def _tensors(
    described: list[tuple[TensorEntry, bytearray]], architecture: Architecture
) -> dict[str, NDArray[np.float32]]:
    import torch

    from ml.training.torch_model import check_tensors

    for entry, _ in described:
        if entry.dtype != _DTYPE:
            raise ModelproofError(f"the tensor {entry.name!r} is of {entry.dtype}, not float32")
    check_tensors(
        architecture, {entry.name: (entry.shape, torch.float32) for entry, _ in described}
    )
    return {
        entry.name: np.frombuffer(data, "<f4").reshape(entry.shape) for entry, data in described
    }


def _manifest(tensors: Weights, memory: bytes | None = None) -> Manifest:
    entries = (
        _entry(name, _DTYPE, tensor.shape, _bytes_of(tensor)) for name, tensor in tensors.items()
    )
    return Manifest(entries, _files(memory))


def _entry(
    name: str, dtype: str, shape: tuple[int, ...], data: bytearray | memoryview
) -> TensorEntry:
    view = memoryview(data)
    digest = digest_pieces([view], DigestAlgorithm.BLAKE3)
    return TensorEntry(name, dtype, shape, digest, view.nbytes)


def _bytes_of(tensor: NDArray[np.float32]) -> memoryview:
    return np.asarray(tensor, "<f4", order="C").reshape(-1).view(np.uint8).data


def _files(memory: bytes | None) -> list[FileEntry]:
    if memory is None:
        return []
    return [FileEntry(STATE_PATH, len(memory), sha256(memory).digest())]


def _moments(rule: AnyRule) -> int:
    """How many tensors a rule remembers for each of the model's."""
    return _MOMENTS.get(type(rule.rule if isinstance(rule, NormClipped) else rule), 0)
