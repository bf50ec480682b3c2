"""The head of a model: one hash-chained word that commits to the model's whole history. Pure.

Each operation makes head = keccak256(abi.encode(head, operation, sender, subject, digest, state
after)), beginning with 32 zero bytes; the state after is what ``ml.chain.line`` says. So the head
on chain can be computed again from the model's events, and a history from which anything was left
out, or to which anything was added, ends in another one. The same as ``_advance`` in
``contracts/registry/ModelStore.sol`` and its callers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from ml.artifact import abi
from ml.artifact.keccak import keccak256
from ml.chain import line as lines
from ml.chain.line import Line, PolicyRefused
from ml.chain.policy import InvalidPolicy
from ml.chain.records import Operation
from ml.chain.types import COMMITMENT_BYTES, CompletionReason, Policy, Verdict, policy_from
from ml.chain.values import text_bytes
from ml.chain.words import policy_word, state_word
from ml.errors import NotVerified

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


def creation_digest(model: bytes, test_set: bytes, policy: Policy) -> bytes:
    """What a creation adds to the head."""
    return keccak256(abi.encode(model, test_set, policy_word(policy)))


def validation_digest(
    accuracy: int, training_accuracy: int, verdict: Verdict, metrics: str
) -> bytes:
    """What a validation adds to the head; accuracies in ppm."""
    return keccak256(abi.encode(accuracy, training_accuracy, verdict, text_digest(metrics)))


def text_digest(text: str) -> bytes:
    """What a reason adds to the head, where an operation has nothing else to add."""
    return keccak256(text_bytes(text))


def policy_digest(policy: Policy) -> bytes:
    """What a change of policy adds to the head: the packed policy itself."""
    return policy_word(policy).to_bytes(32, "big")


def enrolment_digest(client: str, dataset: bytes) -> bytes:
    """What the enrolment of a client adds to the head."""
    return keccak256(abi.encode(int(client, 16), dataset))


@dataclass(frozen=True, slots=True)
class Step:
    """One operation in the history of a model, and how it left the model."""

    operation: Operation
    sender: str
    subject: int
    """The version, the target or the client index that it was about, 0 if none."""
    digest: bytes
    line: Line
    """The model afterwards."""
    head: bytes = NO_HEAD
    """Its head afterwards."""


def replay(events: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[Step]:
    """Go through a model's history again, from its events alone.

    Args:
        events: name and arguments, by their Solidity names, of all events of one model, oldest
            first; those of AccessControl and any that only repeat what an operation implies are
            passed over

    Raises:
        NotVerified: the events cannot be the history of a model.
    """
    line, head = Line(), NO_HEAD
    begun = False
    for name, arguments in events:
        if begun == (name == "ModelCreated"):
            raise NotVerified(
                f"the history {'goes on' if begun else 'begins'} with {name}: a model is created"
                " once, and first. Ask another node for its events."
            )
        begun = True
        try:
            step = _step(name, arguments, line)
        except (PolicyRefused, InvalidPolicy) as error:
            raise NotVerified(
                f"the history says {name} where that was impossible ({error})"
                " Ask another node for its events."
            ) from error
        if step is None:
            continue
        line = step.line
        word = state_word(line.state)
        head = advance(head, step.operation, step.sender, step.subject, step.digest, word)
        yield replace(step, head=head)


def _step(name: str, event: Mapping[str, Any], line: Line) -> Step | None:
    """What an event stands for; None where an operation before it stands for it already."""
    match name:
        case "ModelCreated":
            policy = policy_from(event["policy"])
            digest = creation_digest(event["modelId"], event["testSet"], policy)
            return Step(Operation.CREATE, event["creator"], 0, digest, lines.create(policy))
        case "VersionRegistered":
            return _registration(event, line)
        case "VersionValidated":
            return _validation(event, line)
        case "RolledBackManually":
            after = lines.rollback(line, event["to"])
            return _explained(Operation.ROLLBACK, event, event["to"], after)
        case "VersionDiscarded" if line.state.pending:
            after = lines.discard(line)
            return _explained(Operation.DISCARD, event, event["version"], after)
        case "ModelCompleted" if event["cause"] == CompletionReason.MANUAL:
            after = lines.complete(line)
            return _explained(Operation.COMPLETE, event, after.state.current, after)
        case "ModelReopened":
            after = lines.reopen(line)
            return _explained(Operation.REOPEN, event, line.state.current, after)
        case "VersionRevoked":
            after = lines.revoke(line, event["version"])
            return _explained(Operation.REVOKE, event, event["version"], after)
        case "PolicySet":
            policy = policy_from(event["policy"])
            after = lines.set_policy(line, policy)
            return Step(Operation.SET_POLICY, event["by"], 0, policy_digest(policy), after)
        case "ClientEnrolled":
            digest = enrolment_digest(event["client"], event["dataset"])
            return Step(Operation.ENROL_CLIENT, event["by"], event["index"], digest, line)
        case "ClientExcluded" | "ClientReinstated":
            back = name == "ClientReinstated"
            operation = Operation.REINSTATE_CLIENT if back else Operation.EXCLUDE_CLIENT
            return _explained(operation, event, event["index"], line)
    return None


def _registration(event: Mapping[str, Any], line: Line) -> Step:
    version, commitment = event["version"], bytes(event["commitment"])
    parent, iteration, epoch, *_ = event["details"]
    after = lines.register(line, version, parent, iteration, epoch, commitment[:COMMITMENT_BYTES])
    return Step(Operation.REGISTER, event["registrar"], version, commitment, after)


def _validation(event: Mapping[str, Any], line: Line) -> Step:
    version, verdict = event["version"], Verdict(event["verdict"])
    accuracy, training_accuracy = int(event["accuracy"]), int(event["trainingAccuracy"])
    after, judgement = lines.validate(
        line,
        version,
        accuracy,
        training_accuracy,
        accepted=verdict is not Verdict.REJECTED,
        validators=line.policy.quorum,
    )
    if judgement.verdict is not verdict:
        raise NotVerified(
            f"the history says {verdict.name} of version {version} where the policy says"
            f" {judgement.verdict.name}. Ask another node for its events."
        )
    digest = validation_digest(accuracy, training_accuracy, verdict, event["metrics"])
    return Step(Operation.VALIDATE, event["validator"], version, digest, after)


def _explained(operation: Operation, event: Mapping[str, Any], subject: int, after: Line) -> Step:
    """An operation that has a reason and nothing else to add."""
    return Step(operation, event["by"], subject, text_digest(event["reason"]), after)
