"""Whether an update may go into a round: checks in a fixed order, each refusal with its name.

Who a client is and what it signed come before anything that is said about it, so that nobody can
have a client blamed for what somebody else sent; and all that is cheap comes before the file is
hashed, and its hash before anything in it is looked at. Pure: the time is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ml.chain.signed_files import UpdateFile
from ml.chain.signing import Domain
from ml.errors import ModelproofError, NotVerified

from . import updates
from .aggregation import (
    MAX_SAMPLES,
    ClientUpdate,
    NonFiniteUpdate,
    UnfitUpdate,
    Weights,
    check_update,
)
from .updates import UpdateMetadata

HEADER_BYTES: Final = 1 << 16
"""What a file may have beyond its tensors: its metadata, and something of everything."""
TENSOR_HEADER_BYTES: Final = 1 << 10
"""What it may have beyond each tensor's own bytes: name, dtype, shape and offsets."""


class Refusal(StrEnum):
    """Why an update is refused, in the order of the checks."""

    UNKNOWN_CLIENT = "unknown client"
    """Nobody with this index and address takes part in the round."""
    FOREIGN = "foreign"
    """It is for another model, registry or chain."""
    UNSIGNED = "unsigned"
    """The client did not sign just this."""
    REPLAYED = "replayed"
    """This very update was taken in an earlier round."""
    DUPLICATE = "duplicate"
    """The client's update for this round has been taken."""
    LATE = "late"
    """It is for a round that is over, or came after the deadline."""
    EARLY = "early"
    """It is for a round that has not begun."""
    WRONG_BASE = "wrong base"
    """It started from another version, or from other weights than that has, by its file."""
    SAMPLES = "samples"
    """It states no samples, or more than the client has."""
    UNAVAILABLE = "unavailable"
    """The object that was named is not in the store, or does not open."""
    ALTERED = "altered"
    """The file is not the one that was signed."""
    ILL_SHAPED = "ill-shaped"
    """The file is no update of this model, or contradicts what was signed."""
    NON_FINITE = "non-finite"
    """It has NaN or infinity among its weights."""


class UpdateRefused(NotVerified):
    """An update does not go into the round."""

    def __init__(self, refusal: Refusal, client: int, reason: str) -> None:
        """Name the refusal, and the index of the client that the update names as its own."""
        super().__init__(f"the update of client {client} is refused ({refusal}): {reason}")
        self.refusal = refusal
        self.client = client


@dataclass(frozen=True, slots=True)
class Participant:
    """A client that takes part in a round."""

    address: str
    samples: int | None = None
    """How many it has, if that is known: it may state fewer, not more."""


@dataclass(frozen=True, eq=False, slots=True)
class Round:
    """What an update must be, to go into it."""

    domain: Domain
    model: bytes
    """The model's id."""
    epoch: int
    iteration: int
    base: int
    """The version that clients start from."""
    base_weights: bytes
    """The identity of that version."""
    weights: Weights
    """Its tensors."""
    clients: Mapping[int, Participant]
    """Who takes part, by index."""
    deadline: int | None = None
    """Seconds since 1970, until when updates are taken."""


def admit(
    ongoing: Round,
    file: UpdateFile,
    data: bytes,
    *,
    at: int,
    taken: Collection[int] = (),
    earlier: Collection[bytes] = (),
) -> ClientUpdate:
    """Check an update, and return what goes into the aggregate.

    Args:
        ongoing: the round.
        file: what the client signed.
        data: the update's file.
        at: when it came, in seconds since 1970.
        taken: the indices of clients whose updates the round has.
        earlier: the digests of updates that earlier rounds took.

    Raises:
        UpdateRefused: by the first check that it does not pass.
    """
    check_claim(ongoing, file, at=at, taken=taken, earlier=earlier)
    return check_content(ongoing, file, data)[0]


def check_claim(
    ongoing: Round,
    file: UpdateFile,
    *,
    at: int,
    taken: Collection[int] = (),
    earlier: Collection[bytes] = (),
) -> None:
    """Check all that can be without the update's file; arguments and errors as `admit`."""
    _check_sender(ongoing, file)
    _check_round(ongoing, file, at, taken, earlier)
    _check_samples(ongoing, file)


def size_limit(weights: Weights) -> int:
    """How many bytes an update of a model may have."""
    return HEADER_BYTES + sum(tensor.nbytes + TENSOR_HEADER_BYTES for tensor in weights.values())


