"""What an identity is made of: tensors, files, and the parts that are hashed into 32 bytes.

On chain, ``Records.sol`` has the same structures and ``Commitment.sol`` hashes them alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from . import abi
from .digests import DIGEST_BYTES, DigestAlgorithm
from .dtypes import tensor_nbytes
from .errors import InvalidEntry, quoted
from .keccak import keccak256

WEIGHTS_DOMAIN: Final = keccak256(b"modelproof.weights.v1")
"""Tags the identity and its format version, as ``Commitment.sol`` does."""

OPAQUE_PATH: Final = ""
"""The path of a file that is the whole model, so that renaming it does not change its identity."""


def leaf_hash(encoded: bytes) -> bytes:
    """Hash twice, as StandardMerkleTree does, so that no inner node can be taken for a leaf."""
    return keccak256(keccak256(encoded))


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor: its name, its safetensors dtype, its shape, and the digest of its bytes.

    ``digest`` is over the contiguous little-endian bytes, of which there are ``nbytes``.

    Raises:
        InvalidEntry: on construction, if no tensor can be like this.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    digest: bytes
    nbytes: int

    def __post_init__(self) -> None:
        """Check the entry."""
        check_unicode(self.name, "tensor name")
        _check_digest(self.digest, self.name)
        expected = tensor_nbytes(self.name, self.dtype, self.shape)
        if self.nbytes != expected:
            raise InvalidEntry(
                f"tensor {quoted(self.name)} of {self.dtype} and shape {list(self.shape)} has"
                f" {expected} bytes, not {self.nbytes}"
            )

    @property
    def leaf(self) -> bytes:
        """The leaf hash that ``verifyTensor`` computes on chain."""
        return leaf_hash(abi.encode_tensor(self.name, self.dtype, self.shape, self.digest))


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file beside the tensors: its path in the model, its size in bytes, its SHA-256.

    The path is relative, with ``/`` between its parts; ``OPAQUE_PATH`` if the file is the model.

    Raises:
        InvalidEntry: on construction, if no file of a model can be like this.
    """

    path: str
    size: int
    sha256: bytes

    def __post_init__(self) -> None:
        """Check the entry."""
        if self.path != OPAQUE_PATH:
            check_path(self.path)
        _check_digest(self.sha256, self.path)
        if not 0 <= self.size < 2**63:
            raise InvalidEntry(f"file {quoted(self.path)} cannot have {self.size} bytes")

    @property
    def leaf(self) -> bytes:
        """The leaf hash of the file in the files' tree."""
        return leaf_hash(abi.encode(self.path, self.size, self.sha256))


@dataclass(frozen=True, slots=True)
class WeightsIdentity:
    """The parts that the identity is the hash of, as the contract's struct of this name."""

    tree_root: bytes
    tensor_count: int
    total_bytes: int
    digest_algorithm: DigestAlgorithm
    files_root: bytes

    @property
    def weights(self) -> bytes:
        """The model's identity: 32 bytes."""
        return keccak256(
            abi.encode(
                WEIGHTS_DOMAIN,
                self.tree_root,
                self.tensor_count,
                self.total_bytes,
                self.digest_algorithm,
                self.files_root,
            )
        )


def check_unicode(text: str, what: str) -> None:
    """Refuse text that only JSON's escapes or a file system can produce.

    Raises:
        InvalidEntry: the text holds a lone surrogate, so that UTF-8 cannot write it.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidEntry(f"{what} {quoted(text)} cannot be written as UTF-8") from None


def check_path(path: str) -> None:
    """Refuse a path that is not one of a file inside a model's folder, on any system.

    Raises:
        InvalidEntry: it leads elsewhere, or UTF-8 cannot write it.
    """
    check_unicode(path, "file path")
    if "\0" in path or "\\" in path or not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise InvalidEntry(f"file path {quoted(path)} does not stay inside the model")


def _check_digest(digest: bytes, name: str) -> None:
    if len(digest) != DIGEST_BYTES:
        raise InvalidEntry(f"the digest of {quoted(name)} has {len(digest)} bytes, not 32")
