"""The operations on a model's versions: what each one does, and when it is refused.

The registry's state machine a second time, written apart from the contract, which decides.
Everything here is pure: a ``Line`` goes in and a new one comes out, or ``PolicyRefused`` is raised
with the first check that failed, in the order in which the contract makes them. Roles, texts, the
commitment's hashes, contributors and the validity of signatures are the contract's business and not
modelled.

The versions of a strict model are one line, each made from the current one. Those of an open model
are candidates, of which several may wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from ml.chain.judgement import Judgement
from ml.chain.line_refusals import Refusal, refuse
from ml.chain.policy import PRESETS, check, is_whole, judge
from ml.chain.types import (
    COMMITMENT_BYTES,
    MAX_PPM,
    CompletionReason,
    ModelKind,
    ModelState,
    Policy,
    Status,
    VersionRecord,
)

MAX_WAITING: Final = 255
"""How many versions of an open model may wait: the chain keeps 8 bits of it."""

NO_RECORD: Final = VersionRecord(bytes(COMMITMENT_BYTES), parent=0, accuracy=0, status=Status.NONE)
"""What stands where there is no version: all zero, as the chain's storage reads."""


@dataclass(frozen=True, slots=True)
class Line:
    """One model as the registry keeps it: its policy, its state and a record of every version."""

    policy: Policy = PRESETS["thesis"]
    state: ModelState = field(default_factory=ModelState)
    versions: tuple[VersionRecord, ...] = ()
    """The record of version n stands at n - 1."""

    @property
    def is_open(self) -> bool:
        """Whether it is a registry of candidates."""
        return self.state.kind is ModelKind.OPEN

    @property
    def waiting(self) -> list[int]:
        """The versions that wait for their validation, in order."""
        numbered = enumerate(self.versions, start=1)
        return [version for version, record in numbered if record.status is Status.PENDING]

    def record(self, version: int) -> VersionRecord:
        """The record of a version; ``NO_RECORD`` where there is none."""
        return self.versions[version - 1] if 1 <= version <= len(self.versions) else NO_RECORD


def create(policy: Policy, kind: ModelKind = ModelKind.STRICT) -> Line:
    """A new model under this policy. Raises ``InvalidPolicy``."""
    check(policy, kind)
    return Line(policy, ModelState(kind=kind))


def register(
    line: Line,
    version: int,
    parent: int,
    iteration: int,
    epoch: int,
    commitment: bytes = NO_RECORD.commitment,
) -> Line:
    """Let a new version wait for its validation; neither current nor best moves.

    In a strict model all four numbers must be the ones that follow from the current state, so that
    a late, replayed or stray registration is refused. In an open one the parent is any version that
    has passed, or 0, and there is neither iteration nor epoch. ``commitment`` (25 bytes) is kept
    and decides nothing.
    """
    state = line.state
    _refuse_if_completed(state)
    if line.is_open:
        if state.waiting >= MAX_WAITING:
            refuse(
                Refusal.TOO_MANY_WAITING,
                f"{MAX_WAITING} versions wait; validate or discard one first.",
                max=MAX_WAITING,
            )
        due = (state.latest + 1, parent, 0, 0)
    else:
        if state.pending:
            refuse(
                Refusal.PENDING,
                f"Version {state.pending} is pending; validate or discard it first.",
                version=state.pending,
            )
        due = (state.latest + 1, state.current, state.iteration + 1, state.epoch)
    _expect(Refusal.WRONG_VERSION, "version", version, due[0])
    _expect(Refusal.WRONG_PARENT, "parent", parent, due[1])
    if line.is_open and parent:
        _passed(line, parent)
    _expect(Refusal.WRONG_ITERATION, "iteration", iteration, due[2])
    _expect(Refusal.WRONG_EPOCH, "epoch", epoch, due[3])
    record = VersionRecord(commitment, parent, 0, Status.PENDING)
    after = replace(state, latest=version, waiting=state.waiting + 1)
    return replace(line, state=after, versions=(*line.versions, record))


def validate(
    line: Line,
    version: int,
    accuracy_ppm: int,
    training_accuracy_ppm: int = 0,
    accepted: bool = True,
) -> tuple[Line, Judgement]:
    """Judge a version that waits by the word of one validator, and record what became of it."""
    quorum = line.policy.quorum
    if quorum > 1:
        refuse(
            Refusal.QUORUM_REQUIRED,
            f"The policy asks for {quorum} validators; gather their signatures.",
            quorum=quorum,
        )
    return _judged(line, version, accuracy_ppm, training_accuracy_ppm, accepted)


