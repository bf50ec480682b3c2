"""How a piece of a tensor is written by what it differs from: XOR, byte shuffle, zstd.

XOR is exactly reversible, whatever the dtype means. Weights that changed a little share sign,
exponent and high mantissa bits with those from before, so that the XOR's high bytes are mostly
zero; gathering the first bytes of all elements, then all second ones and so on (a byte shuffle, as
Blosc's) puts those zeros side by side, where zstd at its fastest level takes them away. Where few
elements changed, their places and changes alone are shorter.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, TypeAlias

import numpy as np
import zstandard
from numpy.typing import NDArray

from .pieces import Piece

CHUNK_BYTES: Final = 1 << 20
"""How much of a tensor is written at a time; whole elements of every dtype."""
LEVEL: Final = 1
_SPARSE_BELOW: Final = 1 / 8
"""The share of changed elements from which on listing them is not tried."""
_COUNT_BYTES: Final = 4
_GAP: Final = np.dtype("<u4")

Bytes: TypeAlias = NDArray[np.uint8]


class Kind(IntEnum):
    """How a chunk is written."""

    SAME = 0
    """It is as in the base; nothing follows."""
    DENSE = 1
    """zstd over the shuffled XOR with the base."""
    SPARSE = 2
    """zstd over the places and the XOR of those elements that changed."""
    PLAIN = 3
    """zstd over the shuffled bytes themselves: the base has no such tensor."""
    RAW = 4
    """The bytes themselves."""


class Undecodable(Exception):
    """What is written is no chunk; the message is a clause."""


def encode_chunk(base: Piece | None, new: Piece, item_bytes: int) -> tuple[Kind, bytes]:
    """Write a chunk in the shortest way.

    Args:
        base: as many bytes of the base, None if it has no such tensor
        new: the bytes, whole elements
        item_bytes: the size of an element; 1 for those that do not fill bytes

    Returns:
        how it is written, and that.
    """
    bytes_new = np.frombuffer(new, np.uint8)
    if base is None:
        written = [(Kind.PLAIN, _compress(_shuffle(bytes_new, item_bytes)))]
    else:
        change = bytes_new ^ np.frombuffer(base, np.uint8)
        places = np.flatnonzero(change.view(f"u{item_bytes}"))
        if not places.size:
            return Kind.SAME, b""
        written = [(Kind.DENSE, _compress(_shuffle(change, item_bytes)))]
        if places.size < _SPARSE_BELOW * (change.size // item_bytes):
            written.append((Kind.SPARSE, _compress(_list(change, places, item_bytes))))
    kind, payload = min(written, key=lambda each: len(each[1]))
    return (kind, payload) if len(payload) < len(new) else (Kind.RAW, bytes(new))


def decode_chunk(
    kind: int, payload: bytes, base: Piece | None, size: int, item_bytes: int
) -> bytes:
    """Read a chunk of ``size`` bytes; other arguments as for `encode_chunk`.

    Raises:
        Undecodable: this is no such chunk.
    """
    if kind == Kind.RAW:
        if len(payload) != size:
            raise Undecodable(f"it has {len(payload)} bytes for {size}")
        return payload
    if kind == Kind.PLAIN:
        return _unshuffle(_decompress(payload, size, size), item_bytes).tobytes()
    if base is None:
        raise Undecodable("it builds on a tensor that the base does not have")
    before = np.frombuffer(base, np.uint8)
    if kind == Kind.SAME:
        if payload:
            raise Undecodable("it says that nothing changed, and what")
        return bytes(base)
    if kind == Kind.DENSE:
        change = _unshuffle(_decompress(payload, size, size), item_bytes)
        return (before ^ change).tobytes()
    if kind == Kind.SPARSE:
        return _apply_list(payload, before, item_bytes).tobytes()
    raise Undecodable(f"its kind is {kind}, which is none")


def _shuffle(data: Bytes, item_bytes: int) -> Bytes:
    """The first bytes of all elements, then the second ones, and so on."""
    return np.ascontiguousarray(data.reshape(-1, item_bytes).T).reshape(-1)


def _unshuffle(data: Bytes, item_bytes: int) -> Bytes:
    return np.ascontiguousarray(data.reshape(item_bytes, -1).T).reshape(-1)


def _list(change: Bytes, places: NDArray[np.intp], item_bytes: int) -> Bytes:
    """How many elements changed, how far each is from the one before, and their XOR."""
    gaps = np.diff(places, prepend=0).astype(_GAP).view(np.uint8)
    changed = change.reshape(-1, item_bytes)[places].reshape(-1)
    count = np.frombuffer(len(places).to_bytes(_COUNT_BYTES, "little"), np.uint8)
    return np.concatenate([count, _shuffle(gaps, _GAP.itemsize), _shuffle(changed, item_bytes)])


def _apply_list(payload: bytes, before: Bytes, item_bytes: int) -> Bytes:
    items = before.size // item_bytes
    entry_bytes = _GAP.itemsize + item_bytes
    data = _decompress(payload, _COUNT_BYTES, _COUNT_BYTES + items * entry_bytes)
    count = int.from_bytes(data[:_COUNT_BYTES].tobytes(), "little")
    if data.size != _COUNT_BYTES + count * entry_bytes:
        raise Undecodable(f"it lists {count} changes in {data.size} bytes")
    gaps, changed = np.split(data[_COUNT_BYTES:], [count * _GAP.itemsize])
    places = np.cumsum(_unshuffle(gaps, _GAP.itemsize).view(_GAP), dtype=np.uint64)
    if count and places[-1] >= items:
        raise Undecodable(f"it changes element {places[-1]} of {items}")
    after = before.copy()
    after.reshape(-1, item_bytes)[places] ^= _unshuffle(changed, item_bytes).reshape(-1, item_bytes)
    return after


def _compress(data: Bytes) -> bytes:
    return zstandard.ZstdCompressor(level=LEVEL).compress(data.data)


def _decompress(payload: bytes, least: int, most: int) -> Bytes:
    """One zstd frame, and nothing after it, that says that it holds as many bytes as it may."""
    try:
        size = zstandard.frame_content_size(payload)
        if not least <= size <= most:  # -1: it does not say
            raise Undecodable(f"it unpacks to {size} bytes")
        unpacked = zstandard.ZstdDecompressor().decompress(payload, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Undecodable(f"it does not unpack ({error})") from None
    return np.frombuffer(unpacked, np.uint8)


def compress_head(head: bytes) -> bytes:
    """Write the start of a file."""
    return zstandard.ZstdCompressor(level=LEVEL).compress(head)


def decompress_head(payload: bytes, most: int) -> bytes:
    """Read the start of a file of at most so many bytes; raises `Undecodable`."""
    return _decompress(payload, 0, most).tobytes()
