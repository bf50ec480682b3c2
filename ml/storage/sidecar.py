"""The sidecar of an encrypted object: its key, wrapped for each recipient, and what it holds.

Strict JSON, and only one text for what it says: what is read has to be what would be written, byte
for byte. Two things authenticate it. The ``checksum``, SHA-256 of all else, lets anybody see
damage. The ``mac``, HMAC-SHA256 under a key derived from the object's, is checked by everybody who
opens the object (`ml.storage.access`): only who has the object's key can write a sidecar that does.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Self, TypeVar

from ml.artifact import strict_json
from ml.artifact.errors import quoted

from .cid import DIGEST_BYTES, Cid
from .encryption import ALGORITHM_NAME, HEADER_BYTES
from .errors import DamagedSidecar, InvalidCid, SwappedSidecar
from .keys import (
    KEY_ID_BYTES,
    MAX_LOG2_N,
    MIN_LOG2_N,
    SALT_BYTES,
    WRAPPED_BYTES,
    Passphrase,
    Scrypt,
    WrappedKey,
    subkey,
)
from .naming import Stored

FORMAT: Final = "modelproof.sidecar.v1"
MAX_BYTES: Final = 1 << 20
"""More than the sidecar of a thousand recipients has."""
NO_COMPRESSION: Final = "none"

_MAC: Final = b"modelproof.sidecar.v1"
_TOKEN: Final = re.compile(r"[a-z0-9][a-z0-9.+_-]{0,63}")
_T = TypeVar("_T", str, int, list[object], dict[str, object])


@dataclass(frozen=True, slots=True)
class Payload:
    """What the object's plaintext is: a format and a compression, each a short name."""

    format: str
    compression: str = NO_COMPRESSION

    def __post_init__(self) -> None:
        for name in (self.format, self.compression):
            if not _TOKEN.fullmatch(name):
                raise ValueError(f"{quoted(name)} is not a name of a format or a compression")


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What stands in a sidecar.

    ``header`` is the object's first 64 bytes, ``key_id`` that of its key, ``mac`` that of all else.
    """

    stored: Stored
    header: bytes
    key_id: bytes
    payload: Payload
    recipients: tuple[WrappedKey, ...]
    mac: bytes

    @classmethod
    def read(cls, data: bytes, cid: Cid) -> Self:
        """Read the sidecar of an object; whoever opens it authenticates it.

        Raises:
            DamagedSidecar: the text is none that was ever written.
            SwappedSidecar: it is another object's.
        """
        sidecar = cls.parse(data)
        if sidecar.stored.cid != cid:
            raise SwappedSidecar(cid, sidecar.stored.cid)
        return sidecar

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a sidecar, whichever object's it is.

        Raises:
            DamagedSidecar: the text is none that was ever written.
        """
        if len(data) > MAX_BYTES:
            raise DamagedSidecar(f"it has more than {MAX_BYTES} bytes")
        try:
            sidecar = cls(**_fields(strict_json.loads(data)))
        except (ValueError, InvalidCid) as error:
            raise DamagedSidecar(str(error)) from None
        if sidecar.to_json() != data:
            raise DamagedSidecar("its text is not the one for what it says, checksum included")
        return sidecar

    def to_json(self) -> bytes:
        """Write the sidecar, with its checksum."""
        document = {**self._document(), "mac": _hex(self.mac)}
        checksum = hashlib.sha256(_dump(document)).digest()
        return _dump({**document, "checksum": _hex(checksum)})

    def with_recipients(self, recipients: Iterable[WrappedKey], key: bytes) -> Self:
        """The sidecar for other recipients, with the mac that the object's key gives it."""
        changed = replace(self, recipients=tuple(recipients))
        return replace(changed, mac=changed.expected_mac(key))

    def expected_mac(self, key: bytes) -> bytes:
        """What its mac is, if ``key`` is the object's and nothing was changed."""
        return hmac.digest(subkey(key, _MAC), _dump(self._document()), "sha256")

    def record(self) -> dict[str, str]:
        """What a version's metadata says of how its object is stored; anybody may know it."""
        return {
            "algorithm": ALGORITHM_NAME,
            "key_id": _hex(self.key_id),
            "compression": self.payload.compression,
            "format": self.payload.format,
        }

    def _document(self) -> dict[str, object]:
        return {
            "format": FORMAT,
            "cid": str(self.stored.cid),
            "sha256": _hex(self.stored.sha256),
            "size": self.stored.size,
            "header": _hex(self.header),
            "algorithm": ALGORITHM_NAME,
            "key_id": _hex(self.key_id),
            "payload": {"format": self.payload.format, "compression": self.payload.compression},
            "recipients": [_recipient_document(entry) for entry in self.recipients],
        }