def validate_by_quorum(
    line: Line,
    version: int,
    accuracy_ppm: int,
    training_accuracy_ppm: int = 0,
    accepted: bool = True,
    *,
    signers: Sequence[str],
    deadline: int,
    time: int,
) -> tuple[Line, Judgement]:
    """Judge a version that waits by the word of as many validators as the policy asks for.

    Args:
        line: the model
        version: which of its versions
        accuracy_ppm: what all of them signed, as the next two
        training_accuracy_ppm: of the version, 0 if unknown
        accepted: False is a refusal on other grounds than accuracy
        signers: addresses of those who signed, in the order of their signatures
        deadline: that they signed, in seconds since 1970
        time: of the block, in seconds since 1970
    """
    if time > deadline:
        refuse(
            Refusal.EXPIRED,
            f"The evaluation was good until {deadline}, and it is {time}; sign it again.",
            deadline=deadline,
            time=time,
        )
    quorum = line.policy.quorum
    if len(signers) != quorum:
        refuse(
            Refusal.WRONG_SIGNATURE_COUNT,
            f"{len(signers)} validators signed, and the policy asks for exactly {quorum}.",
            given=len(signers),
            quorum=quorum,
        )
    for previous, signer in pairwise(signers):
        if int(previous, 16) >= int(signer, 16):
            refuse(
                Refusal.SIGNERS_NOT_ASCENDING,
                f"{signer} comes after {previous}; sort the signatures by address, one of each.",
                previous=previous,
                signer=signer,
            )
    return _judged(line, version, accuracy_ppm, training_accuracy_ppm, accepted)


def _judged(
    line: Line, version: int, accuracy_ppm: int, training_accuracy_ppm: int, accepted: bool
) -> tuple[Line, Judgement]:
    state = line.state
    _refuse_if_completed(state)
    _refuse_unless_waiting(line, version)
    for name, value in (("accuracy", accuracy_ppm), ("training accuracy", training_accuracy_ppm)):
        if not is_whole(value, 0, MAX_PPM):
            refuse(
                Refusal.OUT_OF_RANGE,
                f"The {name} of version {version} is {value!r}; "
                f"give a whole number of ppm from 0 to {MAX_PPM:,}.",
                accuracy=value,
                max=MAX_PPM,
            )
    judgement = judge(state, line.policy, version, accuracy_ppm, training_accuracy_ppm, accepted)
    status = Status.FAILED if judgement.verdict.fails else Status.PASSED
    record = replace(line.record(version), accuracy=accuracy_ppm, status=status)
    return replace(_with_record(line, version, record), state=judgement.state), judgement


def rollback(line: Line, target: int) -> Line:
    """Go back by hand to a version that passed, on the active line or not, or to none (0).

    What waits in a strict model is discarded, and goes on waiting in an open one. A completed model
    stays completed.
    """
    state = line.state
    if target == state.current == state.best:
        refuse(
            Refusal.ALREADY_CURRENT,
            f"Version {target} is current and best already.",
            version=target,
        )
    if target:
        _passed(line, target)
    accuracy = line.record(target).accuracy
    if not line.is_open:
        line = _without_pending(line)
    after = replace(line.state, current=target, best=target, best_accuracy=accuracy)
    if not line.is_open:
        after = replace(after, below_best=0, since_progress=0, epoch=state.epoch + 1)
    return replace(line, state=after)


def discard(line: Line, version: int) -> Line:
    """Give up a version that waits: its number is not used again, its iteration is."""
    _refuse_unless_waiting(line, version)
    record = replace(line.record(version), status=Status.DISCARDED)
    state = replace(line.state, waiting=line.state.waiting - 1)
    if not line.is_open:
        state = replace(state, epoch=state.epoch + 1)
    return replace(_with_record(line, version, record), state=state)


def complete(line: Line) -> Line:
    """End the training of a strict model by hand, at best; a pending version is discarded."""
    if line.is_open:
        refuse(Refusal.OPEN, "The model is open: it has no training that could end.")
    _refuse_if_completed(line.state)
    line = _without_pending(line)
    after = replace(line.state, current=line.state.best, completed=CompletionReason.MANUAL)
    return replace(line, state=after)


