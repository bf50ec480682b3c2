"""The operations on a model's line of versions: what each one does, and when it is refused.

The registry's state machine a second time, written apart from the contract, which decides.
Everything here is pure: a ``Line`` goes in and a new one comes out, or ``PolicyRefused`` is raised
with the first check that failed. Roles, the commitment's hashes, contributors and validators'
signatures are the contract's business and not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum, auto
from typing import Final, NoReturn

from ml.chain.policy import PRESETS, Judgement, check, is_whole, judge
from ml.chain.types import (
    COMMITMENT_BYTES,
    MAX_PPM,
    CompletionReason,
    ModelState,
    Policy,
    Status,
    VersionRecord,
)
from ml.errors import ModelproofError

NO_RECORD: Final = VersionRecord(bytes(COMMITMENT_BYTES), parent=0, accuracy=0, status=Status.NONE)
"""What stands where there is no version: all zero, as the chain's storage reads."""


class Refusal(StrEnum):
    """The check that an operation failed.

    An operation makes its checks in the order in which they stand here.
    """

    COMPLETED = auto()
    PENDING = auto()
    WRONG_VERSION = auto()
    WRONG_PARENT = auto()
    WRONG_ITERATION = auto()
    WRONG_EPOCH = auto()
    NOT_PENDING = auto()
    OUT_OF_RANGE = auto()
    QUORUM_NOT_MET = auto()
    NOT_A_TARGET = auto()
    ALREADY_CURRENT = auto()
    NOTHING_PENDING = auto()
    NOT_COMPLETED = auto()
    MAX_ITERATIONS_REACHED = auto()
    NOT_PASSED = auto()
    VERSION_IN_USE = auto()


class PolicyRefused(ModelproofError):
    """The operation would revert; ``reason`` is the first check that it fails."""

    def __init__(self, reason: Refusal, sentence: str) -> None:
        """Keep the reason beside the sentence that people read."""
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Line:
    """One model as the registry keeps it: its policy, its state and a record of every version."""

    policy: Policy = PRESETS["thesis"]
    state: ModelState = field(default_factory=ModelState)
    versions: tuple[VersionRecord, ...] = ()
    """The record of version n stands at n - 1."""

    def record(self, version: int) -> VersionRecord:
        """The record of a version; ``NO_RECORD`` where there is none."""
        return self.versions[version - 1] if 1 <= version <= len(self.versions) else NO_RECORD


def create(policy: Policy) -> Line:
    """A new model under this policy. Raises ``InvalidPolicy``."""
    check(policy)
    return Line(policy)


def register(
    line: Line,
    version: int,
    parent: int,
    iteration: int,
    epoch: int,
    commitment: bytes = NO_RECORD.commitment,
) -> Line:
    """Make a new version pending; neither current nor best moves.

    All four numbers must be the ones that follow from the current state, so that a late, replayed
    or stray registration is refused. ``commitment`` (25 bytes) is kept and decides nothing.
    """
    state = line.state
    _refuse_if_completed(state)
    _refuse_if_pending(state)
    _expect(Refusal.WRONG_VERSION, "version", version, state.latest + 1)
    _expect(Refusal.WRONG_PARENT, "parent", parent, state.current)
    _expect(Refusal.WRONG_ITERATION, "iteration", iteration, state.iteration + 1)
    _expect(Refusal.WRONG_EPOCH, "epoch", epoch, state.epoch)
    record = VersionRecord(commitment, parent, 0, Status.PENDING)
    after = replace(state, latest=version, pending=version)
    return replace(line, state=after, versions=(*line.versions, record))


def validate(
    line: Line,
    version: int,
    accuracy_ppm: int,
    training_accuracy_ppm: int = 0,
    accepted: bool = True,
    *,
    validators: int = 1,
) -> tuple[Line, Judgement]:
    """Judge the pending version, as ``judge`` says, and record its accuracy and what became of it.

    ``validators`` is how many agree on these very values; the plain call is one.
    """
    state = line.state
    _refuse_if_completed(state)
    if version != state.pending or version == 0:
        pending = f"version {state.pending}" if state.pending else "none"
        _refuse(Refusal.NOT_PENDING, f"Version {version} is not pending; {pending} is.")
    for name, value in (("accuracy", accuracy_ppm), ("training accuracy", training_accuracy_ppm)):
        if not is_whole(value, 0, MAX_PPM):
            _refuse(
                Refusal.OUT_OF_RANGE,
                f"The {name} of version {version} is {value!r}; "
                f"give a whole number of ppm from 0 to {MAX_PPM:,}.",
            )
    if validators < line.policy.quorum:
        _refuse(
            Refusal.QUORUM_NOT_MET,
            f"Version {version} has the word of {validators} of {line.policy.quorum} validators; "
            "gather the others' first.",
        )
    judgement = judge(state, line.policy, version, accuracy_ppm, training_accuracy_ppm, accepted)
    status = Status.FAILED if judgement.rolled_back else Status.PASSED
    record = replace(line.record(version), accuracy=accuracy_ppm, status=status)
    return replace(_with_record(line, version, record), state=judgement.state), judgement


