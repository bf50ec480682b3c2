"""What a client sends: its weights after training in a file, and its signature of just that.

The file is safetensors in one form only (`tensor_file`): the model's tensors, float32, and
canonical JSON that says what they are. Its SHA-256 is the ``digest`` of the typed data that the
client signs (`ml.chain.signing`, EIP-712), and so the signature holds for every byte of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from ml.chain import signing
from ml.chain.records import Update
from ml.chain.signed_files import UpdateFile
from ml.chain.signing import Domain, Signer
from ml.errors import ModelproofError
from ml.training import canonical
from ml.training.canonical import Digest

from . import tensor_file
from .aggregation import Weights


@dataclass(frozen=True, slots=True)
class UpdateMetadata:
    """What a client states about its update, inside the file."""

    model: Digest
    """The model's id."""
    client: str
    """Its address."""
    epoch: int
    iteration: int
    base: int
    """The version that it started from, 0 for the seeded weights before the first."""
    base_weights: Digest
    """The identity of that version."""
    samples: int
    """That it trained on."""
    correct: int | None = None
    """How many of these its own model then told apart rightly, if it looked."""
    epsilon: float | None = None
    """What this and earlier updates spent of the client's privacy, where that is counted."""
    format: Literal["modelproof.update.v1"] = "modelproof.update.v1"


@dataclass(frozen=True, slots=True)
class UpdateContent:
    """What an update's file holds."""

    metadata: UpdateMetadata
    weights: dict[str, NDArray[np.float32]]


def dump(metadata: UpdateMetadata, weights: Weights) -> bytes:
    """Write an update; equal ones give equal bytes.

    Raises:
        ModelproofError: a tensor is not float32.
    """
    _check_dtypes(weights, "the update")
    return tensor_file.dump(weights, canonical.dump(metadata))


def load(data: bytes, what: str) -> UpdateContent:
    """Read what `dump` wrote; ``what`` names the update in errors.

    Raises:
        ModelproofError: the bytes are anything else.
    """
    arrays, text = tensor_file.load(data, what)
    metadata = canonical.load(UpdateMetadata, text.encode(), f"the metadata of {what}")
    _check_dtypes(arrays, what)
    return UpdateContent(metadata, cast("dict[str, NDArray[np.float32]]", arrays))


def digest_of(data: bytes) -> bytes:
    """What an update's file is known by: its SHA-256, 32 bytes."""
    return hashlib.sha256(data).digest()


def sign(
    signer: Signer, domain: Domain, index: int, metadata: UpdateMetadata, data: bytes
) -> UpdateFile:
    """Sign an update as the client that its metadata names.

    Args:
        signer: the client's account.
        domain: the registry where the model is.
        index: the client's, under which it is enrolled.
        metadata: what the file says of itself.
        data: the file.

    Raises:
        ModelproofError: the account is another, or did not sign.
    """
    if signer.address != metadata.client:
        raise ModelproofError(
            f"the update is that of {metadata.client}, and {signer.address} cannot sign it"
        )
    update = stated(metadata, digest_of(data))
    signature = signing.sign(signer, domain, signing.update_hash(metadata.model, update))
    return UpdateFile(domain, metadata.model, update, index, signer.address, signature, ())


def stated(metadata: UpdateMetadata, digest: bytes) -> Update:
    """What a client signs of an update with this metadata and this file."""
    return Update(metadata.epoch, metadata.iteration, metadata.base, digest, metadata.samples)


def _check_dtypes(tensors: Mapping[str, NDArray[np.generic]], what: str) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype != np.float32:
            raise ModelproofError(f"{what} has a tensor {name!r} of {tensor.dtype}, not float32")
