"""Reading an encrypted object as docs/storage.md describes it, with nothing of ours."""

from __future__ import annotations

import hmac
from hashlib import sha256

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def hkdf(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, for SHA-256."""
    extracted = hmac.digest(salt, key, "sha256")
    output, block = b"", b""
    for counter in range(1, -(-length // sha256().digest_size) + 1):
        block = hmac.digest(extracted, block + info + bytes([counter]), "sha256")
        output += block
    return output[:length]


def derived(data: bytes, key: bytes) -> tuple[bytes, bytes]:
    """The key of the segments, and the commitment."""
    both = hkdf(key, data[16:32], b"modelproof.object.v1" + data[:16], 64)
    return both[:32], both[32:]


def plaintext(data: bytes, key: bytes) -> bytes:
    header, body = data[:64], data[64:]
    assert header[:12] == b"\x89MPO\r\n\x1a\n\x01\x01\x00\x00"
    cipher_key, commitment = derived(data, key)
    assert header[32:] == commitment
    step = int.from_bytes(header[12:16], "big") + 16
    segments = [body[i : i + step] for i in range(0, len(body), step)]
    if len(segments[-1]) == step:
        segments.append(b"")
    out = b""
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        nonce = bytes(7) + index.to_bytes(4, "big") + bytes([last])
        out += AESGCM(cipher_key).decrypt(nonce, segment, header)
    return out
