"""Elliptic-curve keys in PEM, and signatures by them: NIST's curves, with the hash that suits each.

Source: ``_signing/sign_ec_key.py`` of ``model_signing`` 1.1.1.
"""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from ml.artifact.errors import UnusableKey, quoted_path
from ml.artifact.file_reader import FileReader

_HASHES: Final = {
    ec.SECP256R1.name: hashes.SHA256(),
    ec.SECP384R1.name: hashes.SHA384(),
    ec.SECP521R1.name: hashes.SHA512(),
}
_MAX_FILE_BYTES: Final = 1 << 16


def read_private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a private key in PEM.

    Raises:
        UnusableKey: it is none, of another curve, encrypted, or others than its owner may read it.
        UnreadableFile, FileChanged: as for ``FileReader``.
    """
    data = _read(path)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UnusableKey(
            f"{quoted_path(path)} holds a secret that others than its owner may read: `chmod 600`"
            " it, and replace the key if somebody may have seen it"
        )
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        raise UnusableKey(
            f"{quoted_path(path)} is encrypted: decrypt it (`openssl pkey`), and keep it where only"
            " you can read it"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise _unusable(path, "private") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _HASHES:
        raise _unusable(path, "private")
    return key


def read_public_key(path: Path) -> ec.EllipticCurvePublicKey:
    """Read a public key in PEM.

    Raises:
        UnusableKey: it is none, or of another curve.
        UnreadableFile, FileChanged: as for ``FileReader``.
    """
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm):
        raise _unusable(path, "public") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise _unusable(path, "public")
    return key


def hint_of(key: ec.EllipticCurvePublicKey) -> str:
    """What bundles know a public key by: the SHA-256 of its PEM."""
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """Sign, by ECDSA in DER."""
    return key.sign(data, ec.ECDSA(_HASHES[key.curve.name]))


def is_signed(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> bool:
    """Tell whether a signature is that of the key over the data."""
    try:
        key.verify(signature, data, ec.ECDSA(_HASHES[key.curve.name]))
    except InvalidSignature:
        return False
    return True


def _read(path: Path) -> bytes:
    with FileReader(path) as reader:
        return reader.read(0, min(reader.size, _MAX_FILE_BYTES))


def _unusable(path: Path, kind: str) -> UnusableKey:
    return UnusableKey(
        f"{quoted_path(path)} is not a {kind} key in PEM of the curve P-256, P-384 or P-521"
    )
