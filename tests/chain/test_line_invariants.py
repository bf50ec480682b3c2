"""What holds of every model after any sequence of operations, refused ones among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from ml.chain.judgement import Judgement
from ml.chain.line import (
    Line,
    complete,
    create,
    discard,
    on_active_line,
    register,
    reopen,
    revoke,
    rollback,
    set_policy,
    validate,
    validate_by_quorum,
)
from ml.chain.line_refusals import PolicyRefused
from ml.chain.policy import explain
from ml.chain.types import MAX_PPM, CompletionReason, Policy, Status, Verdict, format_ppm

from .plays import register_next

Step: TypeAlias = tuple[object, ...]

POLICIES = st.builds(
    Policy,
    tolerance=st.sampled_from([0, 5_000]),
    max_drop=st.sampled_from([0, 5_000, 20_000]),
    patience=st.integers(0, 4),
    min_accuracy=st.sampled_from([0, 850_000]),
    min_improvement=st.sampled_from([0, 1_000]),
    target_accuracy=st.sampled_from([0, 0, 905_000]),
    convergence_patience=st.sampled_from([0, 3, 6]),
    max_iterations=st.sampled_from([0, 0, 12]),
    max_rollbacks=st.sampled_from([0, 2, 4]),
    max_gap=st.sampled_from([0, 0, 30_000]),
    quorum=st.integers(1, 2),
)
# A validation's accuracy, as an offset from best: about every limit that a policy here may set.
DIPS = st.sampled_from([-1, -4_999, -5_000, -5_001, -19_999, -20_000])
RISES = st.sampled_from([0, 0, 1, 1_000, 1_001, 5_000])
DROPS = st.sampled_from([-20_001, -60_000, -MAX_PPM])
GAPS = st.sampled_from([0, 0, 30_000, 30_001])
ACCURACIES = st.sampled_from([-1, 0, 900_000, MAX_PPM, MAX_PPM + 1])
VERSIONS = st.integers(-1, 20)
# Offsets from the version, parent, iteration and epoch due.
IN_TIME = (0, 0, 0, 0)
OUT_OF_TIME = [(1, 0, 0, 0), (-1, 0, 0, 0), (0, 1, 0, 0), (0, 0, -1, 0), (0, 0, 0, -1)]

STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("round"), DIPS, GAPS, st.just(True)),
    st.tuples(st.just("round"), RISES, GAPS, st.just(True)),
    st.tuples(st.just("round"), DIPS | RISES | DROPS, GAPS, st.booleans()),
    st.tuples(st.just("register"), st.just(IN_TIME)),
    st.tuples(st.just("register"), st.sampled_from(OUT_OF_TIME)),
    st.tuples(st.just("validate"), st.sampled_from([0, 0, -1]), ACCURACIES),
    st.tuples(st.just("rollback"), VERSIONS),
    st.tuples(st.just("revoke"), VERSIONS),
    st.tuples(st.just("policy"), POLICIES),
    st.tuples(st.sampled_from(["discard", "complete", "reopen"])),
)


def take(line: Line, step: Step) -> tuple[Line, Judgement | None]:
    """The line after a step, and the judgement where the step was a validation."""
    state = line.state
    match step:
        case ("round", int(offset), int(gap), bool(accepted)):
            if not state.pending:
                line = register_next(line)
            accuracy = max(0, min((state.best_accuracy or 900_000) + offset, MAX_PPM))
            training = min(accuracy + gap, MAX_PPM)
            stated = (line.state.pending, accuracy, training, accepted)
            signers = [f"0x{number:040x}" for number in range(1, line.policy.quorum + 1)]
            return validate_by_quorum(line, *stated, signers=signers, deadline=1, time=1)
        case ("register", (int(version), int(parent), int(iteration), int(epoch))):
            version, parent = state.latest + 1 + version, state.current + parent
            iteration, epoch = state.iteration + 1 + iteration, state.epoch + epoch
            return register(line, version, parent, iteration, epoch), None
        case ("validate", int(off), int(accuracy)):
            return validate(line, state.latest + off, accuracy)
        case ("rollback", int(version)):
            return rollback(line, version), None
        case ("revoke", int(version)):
            return revoke(line, version), None
        case ("policy", Policy() as policy):
            return set_policy(line, policy), None
        case ("discard",):
            return discard(line, state.pending), None
        case ("complete",):
            return complete(line), None
        case ("reopen",):
            return reopen(line), None
    raise AssertionError(step)


@dataclass
class Walk:
    """A model on its way through steps, and what its best accuracy ought to be."""

    line: Line
    highest_accepted_ppm: int = 0

    def go(self, step: Step) -> set[str]:
        """Take one step, check what must hold after it, and name the rules that it met."""
        before = self.line
        try:
            self.line, judgement = take(before, step)
        except PolicyRefused:
            return set()
        if step[0] == "rollback":
            self.highest_accepted_ppm = self.line.state.best_accuracy
        met: set[str] = set()
        if judgement is not None:
            check_judgement(before, self.line, judgement)
            if judgement.verdict is not Verdict.REJECTED:
                accuracies = (self.highest_accepted_ppm, judgement.accuracy_ppm)
                self.highest_accepted_ppm = max(accuracies)
            met = {judgement.verdict.name, judgement.completed.name}
        assert self.line.state.best_accuracy == self.highest_accepted_ppm
        check_pointers(self.line)
        check_records(self.line)
        check_history(before, self.line, step)
        return met


def check_judgement(before: Line, after: Line, judgement: Judgement) -> None:
    """A validation is on record, advances the iteration, and can be explained."""
    record = after.record(judgement.version)
    assert record.status is (Status.FAILED if judgement.rolled_back else Status.PASSED)
    assert record.accuracy == judgement.accuracy_ppm
    assert after.state.iteration == before.state.iteration + 1
    assert after.state.epoch == before.state.epoch + judgement.rolled_back
    assert after.state.completed is judgement.completed
    assert judgement.rolled_back is judgement.verdict.fails
    rejected = judgement.verdict is Verdict.REJECTED
    measured = "not accepted" if rejected else f"accuracy {format_ppm(judgement.accuracy_ppm)} %"
    assert measured in explain(judgement, before.state, before.policy)


def check_pointers(line: Line) -> None:
    """Current and best passed, unrevoked; best is current or its ancestor; completed is at best."""
    state = line.state
    assert (state.best == 0) == (state.current == 0)
    for version in {state.current, state.best} - {0}:
        assert line.record(version).status is Status.PASSED
        assert on_active_line(line, version)
    assert state.best_accuracy == line.record(state.best).accuracy
    if state.completed:
        assert (state.pending, state.current) == (0, state.best)


def check_records(line: Line) -> None:
    """Every number has a record, a parent precedes its version, only the latest can be pending."""
    state = line.state
    assert len(line.versions) == state.latest
    numbered = list(enumerate(line.versions, start=1))
    assert all(0 <= record.parent < version for version, record in numbered)
    pending = [version for version, record in numbered if record.status is Status.PENDING]
    assert pending == ([state.latest] if state.pending else [])
    assert state.pending in (0, state.latest)


def check_history(before: Line, after: Line, step: Step) -> None:
    """Nothing that ended changes but by revocation; numbers, iteration and epoch never go back."""
    assert after.state.latest >= before.state.latest
    assert after.state.iteration >= before.state.iteration
    assert after.state.epoch >= before.state.epoch
    assert not before.state.completed or after.state.completed or step == ("reopen",)
    for old, new in zip(before.versions, after.versions, strict=False):
        assert (old.parent, old.commitment) == (new.parent, new.commitment)
        if old.status is not Status.PENDING:
            assert old.accuracy == new.accuracy
            revoked = (old.status, new.status) == (Status.PASSED, Status.REVOKED)
            assert new.status is old.status or (revoked and step[0] == "revoke")


def test_any_sequence_of_operations_keeps_the_invariants() -> None:
    met: set[str] = set()

    @settings(max_examples=300, deadline=None)
    @given(policy=POLICIES, steps=st.lists(STEPS, min_size=20, max_size=80))
    def walk_through(policy: Policy, steps: list[Step]) -> None:
        walk = Walk(create(policy))
        for step in steps:
            if walk.line.state.completed and step[0] == "round":
                walk.go(("reopen",))  # or most walks would be over early
            met.update(walk.go(step))

    walk_through()
    # A search that no longer reaches a rule proves nothing about it.
    assert {rule.name for rule in (*Verdict, *CompletionReason)} - met == {"MANUAL", "CONTENDER"}
