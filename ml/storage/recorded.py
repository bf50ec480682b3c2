"""Objects as the chain names them: by a SHA-256, and by the digest in a CID of one of two kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ml.errors import NotVerified

from .cid import Cid, Codec
from .encrypted import read_sidecar
from .errors import StorageError, UnknownObject
from .sidecar import Sidecar
from .store import Sidecars


@dataclass(frozen=True, slots=True)
class RecordedObject:
    """An object as the chain names it."""

    sha256: bytes
    """Of its bytes."""
    content: bytes
    """The digest in its CID."""
    version: str
    """Whose it is, for messages."""


Locate = Callable[[bytes], Sequence[RecordedObject]]
"""The objects of the versions that have these weights, in the order in which to try them."""


def possible_cids(digest: bytes) -> tuple[Cid, Cid]:
    """The CIDs that a digest on chain may be of: an object of one leaf, or of several."""
    return Cid(Codec.RAW, digest), Cid(Codec.DAG_PB, digest)


def sidecar_of(recorded: RecordedObject, sidecars: Sidecars) -> Sidecar:
    """Read the sidecar of an object that the chain names: of its two possible CIDs, one has one.

    Raises:
        UnknownObject: there is none.
        NotVerified: it is damaged, or of another object than the one on record.
        StorageError: a folder does not say whether it has one.
    """
    unread: StorageError | None = None
    for cid in possible_cids(recorded.content):
        try:
            sidecar = read_sidecar(sidecars, cid)
        except UnknownObject:
            continue
        except StorageError as error:  # a folder does not say: the other name may be elsewhere
            unread = error
            continue
        if sidecar.stored.sha256 != recorded.sha256:
            raise NotVerified(
                f"the sidecar of {cid} says that its SHA-256 is {sidecar.stored.sha256.hex()}, and"
                f" on record for {recorded.version} is {recorded.sha256.hex()}: take the sidecar"
                " from a replica"
            )
        return sidecar
    if unread:
        raise unread
    one_leaf, leaves = possible_cids(recorded.content)
    raise UnknownObject(
        f"the object of {recorded.version}, {leaves} (or {one_leaf}), has no sidecar in"
        f" {sidecars}: name the --store that has it"
    )