def _check_sender(ongoing: Round, file: UpdateFile) -> None:
    known = ongoing.clients.get(file.index)
    if known is None or known.address != file.client:
        reason = f"{file.client} does not take part with this index"
        raise UpdateRefused(Refusal.UNKNOWN_CLIENT, file.index, reason)
    if file.domain != ongoing.domain or file.model != ongoing.model:
        reason = f"it is for the model 0x{file.model.hex()} of {file.domain.registry} on chain"
        reason += f" {file.domain.chain_id}"
        raise UpdateRefused(Refusal.FOREIGN, file.index, reason)
    try:
        file.check_signature()
    except NotVerified as error:
        raise UpdateRefused(Refusal.UNSIGNED, file.index, str(error)) from None


def _check_round(
    ongoing: Round,
    file: UpdateFile,
    at: int,
    taken: Collection[int],
    earlier: Collection[bytes],
) -> None:
    update = file.update
    is_now = (update.epoch, update.iteration) == (ongoing.epoch, ongoing.iteration)
    what = f"it is for epoch {update.epoch}, iteration {update.iteration}, and this is epoch"
    what += f" {ongoing.epoch}, iteration {ongoing.iteration}"
    if update.digest in earlier:
        reason = f"0x{update.digest.hex()} was taken before"
        raise UpdateRefused(Refusal.REPLAYED, file.index, reason)
    if is_now and file.index in taken:
        raise UpdateRefused(Refusal.DUPLICATE, file.index, "the round has one of this client")
    if update.epoch < ongoing.epoch or update.iteration < ongoing.iteration:
        raise UpdateRefused(Refusal.LATE, file.index, what)
    if not is_now:
        raise UpdateRefused(Refusal.EARLY, file.index, what)
    if ongoing.deadline is not None and at > ongoing.deadline:
        reason = f"it came {at - ongoing.deadline} s after the deadline"
        raise UpdateRefused(Refusal.LATE, file.index, reason)
    if update.base != ongoing.base:
        reason = f"it started from v{update.base}, and the round from v{ongoing.base}"
        raise UpdateRefused(Refusal.WRONG_BASE, file.index, reason)


def _check_samples(ongoing: Round, file: UpdateFile) -> None:
    stated, has = file.update.samples, ongoing.clients[file.index].samples
    most = MAX_SAMPLES if has is None else has
    if not 1 <= stated <= most:
        reason = f"it states {stated} samples, and not 1 to {most}"
        raise UpdateRefused(Refusal.SAMPLES, file.index, reason)


def check_content(
    ongoing: Round, file: UpdateFile, data: bytes
) -> tuple[ClientUpdate, UpdateMetadata]:
    """Check an update's file, of which all else has been checked; arguments and errors as `admit`.

    Returns:
        what goes into the aggregate, and what the file says of itself.
    """
    most = size_limit(ongoing.weights)
    if len(data) > most:
        reason = f"its file has {len(data)} bytes, and an update of this model at most {most}"
        raise UpdateRefused(Refusal.ILL_SHAPED, file.index, reason)
    digest = updates.digest_of(data)
    if digest != file.update.digest:
        reason = f"its SHA-256 is 0x{digest.hex()}, and 0x{file.update.digest.hex()} was signed"
        raise UpdateRefused(Refusal.ALTERED, file.index, reason)
    try:
        content = updates.load(data, "its file")
    except ModelproofError as error:
        raise UpdateRefused(Refusal.ILL_SHAPED, file.index, str(error)) from None
    metadata = content.metadata
    if (
        updates.stated(metadata, digest) != file.update
        or (metadata.model, metadata.client) != (file.model, file.client)
        or not 0 <= (metadata.correct or 0) <= metadata.samples
        or not 0 <= (metadata.epsilon or 0) < math.inf
    ):
        reason = "its file says something else than was signed, or what cannot be"
        raise UpdateRefused(Refusal.ILL_SHAPED, file.index, reason)
    if metadata.base_weights != ongoing.base_weights:
        reason = f"it started from other weights than those of v{ongoing.base}"
        raise UpdateRefused(Refusal.WRONG_BASE, file.index, reason)
    update = ClientUpdate(file.index, metadata.samples, content.weights)
    try:
        check_update(ongoing.weights, update)
    except NonFiniteUpdate as error:
        raise UpdateRefused(Refusal.NON_FINITE, file.index, f"it {error.reason}") from None
    except UnfitUpdate as error:
        raise UpdateRefused(Refusal.ILL_SHAPED, file.index, f"it {error.reason}") from None
    return update, metadata
