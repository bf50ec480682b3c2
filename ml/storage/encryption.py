r"""One object, encrypted: a header, then segments, each authenticated by itself.

::

    offset  bytes  header (64 bytes, integers big-endian)
    0       8      magic: 89 4d 50 4f 0d 0a 1a 0a ("\x89MPO\r\n\x1a\n")
    8       1      version of the format: 1
    9       1      algorithm: 1, AES-256-GCM in a STREAM
    10      2      zero
    12      4      segment size S in bytes, 64 … 16 MiB
    16      16     salt, random
    32      32     key commitment
    64             segments: S bytes of plaintext as S + 16 bytes; the last one is shorter

HKDF-SHA256 (RFC 5869) of the object's 32-byte key, with the salt, and ``"modelproof.object.v1"``
and the header's first 16 bytes as info, gives 64 bytes: the AES key and the commitment. GCM alone
would let one ciphertext open under two keys; the commitment is a hash of the key, so that none does
(Albertini et al., "How to Abuse and Fix Authenticated Encryption Without Key Commitment", 2022).

Segments are a STREAM (Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-Encryption and its
Nonce-Reuse Misuse-Resistance", 2015): the nonce of segment i is seven zero bytes, i in four bytes,
and one byte that is 1 for the last segment and 0 for all others; the associated data is the header.
So no segment can be changed, left out, exchanged, repeated or appended. All segments but the last
hold S bytes, and the last holds fewer, none at all if need be: where an object ends is in its
lengths, and neither side has to look ahead. A key encrypts one object only, so that the nonces need
nothing random.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import (
    DamagedHeader,
    DamagedSegment,
    ExtendedObject,
    MisplacedSegment,
    ObjectTooLarge,
    TruncatedObject,
    WrongKey,
)
from .pieces import Piece, PieceReader

KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
SEGMENT_BYTES: Final = 1 << 20
"""The plaintext of a segment: what a reader holds in memory before it may believe any of it."""
MIN_SEGMENT_BYTES: Final = 64
MAX_SEGMENT_BYTES: Final = 16 << 20
"""What a header may ask a reader to hold."""

MAGIC: Final = b"\x89MPO\r\n\x1a\n"
"""As PNG's: shows that an object went through something that mends line ends or drops a bit."""
VERSION: Final = 1
ALGORITHM: Final = 1
ALGORITHM_NAME: Final = "AES-256-GCM-STREAM"
_HEADER: Final = struct.Struct(">8sBBHI16s32s")
HEADER_BYTES: Final = _HEADER.size
_FIXED_BYTES: Final = 16
_SALT_BYTES: Final = 16
_INFO: Final = b"modelproof.object.v1"
_NONCE: Final = struct.Struct(">7xIB")
_MAX_SEGMENTS: Final = 1 << 32
_MAX_PLACES_TRIED: Final = 4096
"""Where a segment that fails is looked for, so that telling why takes a second at most."""


@dataclass(frozen=True, slots=True)
class _Header:
    """The fields that differ from object to object."""

    segment_bytes: int
    salt: bytes
    commitment: bytes

    def __bytes__(self) -> bytes:
        return _HEADER.pack(
            MAGIC, VERSION, ALGORITHM, 0, self.segment_bytes, self.salt, self.commitment
        )


