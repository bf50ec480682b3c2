"""Why an operation on a model's versions is refused, as the contract would put it. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NoReturn

from ml.errors import ModelproofError


class Refusal(StrEnum):
    """The check that an operation failed, by the name of the contract's error."""

    UNKNOWN_VERSION = "UnknownVersion"
    COMPLETED = "ModelIsCompleted"
    NOT_COMPLETED = "ModelIsNotCompleted"
    OPEN = "ModelIsOpen"
    PENDING = "VersionIsPending"
    TOO_MANY_WAITING = "TooManyWaiting"
    VERSIONS_WAIT = "VersionsWait"
    NOT_PENDING = "VersionIsNotPending"
    NOT_PASSED = "VersionNotPassed"
    ALREADY_CURRENT = "AlreadyCurrent"
    VERSION_IN_USE = "VersionInUse"
    ITERATIONS_EXHAUSTED = "IterationsExhausted"
    WRONG_VERSION = "UnexpectedVersion"
    WRONG_PARENT = "UnexpectedParent"
    WRONG_ITERATION = "UnexpectedIteration"
    WRONG_EPOCH = "UnexpectedEpoch"
    OUT_OF_RANGE = "AccuracyOutOfRange"
    QUORUM_REQUIRED = "QuorumRequired"
    WRONG_SIGNATURE_COUNT = "WrongSignatureCount"
    EXPIRED = "EvaluationExpired"
    SIGNERS_NOT_ASCENDING = "SignersNotAscending"


class PolicyRefused(ModelproofError):
    """The operation would revert; ``reason`` is the first check that it fails.

    ``values`` are those that the contract's error carries besides the model's id, by their Solidity
    names and in their order.
    """

    def __init__(self, reason: Refusal, sentence: str, values: dict[str, Any]) -> None:
        """Keep the reason and its values beside the sentence that people read."""
        super().__init__(sentence)
        self.reason = reason
        self.values = values


def refuse(reason: Refusal, sentence: str, **values: Any) -> NoReturn:
    """Raise ``PolicyRefused``."""
    raise PolicyRefused(reason, sentence, values)
