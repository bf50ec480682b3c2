"""The digests that a tensor's bytes can be named by."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Final, Protocol

from blake3 import blake3

DIGEST_BYTES: Final = 32


class DigestAlgorithm(IntEnum):
    """How tensors are digested; part of the identity, with the numbers that go on chain."""

    BLAKE3 = 1
    """BLAKE3-256: several times as fast as SHA-256 on most machines."""
    SHA256 = 2
    """SHA-256 (FIPS 180-4): where policy asks for it, or only a standard library is at hand."""


class Hasher(Protocol):
    """A running digest of 32 bytes."""

    def update(self, data: memoryview, /) -> object:
        """Take more bytes."""
        ...

    def digest(self) -> bytes:
        """Return the digest of all bytes so far."""
        ...


def _sha256() -> Hasher:
    import hashlib  # which loads OpenSSL

    return hashlib.sha256()


_HASHERS: Final[dict[DigestAlgorithm, Callable[[], Hasher]]] = {
    DigestAlgorithm.BLAKE3: blake3,
    DigestAlgorithm.SHA256: _sha256,
}


def new_hasher(algorithm: DigestAlgorithm) -> Hasher:
    """Start a digest."""
    return _HASHERS[algorithm]()
