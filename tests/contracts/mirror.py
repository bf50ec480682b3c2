"""A model as the Python policy predicts it, down to the bytes that the contract's views return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ml.artifact import abi
from ml.chain import line as lines
from ml.chain.commitment import commitment, details_hash
from ml.chain.head import NO_HEAD, advance, policy_digest, text_digest, validation_digest
from ml.chain.line import Line, PolicyRefused, Refusal
from ml.chain.policy import MAX_COUNTER, InvalidPolicy
from ml.chain.records import Details, ModelKind, Operation
from ml.chain.types import COMMITMENT_BYTES, MAX_PPM, Policy, Status
from ml.chain.words import state_word

from .story import TEST_SET, weights_of

REASON = "poisoning"
METRICS = '{"loss": 0.31}'
METADATA = '{"seed": 7}'


class Move(NamedTuple):
    """One operation, before anybody has said whether it will do."""

    function: str
    arguments: tuple[Any, ...] = ()
    """Without the model and the texts, which are always the same."""


def policy_values(policy: Policy) -> tuple[int | bool, ...]:
    """A policy in the order of the contract's PolicyConfig, which is that of Policy itself."""
    return tuple(getattr(policy, name) for name in Policy.__slots__)


@dataclass
class Mirror:
    """What is known of one model whose every role ``player`` holds."""

    model: bytes
    player: str
    selectors: Mapping[str, bytes]
    """Of the registry's functions and errors, by name."""
    line: Line
    head: bytes = NO_HEAD
    said: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    """The weights and the hash of the details of each registered version."""
    met: set[str] = field(default_factory=set)
    """Names of the rules that decided so far."""

    def coded(self, name: str, *values: Any) -> bytes:
        """The calldata of a function, or the data of an error; structs in values are flat."""
        return self.selectors[name] + abi.encode(*values)

    def calldata(self, move: Move) -> bytes:
        model, arguments = self.model, move.arguments
        match move.function:
            case "register":
                version, *due = arguments
                nothing = (bytes(32), bytes(32), bytes(32), 0)
                said = (weights_of(version), *due, *nothing, METADATA)
                return self.coded("register", model, version, *said)
            case "validate":
                version = arguments[0]
                of = (TEST_SET, *self.said.get(version, (bytes(32), bytes(32))))
                return self.coded("validate", model, *arguments, *of, METRICS)
            case "setPolicy":
                return self.coded("setPolicy", model, *policy_values(*arguments))
        return self.coded(move.function, model, *arguments, REASON)

    def take(self, move: Move) -> bytes:
        """Do a move as the policy says; the data of the error if it refuses, else nothing."""
        try:
            operation, subject, digest, after = self._after(move)
        except PolicyRefused as refused:
            self.met.add(refused.reason.name)
            reason = refused.reason
            if move.function == "validate" and self.line.policy.quorum > 1:
                reason = Refusal.QUORUM_NOT_MET  # the plain call asks for this first
            return self.coded(*ERRORS[reason](self, move.arguments))
        except InvalidPolicy:
            return self.coded(*policy_error(*move.arguments))
        self.line = after
        word = state_word(after.state)
        self.head = advance(self.head, operation, self.player, subject, digest, word)
        return b""

    def views(self) -> bytes:
        """What ``getModel`` and ``getVersions`` return, one after the other."""
        state = self.line.state
        model = (
            ModelKind.STRICT,
            state.current,
            state.best,
            state.best_accuracy,
            state.latest,
            state.iteration,
            state.epoch,
            state.below_best,
            state.since_progress,
            state.rollbacks,
            state.pending,
            state.completed,
            TEST_SET,
            self.head,
            0,  # no clients
            *policy_values(self.line.policy),
        )
        versions = [32, len(self.line.versions)]
        for number, record in enumerate(self.line.versions, start=1):
            stored = record.commitment + bytes(32 - COMMITMENT_BYTES)
            versions += [number, record.parent, record.accuracy, record.status, stored]
        return abi.encode(*model, *versions)

    def _after(self, move: Move) -> tuple[Operation, int, bytes, Line]:
        line, arguments = self.line, move.arguments
        reason = text_digest(REASON)
        match move.function:
            case "register":
                return self._registered(*arguments)
            case "validate":
                after, judged = lines.validate(line, *arguments)
                self.met |= {judged.verdict.name, judged.completed.name}
                digest = validation_digest(*arguments[1:3], judged.verdict, METRICS)
                return Operation.VALIDATE, arguments[0], digest, after
            case "rollback":
                return Operation.ROLLBACK, arguments[0], reason, lines.rollback(line, *arguments)
            case "discard":
                return Operation.DISCARD, line.state.pending, reason, lines.discard(line)
            case "complete":
                after = lines.complete(line)
                self.met.add(after.state.completed.name)
                return Operation.COMPLETE, after.state.current, reason, after
            case "reopen":
                return Operation.REOPEN, line.state.current, reason, lines.reopen(line)
            case "revoke":
                return Operation.REVOKE, arguments[0], reason, lines.revoke(line, *arguments)
            case _:
                after = lines.set_policy(line, *arguments)
                return Operation.SET_POLICY, 0, policy_digest(*arguments), after

    def _registered(self, version: int, *due: int) -> tuple[Operation, int, bytes, Line]:
        weights = weights_of(version)
        details = details_hash(self.model, version, self.player, Details(*due), METADATA)
        full = commitment(TEST_SET, weights, details)
        after = lines.register(self.line, version, *due, full[:COMMITMENT_BYTES])
        self.said[version] = (weights, details)
        return Operation.REGISTER, version, full, after


