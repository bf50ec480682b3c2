"""What the registry takes in and gives back, beside the policy's own vocabulary in ``types``.

Digests are ``bytes`` of 32, addresses checksummed strings, accuracies ppm.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from ml.chain.types import ModelState, Policy, VersionRecord

NO_DIGEST: Final = bytes(32)
"""Stands for a digest that does not apply: nothing stored, no clients."""


class ModelKind(IntEnum):
    """What a model may be used for; fixed at creation."""

    NONE = 0
    STRICT = 1


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


@dataclass(frozen=True, slots=True)
class Details:
    """What a trainer states about a version besides its number and its weights."""

    parent: int
    """The current version (0: there is none)."""
    iteration: int
    """The model's iteration + 1."""
    epoch: int
    """The model's epoch."""
    object: bytes = NO_DIGEST
    """SHA-256 of the stored ciphertext."""
    content: bytes = NO_DIGEST
    """Digest in the stored object's CIDv1."""
    updates: bytes = NO_DIGEST
    """Merkle root of the signed client updates."""
    contributors: int = 0
    """Bitmap of client indices."""


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
class Model:
    """All about a model but its versions."""

    id: bytes
    kind: ModelKind
    state: ModelState
    test_set: bytes
    head: bytes
    """Commits to the whole history of the model."""
    active_clients: int
    """Bitmap of client indices."""
    policy: Policy


@dataclass(frozen=True, slots=True)
class Version(VersionRecord):
    """A version's record with its number."""

    number: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where a transaction stands in the chain, and what it cost."""

    transaction: str
    block: int
    gas_used: int
