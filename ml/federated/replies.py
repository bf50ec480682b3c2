"""What clients and validators answer to tasks, as strict canonical JSON.

An update and an acknowledgement are signed, and what a validator did is read from the chain. A
failure is believed: whoever can write into the coordinator's queue can keep a client out of a
round, and no more than that. Weights are named by their CID and never travel here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from ml.chain.records import Signature
from ml.training import canonical
from ml.training.canonical import Digest

from .tasks import load_message

Uint32: TypeAlias = Annotated[int, Field(ge=0, lt=2**32)]
"""A number as the chain has them."""


@dataclass(frozen=True, slots=True)
class UpdateReply:
    """To TRAIN: an update is in the store."""

    task_id: str
    client_id: Uint32
    update_cid: str
    sidecar: str
    """The object's (`ml.storage.sidecar`): it wraps the object's key for the coordinator."""
    signed: str
    """What the client signed, as `ml.chain.signed_files` writes it, without a proof."""
    training_s: float
    """How long training took."""
    storing_s: float
    """How long writing, signing, encrypting and storing the update took."""
    validation_ppm: int | None = None
    """Accuracy on the part of its samples that the client kept from training, if it did."""
    reply_type: Literal["UPDATE"] = "UPDATE"


@dataclass(frozen=True, slots=True)
class FailureReply:
    """To TRAIN or VALIDATE: it could not be done."""

    task_id: str
    sender: str
    """The address of the client or validator."""
    reason: str
    reply_type: Literal["FAILURE"] = "FAILURE"


@dataclass(frozen=True, slots=True)
class AcknowledgementReply:
    """To ROLLBACK: what was held is discarded, and the target loaded."""

    task_id: str
    client_id: Uint32
    model: Digest
    epoch: Uint32
    target_version_id: Uint32
    target_weights: Digest
    """The identity of what was loaded."""
    signature_r: Digest
    signature_vs: Digest
    """By EIP-712 (`acknowledgements`), in the compact form of EIP-2098."""
    reply_type: Literal["ACKNOWLEDGEMENT"] = "ACKNOWLEDGEMENT"

    @property
    def signature(self) -> Signature:
        """The client's."""
        return Signature(self.signature_r, self.signature_vs)


@dataclass(frozen=True, slots=True)
class EvaluationReply:
    """To VALIDATE where several validators have to agree: one's signed evaluation."""

    task_id: str
    signed: str
    """As `ml.chain.signed_files` writes it."""
    reply_type: Literal["EVALUATION"] = "EVALUATION"


Reply: TypeAlias = UpdateReply | FailureReply | AcknowledgementReply | EvaluationReply
_TYPES: Final[dict[str, type[Reply]]] = {
    "UPDATE": UpdateReply,
    "FAILURE": FailureReply,
    "ACKNOWLEDGEMENT": AcknowledgementReply,
    "EVALUATION": EvaluationReply,
}


def dump(reply: Reply) -> bytes:
    """Write a reply; equal ones give equal bytes."""
    return canonical.dump(reply).encode()


def load(data: bytes) -> Reply:
    """Read what `dump` wrote.

    Raises:
        MalformedJson: the bytes are anything else.
    """
    return load_message(data, _TYPES, "reply")
