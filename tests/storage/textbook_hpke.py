"""HPKE in base mode with DHKEM(X25519, HKDF-SHA256), as RFC 9180 has it, with nothing of ours."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

AES_128_GCM, AES_256_GCM = 1, 2
KEM_SUITE = b"KEM" + (0x0020).to_bytes(2, "big")
KEY_BYTES = {AES_128_GCM: 16, AES_256_GCM: 32}


@dataclass(frozen=True)
class Context:
    shared_secret: bytes
    key: bytes
    base_nonce: bytes
    exporter_secret: bytes

    def open(self, aad: bytes, sealed: bytes) -> bytes:
        """The first message."""
        return AESGCM(self.key).decrypt(self.base_nonce, sealed, aad)


def labeled_extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")


def labeled_expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    assert length <= sha256().digest_size
    labeled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(prk, labeled + b"\x01", "sha256")[:length]


def receive(enc: bytes, private: X25519PrivateKey, info: bytes, aead: int) -> Context:
    """SetupBaseR."""
    dh = private.exchange(X25519PublicKey.from_public_bytes(enc))
    kem_context = enc + private.public_key().public_bytes_raw()
    eae_prk = labeled_extract(KEM_SUITE, b"", b"eae_prk", dh)
    shared = labeled_expand(KEM_SUITE, eae_prk, b"shared_secret", kem_context, 32)
    suite = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (0x0020, 0x0001, aead))
    psk_id_hash = labeled_extract(suite, b"", b"psk_id_hash", b"")
    context = b"\x00" + psk_id_hash + labeled_extract(suite, b"", b"info_hash", info)
    secret = labeled_extract(suite, shared, b"secret", b"")
    return Context(
        shared,
        labeled_expand(suite, secret, b"key", context, KEY_BYTES[aead]),
        labeled_expand(suite, secret, b"base_nonce", context, 12),
        labeled_expand(suite, secret, b"exp", context, 32),
    )