def reopen(line: Line) -> Line:
    """Take a completed model back into training with its counters at zero."""
    state, limit = line.state, line.policy.max_iterations
    if not state.completed:
        refuse(Refusal.NOT_COMPLETED, "The model is not completed, so it needs no reopening.")
    if state.iteration >= limit > 0:
        refuse(
            Refusal.ITERATIONS_EXHAUSTED,
            f"Iteration {state.iteration} has reached max_iterations, {limit}; raise it first.",
            iteration=state.iteration,
            maxIterations=limit,
        )
    after = replace(
        state,
        since_progress=0,
        below_best=0,
        rollbacks=0,
        epoch=state.epoch + 1,
        completed=CompletionReason.NONE,
    )
    return replace(line, state=after)


def revoke(line: Line, version: int) -> Line:
    """Withdraw for ever a version that passed and is neither current nor best."""
    record = _passed(line, version)
    state = line.state
    if version in (state.current, state.best):
        refuse(
            Refusal.VERSION_IN_USE,
            f"Version {version} is current or best; roll back first.",
            version=version,
            current=state.current,
            best=state.best,
        )
    return _with_record(line, version, replace(record, status=Status.REVOKED))


def set_policy(line: Line, policy: Policy) -> Line:
    """Change the policy; counters keep their values and meet the new limits at the next validation.

    Refused while a version waits: it is judged by the policy under which it was registered. Raises
    ``InvalidPolicy``.
    """
    waiting = line.state.waiting
    if waiting:
        refuse(
            Refusal.VERSIONS_WAIT,
            f"Versions that wait to be judged by the policy: {waiting}; "
            "validate or discard them first.",
            waiting=waiting,
        )
    check(policy, line.state.kind)
    return replace(line, policy=policy)


def on_active_line(line: Line, version: int) -> bool:
    """Whether a version is the current one or an ancestor of it, by the parent links alone."""
    at = line.state.current
    while at > version > 0:
        at = line.record(at).parent
    return at == version > 0


def _passed(line: Line, version: int) -> VersionRecord:
    """The record of a version that has passed."""
    record = line.record(version)
    if record.status is Status.NONE:
        refuse(Refusal.UNKNOWN_VERSION, f"There is no version {version}.", version=version)
    if record.status is not Status.PASSED:
        refuse(
            Refusal.NOT_PASSED,
            f"Version {version}'s status is {record.status.name.lower()}; name one that passed.",
            version=version,
            status=record.status,
        )
    return record


def _refuse_unless_waiting(line: Line, version: int) -> None:
    pending = line.state.pending
    status = line.record(version).status
    if line.is_open and status is Status.NONE:
        refuse(Refusal.UNKNOWN_VERSION, f"There is no version {version}.", version=version)
    if line.is_open and status is not Status.PENDING:
        refuse(
            Refusal.NOT_PENDING,
            f"Version {version} does not wait; its status is {status.name.lower()}.",
            version=version,
            pending=0,
        )
    if not line.is_open and (version != pending or version == 0):
        named = f"version {pending}" if pending else "none"
        refuse(
            Refusal.NOT_PENDING,
            f"Version {version} is not pending; {named} is.",
            version=version,
            pending=pending,
        )


def _refuse_if_completed(state: ModelState) -> None:
    if state.completed:
        reason = state.completed.name.lower().replace("_", " ")
        refuse(
            Refusal.COMPLETED,
            f"The model is completed ({reason}); reopen it first.",
            cause=state.completed,
        )


def _expect(reason: Refusal, name: str, given: int, expected: int) -> None:
    if given != expected:
        refuse(
            reason,
            f"The {name} given is {given}, and the model's state calls for {expected}.",
            **{name: given, "expected": expected},
        )


def _without_pending(line: Line) -> Line:
    """A strict line with its pending version, if any, discarded."""
    version = line.state.pending
    if version == 0:
        return line
    line = _with_record(line, version, replace(line.record(version), status=Status.DISCARDED))
    return replace(line, state=replace(line.state, waiting=0))


def _with_record(line: Line, version: int, record: VersionRecord) -> Line:
    versions = (*line.versions[: version - 1], record, *line.versions[version:])
    return replace(line, versions=versions)