# The contract's error, with its values, for each thing that the Python policy refuses, given the
# model before and the arguments of the move.
ERRORS: dict[Refusal, Callable[[Mirror, tuple[Any, ...]], tuple[Any, ...]]] = {
    Refusal.COMPLETED: lambda m, _: ("ModelIsCompleted", m.model, m.line.state.completed),
    Refusal.PENDING: lambda m, _: ("VersionIsPending", m.model, m.line.state.pending),
    Refusal.WRONG_VERSION: lambda m, a: ("UnexpectedVersion", a[0], m.line.state.latest + 1),
    Refusal.WRONG_PARENT: lambda m, a: ("UnexpectedParent", a[1], m.line.state.current),
    Refusal.WRONG_ITERATION: lambda m, a: ("UnexpectedIteration", a[2], m.line.state.iteration + 1),
    Refusal.WRONG_EPOCH: lambda m, a: ("UnexpectedEpoch", a[3], m.line.state.epoch),
    Refusal.NOT_PENDING: lambda m, a: (
        ("VersionIsNotPending", m.model, a[0], m.line.state.pending)
    ),
    Refusal.OUT_OF_RANGE: lambda _, a: (
        ("AccuracyOutOfRange", next(value for value in a[1:3] if value > MAX_PPM), MAX_PPM)
    ),
    Refusal.QUORUM_NOT_MET: lambda m, _: ("QuorumRequired", m.line.policy.quorum),
    Refusal.NOT_A_TARGET: lambda m, a: not_passed(m, a[0]),
    Refusal.ALREADY_CURRENT: lambda _, a: ("AlreadyCurrent", a[0]),
    Refusal.NOTHING_PENDING: lambda m, _: ("VersionIsNotPending", m.model, 0, 0),
    Refusal.NOT_COMPLETED: lambda m, _: ("ModelIsNotCompleted", m.model),
    Refusal.MAX_ITERATIONS_REACHED: lambda m, _: (
        ("IterationsExhausted", m.line.state.iteration, m.line.policy.max_iterations)
    ),
    Refusal.NOT_PASSED: lambda m, a: not_passed(m, a[0]),
    Refusal.VERSION_IN_USE: lambda m, a: (
        ("VersionInUse", a[0], m.line.state.current, m.line.state.best)
    ),
}


def not_passed(mirror: Mirror, version: int) -> tuple[Any, ...]:
    """The contract's error, with its values, for a version that has not passed."""
    status = mirror.line.record(version).status
    if status is Status.NONE:
        return "UnknownVersion", mirror.model, version
    return "VersionNotPassed", version, status


def policy_error(policy: Policy) -> tuple[Any, ...]:
    """The contract's error, with its values, for an invalid policy."""
    shares = ("tolerance", "max_drop", "min_accuracy", "min_improvement", "target_accuracy")
    counts = ("patience", "convergence_patience", "max_rollbacks")
    bounds = dict.fromkeys((*shares, "max_gap"), MAX_PPM) | dict.fromkeys(counts, MAX_COUNTER)
    for name, highest in bounds.items():
        if getattr(policy, name) > highest:
            return "PolicyValueTooLarge", getattr(policy, name), highest
    if policy.tolerance > policy.max_drop > 0:
        return "ToleranceAboveMaxDrop", policy.tolerance, policy.max_drop
    if policy.min_accuracy > policy.target_accuracy > 0:
        return "MinAccuracyAboveTarget", policy.min_accuracy, policy.target_accuracy
    assert policy.quorum == 0
    return ("QuorumIsZero",)
