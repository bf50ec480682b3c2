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
from functools import lru_cache
from typing import Any, Final, Self

from ml.artifact import strict_json
from ml.artifact.errors import quoted
from ml.artifact.json_fields import bytes32, integer, list_of, object_of, string
from ml.artifact.strict_json import StrictJsonError

from .cid import Cid
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
_END: Final = b"\n}\n"
_TOKEN: Final = re.compile(r"[a-z0-9][a-z0-9.+_-]{0,63}")
_KEYS: Final = {
    *("format", "cid", "sha256", "size", "header", "algorithm", "key_id", "payload", "recipients"),
    *("mac", "checksum"),
}


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
        sidecar = cls.parse(data, name=str(cid))
        if sidecar.stored.cid != cid:
            raise SwappedSidecar(cid, sidecar.stored.cid)
        return sidecar

    @classmethod
    def parse(cls, data: bytes, *, name: str = "an object") -> Self:
        """Read a sidecar, whichever object's it is; ``name`` is for errors.

        Raises:
            DamagedSidecar: the text is none that was ever written.
        """
        _check_length(data, name)
        try:
            sidecar = cls(**_fields(strict_json.loads(data)))
        except (ValueError, InvalidCid) as error:
            raise DamagedSidecar(name, str(error)) from None
        if sidecar.to_json() != data:
            raise DamagedSidecar(name, "its text is not that of what it says, checksum included")
        return sidecar

    def check(self) -> None:
        """Check what a reader limits, of a sidecar that was made here.

        Raises:
            DamagedSidecar: it has too many bytes, or its passphrases would take too long to try.
        """
        _check_length(self.to_json(), str(self.stored.cid))
        try:
            _check_cost(self.recipients)
        except StrictJsonError as error:
            raise DamagedSidecar(str(self.stored.cid), str(error)) from None

    def to_json(self) -> bytes:
        """Write the sidecar, with its checksum."""
        body = _with(self._body(), "mac", self.mac)
        return _with(body, "checksum", hashlib.sha256(body).digest())

    def with_recipients(self, recipients: Iterable[WrappedKey], key: bytes) -> Self:
        """The sidecar for other recipients, with the mac that the object's key gives it."""
        changed = replace(self, recipients=tuple(recipients))
        return replace(changed, mac=changed.expected_mac(key))

    def expected_mac(self, key: bytes) -> bytes:
        """What its mac is, if ``key`` is the object's and nothing was changed."""
        return hmac.digest(subkey(key, _MAC), self._body(), "sha256")

    def record(self) -> dict[str, str]:
        """What a version's metadata says of how its object is stored; anybody may know it."""
        return {
            "algorithm": ALGORITHM_NAME,
            "key_id": _hex(self.key_id),
            "compression": self.payload.compression,
            "format": self.payload.format,
        }

    def _body(self) -> bytes:
        """All but the mac and the checksum."""
        return _body(self.stored, self.header, self.key_id, self.payload, self.recipients)


def _with(body: bytes, key: str, digest: bytes) -> bytes:
    """The text of an object with one member more, its last."""
    return body.removesuffix(_END) + f',\n  "{key}": "{_hex(digest)}"'.encode() + _END


@lru_cache(maxsize=32)
def _body(
    stored: Stored,
    header: bytes,
    key_id: bytes,
    payload: Payload,
    recipients: tuple[WrappedKey, ...],
) -> bytes:
    return _dump(
        {
            "format": FORMAT,
            "cid": str(stored.cid),
            "sha256": _hex(stored.sha256),
            "size": stored.size,
            "header": _hex(header),
            "algorithm": ALGORITHM_NAME,
            "key_id": _hex(key_id),
            "payload": {"format": payload.format, "compression": payload.compression},
            "recipients": [_recipient_document(entry) for entry in recipients],
        }
    )


def _recipient_document(entry: WrappedKey) -> dict[str, object]:
    cost: dict[str, object] = {}
    if entry.scrypt is not None:
        cost = {"salt": _hex(entry.scrypt.salt), "log2_n": entry.scrypt.log2_n}
    wrapped = {"wrapped": _hex(entry.wrapped)}
    return {"algorithm": entry.algorithm, "key_id": _hex(entry.key_id), **cost, **wrapped}


