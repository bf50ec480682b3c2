"""An encrypted object and its sidecar, in short segments, for tests to damage."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ml.storage.access import make_sidecar, open_sidecar
from ml.storage.cid import Cid
from ml.storage.encryption import HEADER_BYTES, MIN_SEGMENT_BYTES, TAG_BYTES, Encryption, decrypt
from ml.storage.keys import MIN_LOG2_N, Key, MasterKey, Passphrase, PrivateKey, Recipient
from ml.storage.naming import name
from ml.storage.sidecar import Payload, Sidecar

SHORT = MIN_SEGMENT_BYTES
PLAINTEXT = hashlib.shake_128(b"plaintext").digest(4 * SHORT + 10)
SEALED = SHORT + TAG_BYTES
PAYLOAD = Payload("safetensors", "zstd")


@dataclass(frozen=True)
class Sealed:
    """An object, its key, and its sidecar."""

    data: bytes
    key: bytes
    sidecar: Sidecar

    @property
    def cid(self) -> Cid:
        return self.sidecar.stored.cid

    @property
    def segments(self) -> list[bytes]:
        body = self.data[HEADER_BYTES:]
        return [body[start : start + SEALED] for start in range(0, len(body), SEALED)]

    def with_segments(self, segments: Sequence[bytes]) -> bytes:
        return self.data[:HEADER_BYTES] + b"".join(segments)


def sealed(recipients: Sequence[Recipient], plaintext: bytes = PLAINTEXT) -> Sealed:
    encryption = Encryption(SHORT)
    data = b"".join(map(bytes, encryption.encrypt([plaintext])))
    stored = name([data])
    sidecar = make_sidecar(stored, encryption.header, encryption.key, PAYLOAD, recipients)
    return Sealed(data, encryption.key, sidecar)


def opened(data: bytes, sidecar: bytes, cid: Cid, keys: Sequence[Key]) -> bytes:
    """The plaintext, as a reader with these keys gets it."""
    read = Sidecar.read(sidecar, cid)
    key = open_sidecar(read, keys)
    pieces = decrypt([data], key, header=read.header, size=read.stored.size, name=str(cid))
    return b"".join(map(bytes, pieces))


def cheap(text: str = "correct horse") -> Passphrase:
    """A passphrase that costs a reader a millisecond."""
    return Passphrase(text, log2_n=MIN_LOG2_N)


def one_of_each() -> tuple[MasterKey, Passphrase, PrivateKey]:
    return MasterKey.generate(), cheap(), PrivateKey.generate()