def _recipient_document(entry: WrappedKey) -> dict[str, object]:
    cost: dict[str, object] = {}
    if entry.scrypt is not None:
        cost = {"salt": _hex(entry.scrypt.salt), "log2_n": entry.scrypt.log2_n}
    wrapped = {"wrapped": _hex(entry.wrapped)}
    return {"algorithm": entry.algorithm, "key_id": _hex(entry.key_id), **cost, **wrapped}


def _fields(value: object) -> dict[str, Any]:
    """The fields of a sidecar from its JSON.

    A key too many, or a text that is not the usual one for its value, shows when it is written
    again.
    """
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    if _get(value, "format", str) != FORMAT or _get(value, "algorithm", str) != ALGORITHM_NAME:
        raise ValueError(f"its format is not {FORMAT} with {ALGORITHM_NAME}")
    cid = Cid.parse(_get(value, "cid", str))
    stored = Stored(cid, _bytes(value, "sha256", DIGEST_BYTES), _get(value, "size", int))
    payload: dict[str, object] = _get(value, "payload", dict)
    recipients: list[object] = _get(value, "recipients", list)
    entries = tuple(map(_recipient, recipients))
    if not entries:
        raise ValueError("it has no recipients")
    if sum(1 << entry.scrypt.log2_n for entry in entries if entry.scrypt) > 1 << MAX_LOG2_N:
        raise ValueError("its passphrases would take too long to try")
    return {
        "stored": stored,
        "header": _bytes(value, "header", HEADER_BYTES),
        "key_id": _bytes(value, "key_id", KEY_ID_BYTES),
        "payload": Payload(_get(payload, "format", str), _get(payload, "compression", str)),
        "recipients": entries,
        "mac": _bytes(value, "mac", DIGEST_BYTES),
    }


def _recipient(value: object) -> WrappedKey:
    if not isinstance(value, dict):
        raise ValueError("a recipient is not an object")
    algorithm = _get(value, "algorithm", str)
    if algorithm not in WRAPPED_BYTES:
        raise ValueError(f"it has a key wrapped by {quoted(algorithm)}, which is unknown")
    cost = None
    if algorithm == Passphrase.algorithm:
        log2_n = _get(value, "log2_n", int)
        if not MIN_LOG2_N <= log2_n <= MAX_LOG2_N:
            raise ValueError(f"its scrypt has a log2_n of {log2_n}, which none may have")
        cost = Scrypt(_bytes(value, "salt", SALT_BYTES), log2_n)
    key_id, wrapped_bytes = _bytes(value, "key_id", KEY_ID_BYTES), WRAPPED_BYTES[algorithm]
    return WrappedKey(algorithm, key_id, _bytes(value, "wrapped", wrapped_bytes), cost)


def _get(document: dict[str, object], key: str, kind: type[_T]) -> _T:
    value = document.get(key)
    if type(value) is not kind:
        raise ValueError(f"its {key!r} is missing or of another kind")
    return value


def _bytes(document: dict[str, object], key: str, length: int) -> bytes:
    text = _get(document, key, str)
    if len(text) != 2 + 2 * length or not text.startswith("0x"):
        raise ValueError(f"its {key!r} is not 0x and {2 * length} hexadecimal digits")
    return bytes.fromhex(text[2:])


def _hex(data: bytes) -> str:
    return f"0x{data.hex()}"


def _dump(document: dict[str, object]) -> bytes:
    return (json.dumps(document, indent=2) + "\n").encode()
