"""A model as the Python policy predicts it, down to the bytes that the contract's views return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, Final, NamedTuple

from eth_abi.abi import encode as encode_values

from ml.artifact import abi
from ml.chain import line as lines
from ml.chain.commitment import commitment, details_hash
from ml.chain.head import (
    NO_HEAD,
    advance,
    policy_digest,
    quorum_digest,
    text_digest,
    validation_digest,
)
from ml.chain.line import Line
from ml.chain.line_refusals import PolicyRefused
from ml.chain.open_policy import LIMITS
from ml.chain.policy import MAX_COUNTER, InvalidPolicy
from ml.chain.records import Details, Evaluation, Operation, Signature
from ml.chain.signing import Domain, evaluation_hash
from ml.chain.types import COMMITMENT_BYTES, MAX_PPM, Policy, Status
from ml.chain.words import POLICY_LAYOUT, policy_word, state_word

from .batch import Interface
from .signing import Key
from .story import FOREVER, TEST_SET, weights_of

REASON = "poisoning"
METRICS = '{"loss": 0.31}'
METADATA = '{"seed": 7}'
_QUORUM_TYPES: Final = (
    "bytes32",
    "(uint32,uint32,uint32,bool,bytes32,bytes32,bytes32)",
    "string",
    "(bytes32,bytes32)[]",
    "uint64",
)


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
    interface: Interface
    line: Line
    domain: Domain
    validators: Sequence[Key]
    """Who can sign, in the order of their addresses."""
    head: bytes = NO_HEAD
    said: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    """The weights and the hash of the details of each registered version."""
    met: set[str] = field(default_factory=set)
    """Names of the rules that decided so far."""

    def calldata(self, move: Move) -> bytes:
        model, arguments = self.model, move.arguments
        match move.function:
            case "register":
                version, *due = arguments
                nothing = (bytes(32), bytes(32), bytes(32), 0)
                said = (weights_of(version), *due, *nothing, METADATA)
                return self.interface.call("register", model, version, *said)
            case "validate":
                stated = astuple(self._evaluation(*arguments))
                return self.interface.call("validate", model, *stated, METRICS)
            case "validateByQuorum":
                return self._signed(*arguments)
            case "setPolicy":
                return self.interface.call("setPolicy", model, *policy_values(*arguments))
        return self.interface.call(move.function, model, *arguments, REASON)

    def take(self, move: Move) -> bytes:
        """Do a move as the policy says; the data of the error if it refuses, else nothing."""
        try:
            operation, subject, digest, after = self._after(move)
        except PolicyRefused as refused:
            self.met.add(refused.reason.name)
            return self.interface.error(refused.reason, refused.values, self.model)
        except InvalidPolicy:
            return self.interface.call(*policy_error(*move.arguments))
        self.line = after
        word = state_word(after.state)
        self.head = advance(self.head, operation, self.player, subject, digest, word)
        return b""

    def views(self) -> bytes:
        """What ``getModel`` and ``getVersions`` return, one after the other."""
        state = self.line.state
        model = (
            state.kind,
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
            state.waiting,
            state.completed,
            TEST_SET,
            self.head,
            0,  # no clients
            *policy_values(self.line.policy),
            bytes(32),  # no origin
            0,
            Status.NONE,
        )
        versions = [32, len(self.line.versions)]
        for number, record in enumerate(self.line.versions, start=1):
            stored = record.commitment + bytes(32 - COMMITMENT_BYTES)
            versions += [number, record.parent, record.accuracy, record.status, stored]
        return abi.encode(*model, *versions)

    def _evaluation(self, version: int, *judged: Any) -> Evaluation:
        of = self.said.get(version, (bytes(32), bytes(32)))
        return Evaluation(version, *judged, TEST_SET, *of)

    def _signed(self, version: int, *judged: Any) -> bytes:
        *values, signers = judged
        evaluation = self._evaluation(version, *values)
        hashed = evaluation_hash(self.model, evaluation, text_digest(METRICS), FOREVER)
        signatures = [self.validators[place].sign(self.domain, hashed) for place in signers]
        arguments = (self.model, astuple(evaluation), METRICS, _pairs(signatures), FOREVER)
        selector = self.interface.selectors["validateByQuorum"]
        return selector + encode_values(_QUORUM_TYPES, arguments)

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
            case "validateByQuorum":
                return self._validated_by_quorum(*arguments)
            case "rollback":
                return Operation.ROLLBACK, arguments[0], reason, lines.rollback(line, *arguments)
            case "discard":
                return Operation.DISCARD, arguments[0], reason, lines.discard(line, *arguments)
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

    def _validated_by_quorum(
        self, version: int, *judged: Any
    ) -> tuple[Operation, int, bytes, Line]:
        *values, places = judged
        signers = [self.validators[place].address for place in places]
        after, judgement = lines.validate_by_quorum(
            self.line, version, *values, signers=signers, deadline=FOREVER, time=0
        )
        self.met |= {judgement.verdict.name, judgement.completed.name}
        digest = quorum_digest(*values[:2], judgement.verdict, METRICS, signers, FOREVER)
        return Operation.VALIDATE_BY_QUORUM, version, digest, after


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
    if policy.quorum == 0:
        return ("QuorumIsZero",)
    return "PolicyNotForOpenModels", excess(policy)


def excess(policy: Policy) -> int:
    """What of a packed policy no open model may have."""
    fields = [POLICY_LAYOUT[name] for name in LIMITS]
    return policy_word(policy) & ~sum(((1 << width) - 1) << offset for offset, width in fields)


def _pairs(signatures: Sequence[Signature]) -> list[tuple[bytes, ...]]:
    return [astuple(signature) for signature in signatures]
