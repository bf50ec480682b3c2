"""The head of a model: one hash-chained word that commits to the model's whole history. Pure.

Each operation makes head = keccak256(abi.encode(head, operation, sender, subject, digest, state
after)), beginning with 32 zero bytes; the state after is what ``ml.chain.line`` says. So the head
on chain can be computed again from the model's events (`ml.chain.replay`), and a history from which
anything was left out, or to which anything was added, ends in another one. The same as ``_advance``
in ``contracts/registry/ModelStore.sol`` and its callers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ml.artifact import abi
from ml.artifact.keccak import keccak256
from ml.chain.records import NO_DIGEST, Operation, Origin
from ml.chain.types import Policy, Verdict
from ml.chain.values import text_bytes
from ml.chain.words import policy_word

NO_HEAD: Final = bytes(32)
"""The head before the creation."""


def advance(
    head: bytes, operation: Operation, sender: str, subject: int, digest: bytes, state_word: int
) -> bytes:
    """The head after one more operation.

    Args:
        head: the head before, 32 bytes
        operation: what was done
        sender: address of the account that did it
        subject: the version, the target or the client index that it was about, 0 if none
        digest: what commits to its arguments, 32 bytes; see the functions below
        state_word: the model's packed state afterwards
    """
    return keccak256(abi.encode(head, operation, int(sender, 16), subject, digest, state_word))


def creation_digest(
    model: bytes, test_set: bytes, policy: Policy, origin: Origin | None = None
) -> bytes:
    """What a creation adds to the head; the model's kind is in its state."""
    begins = (origin.model, origin.version) if origin else (NO_DIGEST, 0)
    return keccak256(abi.encode(model, test_set, policy_word(policy), *begins))


def validation_digest(
    accuracy: int, training_accuracy: int, verdict: Verdict, metrics: str
) -> bytes:
    """What a validation adds to the head; accuracies in ppm."""
    return keccak256(abi.encode(accuracy, training_accuracy, verdict, text_digest(metrics)))


def quorum_digest(
    accuracy: int,
    training_accuracy: int,
    verdict: Verdict,
    metrics: str,
    signers: Sequence[str],
    deadline: int,
) -> bytes:
    """What a validation by several validators adds to the head.

    Their addresses are hashed as Solidity packs an array of them: a word each, no length.
    """
    packed = keccak256(abi.encode(*(int(signer, 16) for signer in signers)))
    values = (accuracy, training_accuracy, verdict, text_digest(metrics), packed, deadline)
    return keccak256(abi.encode(*values))


def text_digest(text: str) -> bytes:
    """What a reason adds to the head, where an operation has nothing else to add."""
    return keccak256(text_bytes(text))


def policy_digest(policy: Policy) -> bytes:
    """What a change of policy adds to the head: the packed policy itself."""
    return policy_word(policy).to_bytes(32, "big")


def enrolment_digest(client: str, dataset: bytes) -> bytes:
    """What the enrolment of a client adds to the head."""
    return keccak256(abi.encode(int(client, 16), dataset))


def successor_digest(registry: str, successor: bytes) -> bytes:
    """What the announcement of a successor adds to the head."""
    return keccak256(abi.encode(int(registry, 16), successor))
