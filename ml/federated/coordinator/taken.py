"""The updates that a round has taken: read again, or removed with a round that is given up."""

from __future__ import annotations

from dataclasses import dataclass

from ml.chain.signed_files import UpdateFile, parse_update
from ml.errors import NotVerified
from ml.federated import admission, updates
from ml.federated.aggregation import ClientUpdate
from ml.federated.sampling import RoundKey
from ml.storage.cid import Cid
from ml.storage.errors import StorageError, UnknownObject
from ml.storage.sidecar import Sidecar

from .bases import Base
from .context import Context
from .news import MessageIgnored
from .records import TakenUpdate


@dataclass(frozen=True, eq=False, slots=True)
class Admitted:
    """An update that is in a round."""

    file: UpdateFile
    """What the client signed."""
    update: ClientUpdate
    taken: TakenUpdate


def forget_round(context: Context, key: RoundKey) -> None:
    """Forget a round of which no version was made, and remove its updates from the stores."""
    for taken in context.journal.taken(key):
        try:
            context.received.delete(Cid.parse(taken.cid))
        except StorageError as error:
            left = f"an update of a round that was given up stays in the store: {error}"
            context.tell(MessageIgnored(left))
    context.journal.forget(key)


def read_taken(context: Context, taken: TakenUpdate, base: Base) -> Admitted:
    """Read an update that was admitted earlier from the store.

    Raises:
        NotVerified: what is stored is not what the client signed.
        StorageError: it is not there, or no key opens it.
    """
    file = parse_update(taken.signed.encode(), f"what client {taken.client} signed")
    data = _read(context, taken, admission.size_limit(base.tensors))
    if updates.digest_of(data) != file.update.digest:
        raise NotVerified(f"object {taken.cid} is not the update that client {file.index} signed.")
    content = updates.load(data, f"the update of client {file.index}")
    if content.metadata.base_weights != base.weights:
        raise NotVerified(f"object {taken.cid} started from other weights than v{base.version}'s.")
    return Admitted(file, ClientUpdate(file.index, file.update.samples, content.weights), taken)


def _read(context: Context, taken: TakenUpdate, limit: int) -> bytes:
    cid = Cid.parse(taken.cid)
    try:
        return context.objects.get(cid, limit)
    except UnknownObject:  # as long as a round goes on, the stores lack its sidecar
        return context.received.get(cid, limit, Sidecar.read(taken.sidecar.encode(), cid))
