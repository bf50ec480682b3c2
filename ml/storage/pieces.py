"""Streams of bytes as iterables of pieces, as `ml.artifact.file_reader` reads files.

A piece is valid until the next one is asked for, so that a stream of any length needs one buffer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

Piece: TypeAlias = bytes | bytearray | memoryview
"""Some bytes in a row; whoever keeps them beyond the next piece copies them."""


class PieceReader:
    """Takes pieces of the sizes that are asked for from pieces of any sizes.

    What lies within one piece is not copied, nor is the end of the last one of a list.
    """

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces = iter(pieces)
        # of a list, each piece stays valid: to see whether there is another does no harm
        self._to_come = len(pieces) if isinstance(pieces, list) else None
        self._rest = memoryview(b"")
        self._buffer = memoryview(bytearray())
        self.taken = 0
        """How many bytes were taken so far."""

    def take(self, count: int) -> memoryview:
        """Return the next ``count`` bytes, or all that are left if those are fewer.

        They are valid until the next call.
        """
        filled = 0
        while filled < count:
            if not self._rest:
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._rest = memoryview(piece)
                if self._to_come is not None:
                    self._to_come -= 1
                continue
            if filled == 0 and (len(self._rest) >= count or self._to_come == 0):
                return self._cut(min(count, len(self._rest)))
            part = self._cut(min(count - filled, len(self._rest)))
            if len(self._buffer) < count:
                self._buffer = memoryview(bytearray(count))
            self._buffer[filled : filled + len(part)] = part
            filled += len(part)
        return self._buffer[:filled]

    def skip(self, limit: int) -> None:
        """Take, and forget, what is left until ``limit`` bytes are passed."""
        while self.taken <= limit:
            if not self._rest:
                piece = next(self._pieces, None)
                if piece is None:
                    return
                self._rest = memoryview(piece)
            self._cut(len(self._rest))

    def rest(self) -> Iterator[memoryview]:
        """Give all that is left, piece by piece; each is valid until the next one."""
        if self._rest:
            yield self._cut(len(self._rest))
        for piece in self._pieces:
            self.taken += len(piece)
            yield memoryview(piece)

    def _cut(self, count: int) -> memoryview:
        part, self._rest = self._rest[:count], self._rest[count:]
        self.taken += count
        return part
