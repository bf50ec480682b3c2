"""What an identity is made of: tensors, files, and the parts that are hashed into 32 bytes.

On chain, ``Records.sol`` has the same structures and ``Commitment.sol`` hashes them alike.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Self

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


class _TensorFields(NamedTuple):
    name: str
    dtype: str
    shape: tuple[int, ...]
    digest: bytes
    nbytes: int


class TensorEntry(_TensorFields):
    """One tensor: its name, its safetensors dtype, its shape, and the digest of its bytes.

    ``digest`` is over the contiguous little-endian bytes, of which there are ``nbytes``. A tuple,
    since a model may have a million of them.

    Raises:
        InvalidEntry: on construction, if no tensor can be like this.
    """

    __slots__ = ()

    def __new__(
        cls, name: str, dtype: str, shape: tuple[int, ...], digest: bytes, nbytes: int
    ) -> Self:
        """Check the entry."""
        check_unicode(name, "tensor name")
        _check_digest(digest, name)
        expected = tensor_nbytes(name, dtype, shape)
        if nbytes != expected:
            raise InvalidEntry(
                f"tensor {quoted(name)} of {dtype} and shape {list(shape)} has"
                f" {expected} bytes, not {nbytes}"
            )
        return super().__new__(cls, name, dtype, shape, digest, nbytes)

    @property
    def leaf(self) -> bytes:
        """The leaf hash that ``verifyTensor`` computes on chain."""
        return leaf_hash(abi.encode_tensor(self.name, self.dtype, self.shape, self.digest))


class _FileFields(NamedTuple):
    path: str
    size: int
    sha256: bytes


class FileEntry(_FileFields):
    """One file beside the tensors: its path in the model, its size in bytes, its SHA-256.

    The path is relative, with ``/`` between its parts; ``OPAQUE_PATH`` if the file is the model.

    Raises:
        InvalidEntry: on construction, if no file of a model can be like this.
    """

    __slots__ = ()

    def __new__(cls, path: str, size: int, sha256: bytes) -> Self:
        """Check the entry."""
        if path != OPAQUE_PATH:
            check_path(path)
        _check_digest(sha256, path)
        if not 0 <= size < 2**63:
            raise InvalidEntry(f"file {quoted(path)} cannot have {size} bytes")
        return super().__new__(cls, path, size, sha256)

    @property
    def leaf(self) -> bytes:
        """The leaf hash of the file in the files' tree."""
        return leaf_hash(abi.encode(self.path, self.size, self.sha256))


class WeightsIdentity(NamedTuple):
    """The parts that the identity is the hash of, as the contract's struct of this name."""

    tree_root: bytes
    tensor_count: int
    total_bytes: int
    digest_algorithm: DigestAlgorithm
    files_root: bytes

    @property
    def weights(self) -> bytes:
        """The model's identity: 32 bytes."""
        return keccak256(abi.encode(WEIGHTS_DOMAIN, *self))


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
