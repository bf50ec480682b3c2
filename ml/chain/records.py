"""What the registry takes in and gives back, beside the policy's own vocabulary in ``types``.

Digests are ``bytes`` of 32, addresses checksummed strings, accuracies ppm.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from ml.chain.types import ModelKind, ModelState, Policy, Status, VersionRecord

NO_DIGEST: Final = bytes(32)
"""Stands for a digest that does not apply: nothing stored, no clients."""


class Role(IntEnum):
    """Who may do what on one model; the number is the last byte of the role's id."""

    NONE = 0
    ADMIN = 1
    """Grants and revokes roles, sets the policy, enrols clients, reopens."""
    TRAINER = 2
    """Registers versions."""
    VALIDATOR = 3
    """Validates them."""
    OPERATOR = 4
    """Rolls back, discards, completes, revokes, excludes and reinstates clients."""


class Operation(IntEnum):
    """What a step of a model's head stands for."""

    NONE = 0
    CREATE = 1
    REGISTER = 2
    VALIDATE = 3
    ROLLBACK = 4
    DISCARD = 5
    COMPLETE = 6
    REOPEN = 7
    REVOKE = 8
    SET_POLICY = 9
    ENROL_CLIENT = 10
    EXCLUDE_CLIENT = 11
    REINSTATE_CLIENT = 12
    VALIDATE_BY_QUORUM = 13
    ANNOUNCE_SUCCESSOR = 14


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a forked model starts: a version of another model."""

    model: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Details:
    """What a trainer states about a version besides its number and its weights."""

    parent: int
    """The current version (0: there is none); of an open model any that passed, or 0."""
    iteration: int
    """The model's iteration + 1; 0 of an open model."""
    epoch: int
    """The model's epoch; 0 of an open model."""
    object: bytes = NO_DIGEST
    """SHA-256 of the stored ciphertext."""
    content: bytes = NO_DIGEST
    """Digest in the stored object's CIDv1."""
    updates: bytes = NO_DIGEST
    """Merkle root of the signed client updates."""
    contributors: int = 0
    """Bitmap of client indices."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A version that is to be registered."""

    model: bytes
    version: int
    weights: bytes
    details: Details
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a validator states: how these very weights did on this very test set."""

    version: int
    accuracy: int
    """ppm."""
    training_accuracy: int
    """ppm, as the version's metadata states it (0: unknown)."""
    accepted: bool
    """False is a refusal on other grounds than accuracy."""
    test_set: bytes
    weights: bytes
    details: bytes
    """Hash of the version's details."""


@dataclass(frozen=True, slots=True)
class Signature:
    """An ECDSA signature in the compact form of EIP-2098."""

    r: bytes
    vs: bytes
    """s, with the parity of y as its highest bit."""


@dataclass(frozen=True, slots=True)
class SignedEvaluation:
    """An evaluation as one validator signed it: see ``signing``."""

    evaluation: Evaluation
    metrics: bytes
    """keccak256 of the text."""
    deadline: int
    """Seconds since 1970."""
    signature: Signature


@dataclass(frozen=True, slots=True)
class VersionContent:
    """All that a version's commitment is of, but the test set."""

    weights: bytes
    registrar: str
    details: Details
    metadata: bytes
    """keccak256 of the text."""


@dataclass(frozen=True, slots=True)
class Update:
    """What a client states about one update that it sends: see ``signing``."""

    epoch: int
    iteration: int
    base: int
    """The version that it started from."""
    digest: bytes
    samples: int
    """That it trained on."""


@dataclass(frozen=True, slots=True)
class Model:
    """All about a model but its versions."""

    id: bytes
    state: ModelState
    test_set: bytes
    head: bytes
    """Commits to the whole history of the model."""
    active_clients: int
    """Bitmap of client indices."""
    policy: Policy
    origin: Origin | None = None
    """Where it starts, if it is a fork."""
    origin_status: Status = Status.NONE
    """What has become of that version by now (NONE without one)."""

    @property
    def kind(self) -> ModelKind:
        """What it may be used for."""
        return self.state.kind


@dataclass(frozen=True, slots=True)
class Version(VersionRecord):
    """A version's record with its number."""

    number: int


@dataclass(frozen=True, slots=True)
class LineageStep:
    """A version on the way back to where its model, and what that was forked from, began."""

    model: bytes
    version: Version


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where a transaction stands in the chain, and what it cost."""

    transaction: str
    block: int
    gas_used: int