class Encryption:
    """The encryption of one object: a fresh key, the header, and the object's bytes, once."""

    def __init__(self, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Draw a key and a salt from the system's randomness.

        ``segment_bytes`` is the plaintext of a segment, 64 … 16 MiB.
        """
        if not MIN_SEGMENT_BYTES <= segment_bytes <= MAX_SEGMENT_BYTES:
            raise ValueError(f"segments cannot have {segment_bytes} bytes")
        self.key = os.urandom(KEY_BYTES)
        salt = os.urandom(_SALT_BYTES)
        unkeyed = bytes(_Header(segment_bytes, salt, bytes(32)))
        self._cipher_key, commitment = _derive(self.key, unkeyed[:_FIXED_BYTES], salt)
        self.header = bytes(_Header(segment_bytes, salt, commitment))
        self._segment_bytes = segment_bytes
        self._used = False

    def encrypt(self, plaintext: Iterable[Piece]) -> Iterator[memoryview]:
        """Yield the object's bytes: the header, then a piece a segment, valid until the next one.

        Raises:
            ObjectTooLarge: there is more plaintext than 2³² segments hold.
        """
        if self._used:  # the nonces would be used again
            raise RuntimeError("an Encryption encrypts one object")
        self._used = True
        return self._encrypt(PieceReader(plaintext))

    def _encrypt(self, reader: PieceReader) -> Iterator[memoryview]:
        yield memoryview(self.header)
        cipher = AESGCM(self._cipher_key)
        sealed = memoryview(b"")
        for index in range(_MAX_SEGMENTS):
            segment = reader.take(self._segment_bytes)
            is_last = len(segment) < self._segment_bytes
            if index == 0:  # no other is longer
                sealed = memoryview(bytearray(len(segment) + TAG_BYTES))
            whole = sealed[: len(segment) + TAG_BYTES]
            cipher.encrypt_into(_NONCE.pack(index, is_last), segment, self.header, whole)
            yield whole
            if is_last:
                return
        raise ObjectTooLarge(
            f"an object has at most 2³² segments of {self._segment_bytes} bytes: use larger ones"
        )


def decrypt(
    pieces: Iterable[Piece],
    key: bytes,
    *,
    header: bytes | None = None,
    size: int | None = None,
    name: str = "the object",
) -> Iterator[memoryview]:
    """Yield an object's plaintext, a piece a segment, each authenticated, valid until the next one.

    What was yielded is authentic and at its place; that nothing is missing is known only once the
    iteration ends by itself.

    Args:
        pieces: the object's bytes
        key: the object's key
        header: its header as an authenticated sidecar has it, which shows that the key is right
        size: the object's bytes in all, as an authenticated sidecar has it, if it is known
        name: what errors call the object

    Raises:
        DamagedHeader: the object begins with no header, or another one.
        WrongKey: the header is not one of this key (or is damaged, where ``header`` is not given).
        TruncatedObject, ExtendedObject, DamagedSegment, MisplacedSegment: the bytes are not those
            that were stored.
    """
    reader = PieceReader(pieces)
    start = bytes(reader.take(HEADER_BYTES))
    if len(start) < HEADER_BYTES:
        raise TruncatedObject(name, size or HEADER_BYTES + TAG_BYTES, len(start))
    fields = _parse(start, name)
    if header is not None and start != header:
        raise DamagedHeader(name, "it is not the one that its sidecar names")
    cipher = AESGCM(_unlock(key, start, fields, name))
    return _Opening(cipher, start, fields.segment_bytes, size, name).segments(reader)


def is_key_of(key: bytes, header: bytes) -> bool:
    """Whether an object that begins with this header is encrypted under this key."""
    try:
        _unlock(key, header, _parse(header, ""), "")
    except (DamagedHeader, WrongKey):
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Opening:
    """An object that is being decrypted: its header is right, its segments follow."""

    cipher: AESGCM
    header: bytes
    segment_bytes: int
    size: int | None
    name: str

    def segments(self, reader: PieceReader) -> Iterator[memoryview]:
        longest = self.segment_bytes + TAG_BYTES
        opened = memoryview(bytearray(min(self.segment_bytes, self.size or self.segment_bytes)))
        for index in range(_MAX_SEGMENTS):
            due = longest if self.size is None else max(0, self.size - reader.taken)
            # no more than is due, since what lies within a piece is not copied
            sealed = reader.take(min(due, longest))
            is_last = len(sealed) < longest
            plaintext = opened[: max(0, len(sealed) - TAG_BYTES)]
            if not self._opens(sealed, index, plaintext, is_last=is_last):
                self._refuse(sealed, index, reader, is_last=is_last)
            if self.size is not None and reader.taken > self.size:
                raise ExtendedObject(self.name, self.size)
            if self.size is not None and is_last and reader.taken < self.size:
                raise TruncatedObject(self.name, self.size, reader.taken)
            if self.size is not None and is_last and reader.take(1):
                raise ExtendedObject(self.name, self.size)
            yield plaintext
            if is_last:
                return
        raise ExtendedObject(self.name, reader.taken)

    def _opens(self, sealed: memoryview, index: int, target: memoryview, *, is_last: bool) -> bool:
        if len(sealed) < TAG_BYTES:
            return False
        try:
            self.cipher.decrypt_into(_NONCE.pack(index, is_last), sealed, self.header, target)
        except InvalidTag:
            return False
        return True

    def _refuse(
        self, sealed: memoryview, index: int, reader: PieceReader, *, is_last: bool
    ) -> NoReturn:
        """Raise what tells best why a segment does not authenticate at its place."""
        kept = bytes(sealed)
        if self.size is not None:
            reader.skip(self.size)
            if reader.taken < self.size:
                raise TruncatedObject(self.name, self.size, reader.taken)
            if reader.taken > self.size:
                raise ExtendedObject(self.name, self.size)
        elif len(kept) < TAG_BYTES:
            raise TruncatedObject(self.name, reader.taken - len(kept) + TAG_BYTES, reader.taken)
        scratch = memoryview(bytearray(max(0, len(kept) - TAG_BYTES)))
        segments = reader.taken // (self.segment_bytes + TAG_BYTES) + 1  # all of them, as a rule
        for place in range(min(segments, _MAX_PLACES_TRIED)):
            if self._opens(memoryview(kept), place, scratch, is_last=is_last):
                raise MisplacedSegment(self.name, index, place)
        raise DamagedSegment(self.name, index, may_be_cut=is_last and self.size is None)


def _unlock(key: bytes, header: bytes, fields: _Header, name: str) -> bytes:
    """The AES key, if the header commits to the key."""
    cipher_key, commitment = _derive(key, header[:_FIXED_BYTES], fields.salt)
    if not hmac.compare_digest(commitment, fields.commitment):
        raise WrongKey(
            f"this key does not open {name}: it is another object's, or the header is damaged"
        )
    return cipher_key


def _derive(key: bytes, fixed: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """The AES key and the commitment."""
    both = HKDF(SHA256(), 2 * KEY_BYTES, salt, _INFO + fixed).derive(key)
    return both[:KEY_BYTES], both[KEY_BYTES:]


def _parse(data: bytes, name: str) -> _Header:
    magic, version, algorithm, zero, segment_bytes, salt, commitment = _HEADER.unpack(data)
    if magic != MAGIC:
        raise DamagedHeader(name, "it does not begin as an encrypted object does")
    if version != VERSION:
        raise DamagedHeader(name, f"its version is {version}, and known is {VERSION}")
    if algorithm != ALGORITHM or zero != 0:
        raise DamagedHeader(name, "its algorithm is not a known one")
    if not MIN_SEGMENT_BYTES <= segment_bytes <= MAX_SEGMENT_BYTES:
        raise DamagedHeader(name, f"its segments have {segment_bytes} bytes, which none may")
    return _Header(segment_bytes, salt, commitment)
