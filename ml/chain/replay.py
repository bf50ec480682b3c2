"""A model's history, gone through again from its events alone. Pure.

Each event of an operation is a step, after which ``ml.chain.line`` says how the model stands and
``ml.chain.head`` what its head is. Where the last head is the one on chain, the events are the
whole history and nothing but it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn

from ml.chain import line as lines
from ml.chain.head import (
    NO_HEAD,
    advance,
    creation_digest,
    enrolment_digest,
    policy_digest,
    quorum_digest,
    successor_digest,
    text_digest,
    validation_digest,
)
from ml.chain.line import Line
from ml.chain.line_refusals import PolicyRefused
from ml.chain.policy import InvalidPolicy
from ml.chain.records import Operation, Origin
from ml.chain.types import COMMITMENT_BYTES, ModelKind, Verdict, policy_from
from ml.chain.words import state_word
from ml.errors import NotVerified

EVIDENCE: Final = frozenset({"EquivocationRecorded", "HiddenClientProved"})
"""Events of what anyone can prove: not under the head, which no stranger may move."""

Told = tuple[str, Mapping[str, Any]]
"""An event: its name, and its arguments by their Solidity names."""


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


def replay(events: Iterable[Told]) -> Iterator[Step]:
    """Go through a model's history again, from its events alone.

    Args:
        events: name and arguments of all events of one model, oldest first; evidence is passed over

    Raises:
        NotVerified: the events cannot be the history of a model, or some that only repeat what an
            operation implies are missing, made up or say something else.
    """
    line, head = Line(), NO_HEAD
    begun = False
    quorum: Mapping[str, Any] | None = None
    implied: list[Told] = []
    for name, arguments in events:
        if name in EVIDENCE:
            continue
        if begun == (name == "ModelCreated"):
            raise NotVerified(
                f"the history {'goes on' if begun else 'begins'} with {name}: a model is created"
                " once, and first. Ask another node for its events."
            )
        begun = True
        if implied:
            _check_implied(implied.pop(0), (name, arguments))
            continue
        if name == "QuorumReached" and quorum is None:
            quorum = arguments
            continue
        try:
            step = _step(name, arguments, line, quorum)
        except (PolicyRefused, InvalidPolicy) as error:
            raise NotVerified(
                f"the history says {name} where that was impossible ({error})"
                " Ask another node for its events."
            ) from error
        quorum, implied = None, _implied(line, step, arguments)
        line = step.line
        word = state_word(line.state)
        head = advance(head, step.operation, step.sender, step.subject, step.digest, word)
        yield replace(step, head=head)
    if implied or quorum is not None:
        _disbelieve("the end", implied[0][0] if implied else "VersionValidated")


def _step(
    name: str, event: Mapping[str, Any], line: Line, quorum: Mapping[str, Any] | None
) -> Step:
    """What an event stands for; ``quorum`` is the event before it if that was QuorumReached."""
    if quorum is not None:
        if (name, event.get("version")) != ("VersionValidated", quorum["version"]):
            _disbelieve(name, f"the validation of version {quorum['version']}")
        return _validation_by_quorum(event, line, quorum)
    reading = _READINGS.get(name)
    if reading is None:
        _disbelieve(name, "an operation")
    return reading(event, line)


def origin_of(event: Mapping[str, Any]) -> Origin | None:
    """Where a model starts, by its ModelCreated event."""
    model = bytes(event["originModel"])
    return Origin(model, event["originVersion"]) if any(model) else None


def _creation(event: Mapping[str, Any], _: Line) -> Step:
    policy = policy_from(event["policy"])
    after = lines.create(policy, ModelKind(event["kind"]))
    digest = creation_digest(event["modelId"], event["testSet"], policy, origin_of(event))
    return Step(Operation.CREATE, event["creator"], 0, digest, after)


def _registration(event: Mapping[str, Any], line: Line) -> Step:
    version, commitment = event["version"], bytes(event["commitment"])
    parent, iteration, epoch, *_ = event["details"]
    after = lines.register(line, version, parent, iteration, epoch, commitment[:COMMITMENT_BYTES])
    return Step(Operation.REGISTER, event["registrar"], version, commitment, after)


def _validation(event: Mapping[str, Any], line: Line) -> Step:
    after, judgement = lines.validate(line, *_stated(event))
    _check_verdict(event, judgement.verdict)
    digest = validation_digest(*_judged(event))
    return Step(Operation.VALIDATE, event["validator"], event["version"], digest, after)


def _validation_by_quorum(event: Mapping[str, Any], line: Line, quorum: Mapping[str, Any]) -> Step:
    signers, deadline = quorum["signers"], quorum["deadline"]
    # events do not tell the time, which the contract compared with the deadline
    after, judgement = lines.validate_by_quorum(
        line, *_stated(event), signers=signers, deadline=deadline, time=0
    )
    _check_verdict(event, judgement.verdict)
    digest = quorum_digest(*_judged(event), signers, deadline)
    operation = Operation.VALIDATE_BY_QUORUM
    return Step(operation, event["validator"], event["version"], digest, after)


def _stated(event: Mapping[str, Any]) -> tuple[int, int, int, bool]:
    """What the validators said, as the line takes it."""
    accepted = event["verdict"] != Verdict.REJECTED
    return event["version"], int(event["accuracy"]), int(event["trainingAccuracy"]), accepted


def _judged(event: Mapping[str, Any]) -> tuple[int, int, Verdict, str]:
    """What a validation adds to the head."""
    verdict = Verdict(event["verdict"])
    return event["accuracy"], event["trainingAccuracy"], verdict, event["metrics"]


def _check_verdict(event: Mapping[str, Any], expected: Verdict) -> None:
    verdict = Verdict(event["verdict"])
    if verdict is not expected:
        raise NotVerified(
            f"the history says {verdict.name} of version {event['version']} where the policy says"
            f" {expected.name}. Ask another node for its events."
        )


def _rollback(event: Mapping[str, Any], line: Line) -> Step:
    after = lines.rollback(line, event["to"])
    return _explained(Operation.ROLLBACK, event, event["to"], after)


def _discard(event: Mapping[str, Any], line: Line) -> Step:
    after = lines.discard(line, event["version"])
    return _explained(Operation.DISCARD, event, event["version"], after)


def _completion(event: Mapping[str, Any], line: Line) -> Step:
    after = lines.complete(line)
    return _explained(Operation.COMPLETE, event, after.state.current, after)


def _reopening(event: Mapping[str, Any], line: Line) -> Step:
    return _explained(Operation.REOPEN, event, line.state.current, lines.reopen(line))


def _revocation(event: Mapping[str, Any], line: Line) -> Step:
    after = lines.revoke(line, event["version"])
    return _explained(Operation.REVOKE, event, event["version"], after)


def _policy(event: Mapping[str, Any], line: Line) -> Step:
    policy = policy_from(event["policy"])
    after = lines.set_policy(line, policy)
    return Step(Operation.SET_POLICY, event["by"], 0, policy_digest(policy), after)


def _successor(event: Mapping[str, Any], line: Line) -> Step:
    digest = successor_digest(event["registry"], bytes(event["successorId"]))
    return Step(Operation.ANNOUNCE_SUCCESSOR, event["by"], 0, digest, line)


def _enrolment(event: Mapping[str, Any], line: Line) -> Step:
    digest = enrolment_digest(event["client"], event["dataset"])
    return Step(Operation.ENROL_CLIENT, event["by"], event["index"], digest, line)


def _exclusion(event: Mapping[str, Any], line: Line) -> Step:
    return _explained(Operation.EXCLUDE_CLIENT, event, event["index"], line)


def _reinstatement(event: Mapping[str, Any], line: Line) -> Step:
    return _explained(Operation.REINSTATE_CLIENT, event, event["index"], line)


def _explained(operation: Operation, event: Mapping[str, Any], subject: int, after: Line) -> Step:
    """An operation that has a reason and nothing else to add."""
    return Step(operation, event["by"], subject, text_digest(event["reason"]), after)


_READINGS: Final[Mapping[str, Callable[[Mapping[str, Any], Line], Step]]] = {
    "ModelCreated": _creation,
    "VersionRegistered": _registration,
    "VersionValidated": _validation,
    "RolledBackManually": _rollback,
    "VersionDiscarded": _discard,
    "ModelCompleted": _completion,
    "ModelReopened": _reopening,
    "VersionRevoked": _revocation,
    "PolicySet": _policy,
    "SuccessorAnnounced": _successor,
    "ClientEnrolled": _enrolment,
    "ClientExcluded": _exclusion,
    "ClientReinstated": _reinstatement,
}


def _implied(before: Line, step: Step, event: Mapping[str, Any]) -> list[Told]:
    """The events that have to follow an operation's own, which repeat what it implies."""
    state, pending = step.line.state, before.state.pending
    if step.operation in (Operation.VALIDATE, Operation.VALIDATE_BY_QUORUM):
        told: list[Told] = []
        verdict, by = Verdict(event["verdict"]), event["validator"]
        if verdict.fails and state.kind is ModelKind.STRICT:
            back = {"from": step.subject, "to": state.best, "cause": verdict}
            told.append(("RolledBackAutomatically", back))
        if state.completed:
            done = {"current": state.current, "by": by, "cause": state.completed, "reason": ""}
            told.append(("ModelCompleted", done))
        return told
    if step.operation in (Operation.ROLLBACK, Operation.COMPLETE) and pending:
        withdrawn = {"version": pending, "by": event["by"], "reason": event["reason"]}
        return [("VersionDiscarded", withdrawn)]
    return []


def _check_implied(expected: Told, told: Told) -> None:
    name, arguments = expected
    if name != told[0] or any(told[1][key] != value for key, value in arguments.items()):
        _disbelieve(told[0], name)


def _disbelieve(told: str, expected: str) -> NoReturn:
    raise NotVerified(
        f"the history goes on with {told} where {expected} has to follow. Ask another node for its"
        " events."
    )