def _fields(value: object) -> dict[str, Any]:
    """The fields of a sidecar from its JSON; ``checksum`` shows when it is written again."""
    document = object_of(value, "the document", _KEYS)
    if document["format"] != FORMAT or document["algorithm"] != ALGORITHM_NAME:
        raise StrictJsonError(f"its format is not {FORMAT} with {ALGORITHM_NAME}")
    cid = Cid.parse(string(document["cid"], '"cid"'))
    sha256, size = bytes32(document["sha256"], '"sha256"'), integer(document["size"], '"size"')
    payload = object_of(document["payload"], '"payload"', {"format", "compression"})
    return {
        "stored": Stored(cid, sha256, size),
        "header": _bytes(document, "header", HEADER_BYTES),
        "key_id": _bytes(document, "key_id", KEY_ID_BYTES),
        "payload": Payload(
            string(payload["format"], "the payload's format"),
            string(payload["compression"], "the payload's compression"),
        ),
        "recipients": _recipients(list_of(document["recipients"], '"recipients"')),
        "mac": bytes32(document["mac"], '"mac"'),
    }


def _recipients(rows: list[object]) -> tuple[WrappedKey, ...]:
    entries = tuple(map(_recipient, rows))
    if not entries:
        raise StrictJsonError("it has no recipients")
    _check_cost(entries)
    return entries


def _check_length(data: bytes, name: str) -> None:
    if len(data) > MAX_BYTES:
        raise DamagedSidecar(name, f"it has more than {MAX_BYTES} bytes")


def _check_cost(entries: Iterable[WrappedKey]) -> None:
    if sum(1 << entry.scrypt.log2_n for entry in entries if entry.scrypt) > 1 << MAX_LOG2_N:
        raise StrictJsonError("its passphrases would take too long to try")


def _recipient(row: object) -> WrappedKey:
    by_passphrase = isinstance(row, dict) and row.get("algorithm") == Passphrase.algorithm
    keys = {"algorithm", "key_id", "wrapped"} | ({"salt", "log2_n"} if by_passphrase else set())
    fields = object_of(row, "a recipient", keys)
    algorithm = string(fields["algorithm"], "a recipient's algorithm")
    if algorithm not in WRAPPED_BYTES:
        raise StrictJsonError(f"it has a key wrapped by {quoted(algorithm)}, which is unknown")
    key_id = _bytes(fields, "key_id", KEY_ID_BYTES)
    wrapped = _bytes(fields, "wrapped", WRAPPED_BYTES[algorithm])
    return WrappedKey(algorithm, key_id, wrapped, _cost(fields) if by_passphrase else None)


def _cost(fields: dict[str, object]) -> Scrypt:
    log2_n = integer(fields["log2_n"], '"log2_n"')
    if not MIN_LOG2_N <= log2_n <= MAX_LOG2_N:
        raise StrictJsonError(f"its scrypt has a log2_n of {log2_n}, which none may have")
    return Scrypt(_bytes(fields, "salt", SALT_BYTES), log2_n)


def _bytes(fields: dict[str, object], key: str, length: int) -> bytes:
    """Bytes as 0x and hexadecimal digits; capitals show when they are written again."""
    text = string(fields[key], f'"{key}"')
    if not re.fullmatch(rf"0x[0-9a-fA-F]{{{2 * length}}}", text):
        raise StrictJsonError(f'"{key}" is not 0x and {2 * length} hexadecimal digits')
    return bytes.fromhex(text[2:])


def _hex(data: bytes) -> str:
    return f"0x{data.hex()}"


def _dump(document: dict[str, object]) -> bytes:
    return f"{_text(document)}\n".encode()


def _text(value: object, margin: str = "\n") -> str:
    """What ``json.dumps(value, indent=2)`` gives, which indents by Python and not by C."""
    inner = f"{margin}  "
    if isinstance(value, dict) and value:
        rows = f",{inner}".join(f'"{key}": {_text(each, inner)}' for key, each in value.items())
        return f"{{{inner}{rows}{margin}}}"
    if isinstance(value, list) and value:
        rows = f",{inner}".join(_text(each, inner) for each in value)
        return f"[{inner}{rows}{margin}]"
    return json.dumps(value)
