"""What bytes are called: their CID and their SHA-256, from one pass over them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .cid import LEAF_BYTES, Cid, Tree
from .errors import WrongContent
from .pieces import Piece


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as it is named: the CID that it is stored under, its SHA-256, its size in bytes."""

    cid: Cid
    sha256: bytes
    size: int


class Namer:
    """Names bytes as they pass.

    Each byte is hashed twice, for the SHA-256 and for its leaf, except those of the first leaf: up
    to its end, the two are one hash.
    """

    def __init__(self) -> None:
        self._whole = hashlib.sha256()
        self._leaf = self._whole
        self._leaf_bytes = 0
        self._tree = Tree()
        self.size = 0

    def update(self, piece: Piece) -> None:
        """Take the next bytes."""
        rest = memoryview(piece)
        while rest:
            if self._leaf_bytes == LEAF_BYTES:
                self._end_leaf()
            part = rest[: LEAF_BYTES - self._leaf_bytes]
            rest = rest[len(part) :]
            self._whole.update(part)
            if self._leaf is not self._whole:
                self._leaf.update(part)
            self._leaf_bytes += len(part)
        self.size += len(piece)

    def finish(self) -> Stored:
        """Return the names of all bytes; no more can be taken."""
        self._end_leaf()
        return Stored(self._tree.root().cid, self._whole.digest(), self.size)

    def _end_leaf(self) -> None:
        self._tree.add_leaf(self._leaf.digest(), self._leaf_bytes)
        self._leaf = hashlib.sha256()
        self._leaf_bytes = 0


def name(pieces: Iterable[Piece]) -> Stored:
    """Name bytes without keeping them."""
    namer = Namer()
    for piece in pieces:
        namer.update(piece)
    return namer.finish()


def checked(pieces: Iterable[Piece], cid: Cid) -> Iterator[Piece]:
    """Pass bytes on, and see at their end that they are those that the CID names.

    Raises:
        WrongContent: they are others; all of them were passed on by then.
    """
    namer = Namer()
    for piece in pieces:
        namer.update(piece)
        yield piece
    actual = namer.finish().cid
    if actual != cid:
        raise WrongContent(cid, actual)
