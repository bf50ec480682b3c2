"""Validators' and clients' keys, and the signatures that tests need by the thousand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from eth_keys import keys

from ml.artifact.keccak import keccak256
from ml.chain.records import Signature
from ml.chain.signing import Domain, signing_hash

ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of the group of secp256k1."""
PARITY: Final = 1 << 255


@dataclass(frozen=True)
class Key:
    """A key that signs with one and the same nonce: ten thousand times as fast, and never secret.

    Whoever sees two such signatures can compute the key (SEC 1, section 4.1.3).
    """

    secret: int
    address: str
    nonce: int
    r: int
    odd: bool
    """Whether the point that the nonce gives has an odd y."""

    def sign(self, domain: Domain, struct_hash: bytes) -> Signature:
        """What `ml.chain.signing.sign` gives with a real account."""
        return self.sign_hash(signing_hash(domain, struct_hash))

    def sign_hash(self, digest: bytes) -> Signature:
        """Sign 32 bytes."""
        number = int.from_bytes(digest)
        s = pow(self.nonce, -1, ORDER) * (number + self.r * self.secret) % ORDER
        high = s > ORDER // 2
        s = ORDER - s if high else s
        return compact(self.r, s, self.odd != high)


def key_that_signs(digest: bytes, s: int) -> Key:
    """A key whose signature of these 32 bytes has this s before it is brought into the lower half.

    With the nonce given, an ECDSA signature is a linear equation that any of its parts solves.
    """
    like = key("solved for")
    number = int.from_bytes(digest)
    return _key((s * like.nonce - number) * pow(like.r, -1, ORDER) % ORDER, like.nonce)


def compact(r: int, s: int, odd: bool) -> Signature:
    """A signature in the form of EIP-2098."""
    return Signature(r.to_bytes(32, "big"), (s | (PARITY if odd else 0)).to_bytes(32, "big"))


@cache
def key(name: str) -> Key:
    """The key of this name."""
    secret, nonce = (keccak256(f"{what} {name}".encode()) for what in ("secret", "nonce"))
    return _key(int.from_bytes(secret) % ORDER, int.from_bytes(nonce) % ORDER)


def _key(secret: int, nonce: int) -> Key:
    point = keys.PrivateKey(nonce.to_bytes(32, "big")).public_key.to_bytes()
    public = keys.PrivateKey(secret.to_bytes(32, "big")).public_key
    x, y = int.from_bytes(point[:32]), int.from_bytes(point[32:])
    assert x < ORDER
    return Key(secret, public.to_checksum_address(), nonce, x, y % 2 == 1)


def ring(name: str, count: int) -> list[Key]:
    """Several keys, in the order of their addresses."""
    return ascending([key(f"{name} {number}") for number in range(count)])


def ascending(signers: Sequence[Any]) -> list[Any]:
    """Signers in the order in which the registry takes their signatures."""
    return sorted(signers, key=lambda signer: int(signer.address, 16))


LOWEST_HIGH_S: Final = ORDER // 2 + 1
SPOILT: Final[dict[str, Callable[[Signature], Signature]]] = {
    "s in the upper half": lambda true: replace(true, vs=LOWEST_HIGH_S.to_bytes(32, "big")),
    "zero r": lambda true: replace(true, r=bytes(32)),
    "r beyond the group": lambda true: replace(true, r=ORDER.to_bytes(32, "big")),
    "zero s": lambda true: replace(true, vs=bytes(32)),
    "all zero": lambda _: Signature(bytes(32), bytes(32)),
    "all ones": lambda _: Signature(b"\xff" * 32, b"\xff" * 32),
}
"""What makes of a signature one that nobody can have made."""
