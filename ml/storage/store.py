"""What a store of objects does, wherever it keeps them.

An object is bytes named by their CID, so it never changes; putting it again changes nothing, or
mends it. A sidecar belongs to an object and does change, whole, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from .cid import Cid
from .naming import Stored
from .pieces import Piece


class Store(Protocol):
    """Keeps objects by their CID."""

    def put(self, pieces: Iterable[Piece]) -> Stored:
        """Keep an object, and return what it is called once it is kept for good.

        If ``pieces`` raises, or the process ends, there is no such object, or the one from before.
        """
        ...

    def open(self, cid: Cid) -> AbstractContextManager[Iterator[Piece]]:
        """Give an object's bytes in order; each piece is valid until the next one.

        They are not checked: what is encrypted authenticates itself, and `naming.checked` or
        `verify` check the rest.

        Raises:
            UnknownObject: it is not here.
        """
        ...

    def has(self, cid: Cid) -> bool:
        """Tell whether there is something under this name."""
        ...

    def delete(self, cid: Cid) -> None:
        """Keep an object no longer, if it is here."""
        ...

    def names(self) -> Iterator[Cid]:
        """The objects that are here, in no order."""
        ...

    def verify(self, cid: Cid) -> Stored:
        """Read an object whole, and see that it is what it is called.

        Raises:
            UnknownObject: it is not here.
            WrongContent: its bytes have another CID.
        """
        ...


class Sidecars(Protocol):
    """Keeps a sidecar for each object that has one."""

    def read(self, cid: Cid) -> bytes:
        """Return a sidecar as it was written.

        Raises:
            UnknownObject: there is none.
        """
        ...

    def write(self, cid: Cid, sidecar: bytes) -> None:
        """Keep a sidecar in place of the one from before: after a crash it is one of the two."""
        ...

    def write_all(self, sidecars: Mapping[Cid, bytes]) -> None:
        """Keep several, as `write`; together they take less time."""
        ...

    def update(self, cid: Cid, change: Callable[[bytes], bytes]) -> bool:
        """Replace a sidecar by what ``change`` makes of it, while nobody else updates one.

        Returns:
            whether that is something else; errors as `read`.
        """
        ...

    def delete(self, cid: Cid) -> None:
        """Keep a sidecar no longer, if there is one."""
        ...

    def names(self) -> Iterator[Cid]:
        """The objects whose sidecars are here, in no order."""
        ...
