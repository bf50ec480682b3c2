"""Keys made for tests, in files as users have them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)


class KeyPair(NamedTuple):
    """Files with a private and a public key."""

    private: Path
    public: Path


def key_pair(folder: Path, curve: ec.EllipticCurve | None = None, name: str = "key") -> KeyPair:
    """Make a key of a curve, P-256 unless given, and write both parts of it."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    pair = KeyPair(folder / f"{name}.pem", folder / f"{name}.pub.pem")
    pair.private.touch(mode=0o600)
    pair.private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    pair.public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return pair
