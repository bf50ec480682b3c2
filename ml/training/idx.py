"""The IDX format of the MNIST files, read strictly.

Two zero bytes, one byte for the element type, one for the number of dimensions, each dimension as a
big-endian uint32, then the elements in row-major order and nothing after them.
Source: "The MNIST database of handwritten digits", LeCun, Cortes, Burges: "File formats".
"""

from __future__ import annotations

import math
import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.errors import ModelproofError

_MAGIC_BYTES: Final = 4
_UNSIGNED_BYTE: Final = 0x08


class MalformedIdx(ModelproofError):
    """The bytes are not an IDX file of unsigned bytes with the expected number of dimensions."""

    def __init__(self, where: str, reason: str) -> None:
        """Name the file and the first rule that it breaks."""
        super().__init__(f"{where} is not a valid IDX file: {reason}; get the file again")


def parse_idx(data: bytes, dimensions: int, where: str) -> NDArray[np.uint8]:
    """Parse an IDX file of unsigned bytes.

    Args:
        data: the whole file, not compressed.
        dimensions: how many the file must have: 3 for images, 1 for labels.
        where: the file's name, for errors.

    Returns:
        The elements, a read-only view of ``data`` with the shape that the header says.

    Raises:
        MalformedIdx: wrong magic number, element type or number of dimensions, or more or fewer
            bytes than the header says.
    """
    if len(data) < _MAGIC_BYTES:
        raise MalformedIdx(where, f"it has {len(data)} bytes, too few for a header")
    expected = bytes((0, 0, _UNSIGNED_BYTE, dimensions))
    magic = data[:_MAGIC_BYTES]
    if magic != expected:
        raise MalformedIdx(where, f"it starts with {magic.hex()}, not {expected.hex()}")
    header_bytes = _MAGIC_BYTES + 4 * dimensions
    if len(data) < header_bytes:
        raise MalformedIdx(where, f"its header ends after {len(data)} of {header_bytes} bytes")
    shape = struct.unpack(f">{dimensions}I", data[_MAGIC_BYTES:header_bytes])
    expected_bytes = header_bytes + math.prod(shape)
    if len(data) != expected_bytes:
        raise MalformedIdx(
            where, f"it has {len(data)} bytes where its header asks for {expected_bytes}"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=header_bytes).reshape(shape)
