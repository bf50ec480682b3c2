"""Objects on an IPFS node, by Kubo's HTTP RPC.

The objects of this store are those that the node has pinned, recursively. The node is not believed:
what it calls an object must be what we call it, and what it gives must be what we asked for.
Sidecars stay local, beside objects or by themselves (`local_store.LocalSidecars`).
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

import httpx

from ml.artifact.errors import quoted
from ml.errors import NotVerified

from .cid import LEAF_BYTES, Cid
from .errors import InvalidCid, StorageError, UnknownObject
from .kubo import Kubo, Patience, Refused
from .naming import Stored, checked, name
from .pieces import Piece
from .spool import spooled
from .store import Store

DEFAULT_URL: Final = "http://127.0.0.1:5001"
_BASE32: Final = {"cid-base": "base32"}
_ADD: Final = {
    "cid-version": "1",
    "raw-leaves": "true",
    "chunker": f"size-{LEAF_BYTES}",
    "hash": "sha2-256",
    "pin": "true",
    "progress": "false",
    "quieter": "true",
    **_BASE32,
}
_NOT_PINNED: Final = "not pinned"
_NOT_FOUND: Final = ("not found", "could not find", "timed out", "deadline exceeded")
"""How nodes (Kubo, js-ipfs) say that neither they nor a peer has a block."""


class UntrustedNode(NotVerified):
    """The node calls an object something that it is not called."""


class IpfsStore(Store):
    """What an IPFS node has pinned; a context manager. Any number of processes may use it."""

    def __init__(self, url: str = DEFAULT_URL, patience: Patience | None = None) -> None:
        """Connect to nothing yet.

        ``url`` is the RPC's; a user and a password in it are sent with each call.

        Raises:
            StorageError: it is no such URL.
        """
        self._node = Kubo(url, patience or Patience())

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self._node.close()

    def __str__(self) -> str:
        return f"ipfs:{self._node.address}"

    def put(self, pieces: Iterable[Piece]) -> Stored:
        """Add an object and pin it; it passes through a temporary file, so that it can be resent.

        Raises:
            Unreachable: the node did not take it, as often as it was tried.
            Refused: the node cannot take it.
            UntrustedNode: the node calls it something else. It stays pinned there under that name.
        """
        with spooled(pieces) as spool, spool.path.open("rb") as file:
            answer = self._node.ask("add", _ADD, file)
            said = _last_field(answer, "Hash")
            if said != str(spool.stored.cid):
                raise UntrustedNode(
                    f"the IPFS node at {self._node.address} calls an object {quoted(said)}, and it"
                    f" is {spool.stored.cid}: something between here and the node changes what is"
                    " sent, or the node does not cut objects as it was told"
                )
            return spool.stored

    @contextmanager
    def open(self, cid: Cid) -> Iterator[Iterator[Piece]]:
        """Give an object's bytes in order; if the node breaks off, it is asked for the rest.

        Where the node does not have it, the network is searched for as long as patience has it.

        Raises:
            UnknownObject: it is not to be found.
            Unreachable: the node does not answer, also in the iteration.
            WrongContent: at the end of the iteration: these were not the object's bytes.
        """
        pieces = self._pieces(cid, self._size(cid))
        try:
            yield checked(pieces, cid)
        finally:
            pieces.close()

    def has(self, cid: Cid) -> bool:
        """Tell whether the node has pinned it."""
        try:
            self._node.ask("pin/ls", {"arg": str(cid), "type": "recursive", **_BASE32})
        except Refused as refusal:
            if _NOT_PINNED in refusal.message:
                return False
            raise
        return True

    def delete(self, cid: Cid) -> None:
        """Unpin an object, if it is pinned; the node frees the space when it collects garbage."""
        try:
            self._node.ask("pin/rm", {"arg": str(cid), "recursive": "true", **_BASE32})
        except Refused as refusal:
            if _NOT_PINNED not in refusal.message:
                raise

    def pin(self, cid: Cid) -> None:
        """Have the node keep an object that it has, or finds on the network.

        Raises:
            UnknownObject: it is not to be found.
        """
        asked = {"arg": str(cid), "recursive": "true", "timeout": self._search, **_BASE32}
        try:
            self._node.ask("pin/add", asked)
        except Refused as refusal:
            raise self._unknown(cid, refusal) from refusal

    def names(self) -> Iterator[Cid]:
        """All that is pinned and could be an object of ours; on a shared node also what others pin.

        CIDs of other kinds are left out.
        """
        answer = self._node.ask("pin/ls", {"type": "recursive", "stream": "true", **_BASE32})
        for line in answer.splitlines():
            if line.strip():
                try:
                    yield Cid.parse(_field(line, "Cid"))
                except InvalidCid:
                    continue

    def verify(self, cid: Cid) -> Stored:
        """Read an object whole; raises `UnknownObject` and `WrongContent`."""
        with self.open(cid) as pieces:
            return name(pieces)

    def _size(self, cid: Cid) -> int:
        """How many bytes the node says an object has; shows that it has its root, too."""
        asked = {"arg": f"/ipfs/{cid}", "timeout": self._search}
        try:
            answer = self._node.ask("files/stat", asked)
        except Refused as refusal:
            raise self._unknown(cid, refusal) from refusal
        size = _field(answer, "Size")
        if not size.isdecimal():
            raise StorageError(f"what answers is no IPFS node: a size cannot be {quoted(size)}")
        return int(size)

    def _pieces(self, cid: Cid, size: int) -> Generator[bytes, None, None]:
        """Its bytes as the node gives them, resumed where the node broke off.

        An answer that ends too soon counts as that: it is how nodes tell of a failure by then.
        """
        passed = failures = 0
        while passed < size:
            asked = {"arg": str(cid), "offset": str(passed)}
            try:
                with self._node.stream("cat", asked) as pieces:
                    for piece in pieces:
                        passed += len(piece)
                        failures = 0
                        yield piece
                        if passed > size:  # the digest will be another one, and it may never end
                            return
                if passed < size:
                    raise httpx.RemoteProtocolError(f"it ended after {passed} of {size} bytes")
            except Refused as refusal:
                raise self._unknown(cid, refusal) from refusal
            except httpx.TransportError as error:
                failures += 1
                if failures >= self._node.patience.attempts:
                    raise self._node.unreachable(error) from error
                self._node.patience.wait(failures)

    @property
    def _search(self) -> str:
        return f"{self._node.patience.search:g}s"

    def _unknown(self, cid: Cid, refusal: Refused) -> StorageError:
        if any(words in refusal.message for words in _NOT_FOUND):
            return UnknownObject(
                f"the IPFS node at {self._node.address} has no object {cid}, and found none within"
                f" {self._search}"
            )
        return refusal


def _last_field(answer: str, key: str) -> str:
    """A field of the last of an answer's lines, each of which is a JSON object."""
    return _field((answer.strip().splitlines() or [""])[-1], key)


def _field(line: str, key: str) -> str:
    try:
        return str(json.loads(line)[key])
    except (ValueError, KeyError, TypeError):
        raise StorageError(f"what answers is no IPFS node: {quoted(line)} has no {key}") from None
