"""The contiguous bytes of a tensor whose elements lie apart, such as a transposed one.

Read block by block, so that memory stays bounded whatever the tensor's size. A block is some rows
of the tensor; it is cut until what it needs lies close together in the file, and each such part is
read at once and gathered by NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from .file_reader import PIECE_BYTES, FileReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK_BYTES: Final = 16 * PIECE_BYTES
"""The larger, the longer the runs that a transposed tensor can be read in."""

# A part is read whole if it is this small, or if at least one byte in so many is needed.
_SMALL_BYTES: Final = 1 << 16
_SPARSE: Final = 16


def is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Tell whether elements lie one after the other, in row-major order and without a gap."""
    if 0 in shape:
        return True
    due = 1
    for dimension, stride in zip(reversed(shape), reversed(strides), strict=True):
        if dimension != 1 and stride != due:
            return False
        due *= dimension
    return True


def extent(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Return how many elements lie from the first to the last one, both counted."""
    if 0 in shape:
        return 0
    return 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))


def contiguous_pieces(
    reader: FileReader, start: int, shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int
) -> Iterator[memoryview]:
    """Yield a tensor's bytes in row-major order, in pieces of at most ``PIECE_BYTES``.

    Args:
        reader: the file.
        start: where its first element lies.
        shape: of at least one element.
        strides: in elements, none negative.
        itemsize: bytes of an element: 1, 2, 4 or 8.

    Raises:
        FileChanged, UnreadableFile: as for ``FileReader.fill``.
    """
    import numpy as np

    dtype = np.dtype(f"u{itemsize}")
    shape, strides = _merged(shape, strides)
    block = np.empty(min(BLOCK_BYTES // itemsize, _count(shape)), dtype)
    window = memoryview(bytearray(min(PIECE_BYTES, extent(shape, strides) * itemsize)))
    for first, part in _blocks(shape, strides, len(block)):
        target = block[: _count(part)].reshape(part)
        _gather(reader, start + first * itemsize, target, strides[-len(part) :], window)
        flat = target.reshape(-1).view(np.uint8).data
        for offset in range(0, len(flat), PIECE_BYTES):
            yield flat[offset : offset + PIECE_BYTES]


def _merged(
    shape: tuple[int, ...], strides: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Describe the same elements, in the same order, by as few dimensions as possible."""
    merged: list[tuple[int, int]] = [(1, 1)]
    for n, stride in zip(shape, strides, strict=True):
        outer, outer_stride = merged[-1]
        if n == 1:
            continue
        if outer == 1 or outer_stride == n * stride:
            merged[-1] = (outer * n, stride)
        else:
            merged.append((n, stride))
    return tuple(n for n, _ in merged), tuple(stride for _, stride in merged)


def _blocks(
    shape: tuple[int, ...], strides: tuple[int, ...], limit: int
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Cut a tensor, in row-major order, into blocks of at most ``limit`` elements.

    Yields the place of each one's first element, and its shape, which lacks the dimensions of
    which it has one index alone.
    """
    row = _count(shape[1:])
    if row > limit:
        for index in range(shape[0]):
            for first, part in _blocks(shape[1:], strides[1:], limit):
                yield index * strides[0] + first, part
        return
    rows = limit // row
    for index in range(0, shape[0], rows):
        yield index * strides[0], (min(rows, shape[0] - index), *shape[1:])


def _gather(
    reader: FileReader,
    start: int,
    target: NDArray[np.unsignedinteger[Any]],
    strides: tuple[int, ...],
    window: memoryview,
) -> None:
    """Read the elements of ``target``, which lie ``strides`` apart from byte ``start`` on."""
    import numpy as np

    parts = [(start, target)]
    while parts:
        start, target = parts.pop()
        itemsize = target.itemsize
        nbytes = extent(target.shape, strides) * itemsize
        if nbytes <= (PIECE_BYTES if nbytes <= _SPARSE * target.nbytes else _SMALL_BYTES):
            reader.fill(window[:nbytes], start)
            apart = tuple(stride * itemsize for stride in strides)
            target[...] = np.ndarray(target.shape, target.dtype, window[:nbytes], 0, apart)
            continue
        # Along the dimension in which it stretches furthest, halves stretch half as far.
        lengths = [(n - 1) * stride for n, stride in zip(target.shape, strides, strict=True)]
        axis = lengths.index(max(lengths))
        middle = target.shape[axis] // 2
        before = (slice(None),) * axis
        parts += [
            (start, target[(*before, slice(middle))]),
            (start + middle * strides[axis] * itemsize, target[(*before, slice(middle, None))]),
        ]


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for n in shape:
        count *= n
    return count