def rollback(line: Line, target: int) -> Line:
    """Go back by hand to a version that passed, on the active line or not, or to none (0).

    A pending version is discarded. A completed model stays completed.
    """
    state = line.state
    if target != 0 and line.record(target).status is not Status.PASSED:
        _refuse(Refusal.NOT_A_TARGET, f"{_standing(line, target)}; name one that passed, or 0.")
    if target == state.current == state.best:
        _refuse(Refusal.ALREADY_CURRENT, f"Version {target} is current and best already.")
    line = _without_pending(line)
    after = replace(
        line.state,
        current=target,
        best=target,
        best_accuracy=line.record(target).accuracy,
        below_best=0,
        since_progress=0,
        epoch=state.epoch + 1,
    )
    return replace(line, state=after)


def discard(line: Line) -> Line:
    """Give up the pending version: its iteration is free again, its number is not."""
    if line.state.pending == 0:
        _refuse(Refusal.NOTHING_PENDING, "No version is pending, so there is none to discard.")
    line = _without_pending(line)
    return replace(line, state=replace(line.state, epoch=line.state.epoch + 1))


def complete(line: Line) -> Line:
    """End training by hand, at best; a pending version is discarded."""
    _refuse_if_completed(line.state)
    line = _without_pending(line)
    after = replace(line.state, current=line.state.best, completed=CompletionReason.MANUAL)
    return replace(line, state=after)


def reopen(line: Line) -> Line:
    """Take a completed model back into training with its counters at zero."""
    state, limit = line.state, line.policy.max_iterations
    if not state.completed:
        _refuse(Refusal.NOT_COMPLETED, "The model is not completed, so it needs no reopening.")
    if state.iteration >= limit > 0:
        _refuse(
            Refusal.MAX_ITERATIONS_REACHED,
            f"Iteration {state.iteration} has reached max_iterations, {limit}; raise it first.",
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
    record = line.record(version)
    if record.status is not Status.PASSED:
        _refuse(Refusal.NOT_PASSED, f"{_standing(line, version)}; only one that passed is revoked.")
    if version in (line.state.current, line.state.best):
        _refuse(Refusal.VERSION_IN_USE, f"Version {version} is current or best; roll back first.")
    return _with_record(line, version, replace(record, status=Status.REVOKED))


def set_policy(line: Line, policy: Policy) -> Line:
    """Change the policy; counters keep their values and meet the new limits at the next validation.

    Refused while a version is pending: it is judged by the policy under which it was registered.
    Raises ``InvalidPolicy``.
    """
    _refuse_if_pending(line.state)
    check(policy)
    return replace(line, policy=policy)


def on_active_line(line: Line, version: int) -> bool:
    """Whether a version is the current one or an ancestor of it, by the parent links alone."""
    at = line.state.current
    while at > version > 0:
        at = line.record(at).parent
    return at == version > 0


def _without_pending(line: Line) -> Line:
    """The line with its pending version, if any, discarded."""
    version = line.state.pending
    if version == 0:
        return line
    line = _with_record(line, version, replace(line.record(version), status=Status.DISCARDED))
    return replace(line, state=replace(line.state, pending=0))


def _with_record(line: Line, version: int, record: VersionRecord) -> Line:
    versions = (*line.versions[: version - 1], record, *line.versions[version:])
    return replace(line, versions=versions)


def _refuse(reason: Refusal, sentence: str) -> NoReturn:
    raise PolicyRefused(reason, sentence)


def _refuse_if_completed(state: ModelState) -> None:
    if state.completed:
        reason = state.completed.name.lower().replace("_", " ")
        _refuse(Refusal.COMPLETED, f"The model is completed ({reason}); reopen it first.")


def _refuse_if_pending(state: ModelState) -> None:
    if state.pending:
        _refuse(
            Refusal.PENDING,
            f"Version {state.pending} is pending; validate or discard it first.",
        )


def _expect(reason: Refusal, name: str, given: int, expected: int) -> None:
    if given != expected:
        _refuse(reason, f"The {name} given is {given}, and the model's state calls for {expected}.")


def _standing(line: Line, version: int) -> str:
    status = line.record(version).status
    if status is Status.NONE:
        return f"There is no version {version}"
    return f"Version {version}'s status is {status.name.lower()}"
