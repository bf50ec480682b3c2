"""The part of Solidity's ABI encoding that identities need.

The general encoder (``eth_abi``) takes three times as long to import as the whole of this package
and several times as long per leaf; ``tests/artifact`` holds the two equal.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from .errors import InvalidEntry

WORD_BYTES: Final = 32


def encode(*values: int | bytes | str | tuple[int, ...]) -> bytes:
    """Encode as Solidity's ``abi.encode`` does, the types being those of the Python values.

    ``int`` is any ``uint`` up to 256 bits, 32 ``bytes`` are a ``bytes32``, ``str`` is a ``string``
    (UTF-8) and a tuple of ``int`` is a ``uint256[]``.
    Source: Solidity documentation, "Contract ABI Specification".

    Raises:
        InvalidEntry: a number is negative or above 256 bits, bytes are not 32, or text is not
            valid Unicode.
    """
    head: list[bytes] = []
    tails: list[bytes] = []
    tail_offset = WORD_BYTES * len(values)
    for value in values:
        if isinstance(value, bytes):
            head.append(_bytes32(value))
            continue
        if isinstance(value, int):
            head.append(_uint256(value))
            continue
        tail = _string(value) if isinstance(value, str) else _uint256_array(value)
        head.append(_uint256(tail_offset))
        tails.append(tail)
        tail_offset += len(tail)
    return b"".join(head + tails)


def encode_tensor(name: str, dtype: str, shape: tuple[int, ...], digest: bytes) -> bytes:
    """As ``encode``, for a tensor's leaf: what many tensors have in common is encoded once.

    Raises:
        InvalidEntry: as for ``encode``.
    """
    try:
        text = name.encode()
    except UnicodeEncodeError:
        return encode(name, dtype, shape, digest)  # which refuses it
    type_tail = _cached_string(dtype)
    offsets, length, padding = _around_name(len(text), len(type_tail))
    parts = (offsets, _bytes32(digest), length, text, padding, type_tail, _cached_array(shape))
    return b"".join(parts)


@lru_cache(maxsize=1024)
def _around_name(name_bytes: int, type_tail_bytes: int) -> tuple[bytes, bytes, bytes]:
    """What stands before a tensor's digest, before its name's text and after it."""
    padding = bytes(-name_bytes % WORD_BYTES)
    name_at = 4 * WORD_BYTES
    type_at = name_at + WORD_BYTES + name_bytes + len(padding)
    shape_at = type_at + type_tail_bytes
    offsets = b"".join(map(_uint256, (name_at, type_at, shape_at)))
    return offsets, _uint256(name_bytes), padding


def _uint256(value: int) -> bytes:
    try:
        return value.to_bytes(WORD_BYTES, "big")
    except OverflowError:
        raise InvalidEntry(f"{value} does not fit in a uint256") from None


def _bytes32(value: bytes) -> bytes:
    if len(value) != WORD_BYTES:
        raise InvalidEntry(f"a digest has {WORD_BYTES} bytes, not {len(value)}")
    return value


def _string(value: str) -> bytes:
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise InvalidEntry(f"the text {value!r} cannot be written as UTF-8") from None
    return _uint256(len(data)) + data + bytes(-len(data) % WORD_BYTES)


def _uint256_array(values: tuple[int, ...]) -> bytes:
    return b"".join([_uint256(len(values)), *map(_uint256, values)])


_cached_string = lru_cache(maxsize=64)(_string)
_cached_array = lru_cache(maxsize=4096)(_uint256_array)
