"""Open models: what their policy decides, and what happens to their candidates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.chain.judgement import Judgement
from ml.chain.line import (
    MAX_WAITING,
    Line,
    complete,
    create,
    discard,
    register,
    reopen,
    revoke,
    rollback,
    set_policy,
    validate,
)
from ml.chain.line_refusals import PolicyRefused, Refusal
from ml.chain.policy import PRESETS, InvalidPolicy, check, explain
from ml.chain.types import (
    MAX_PPM,
    CompletionReason,
    ModelKind,
    ModelState,
    Policy,
    Status,
    Verdict,
)

from .plays import ppm

OPEN = PRESETS["open"]
STRICTER = replace(OPEN, max_drop=20_000, min_accuracy=850_000)
V = Verdict


def candidate(line: Line, parent: int = 0) -> Line:
    return register(line, line.state.latest + 1, parent, 0, 0)


def judge_next(line: Line, percent: float, accepted: bool = True) -> tuple[Line, Judgement]:
    line = candidate(line)
    return validate(line, line.state.latest, ppm(percent), accepted=accepted)


def played(*percent: float, policy: Policy = OPEN) -> Line:
    line = create(policy, ModelKind.OPEN)
    for accuracy in percent:
        line, _ = judge_next(line, accuracy)
    return line


NEW = played()
TWO_WAIT = candidate(candidate(NEW))
JUDGED = played(90, 91, 80, policy=STRICTER)  # first best, new best, failed
FULL = replace(NEW, state=replace(NEW.state, latest=MAX_WAITING, waiting=MAX_WAITING))


# --- The policy -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    name: str
    accuracies: tuple[float, ...]
    verdicts: tuple[Verdict, ...]
    current: int
    policy: Policy = STRICTER


EXAMPLES = [
    Example("the first good candidate is the best", (90,), (V.FIRST_BEST,), 1),
    Example("a better one takes its place", (90, 91), (V.FIRST_BEST, V.NEW_BEST), 2),
    Example("one as good is a contender", (90, 90), (V.FIRST_BEST, V.CONTENDER), 1),
    Example("one a little worse is a contender", (90, 89), (V.FIRST_BEST, V.CONTENDER), 1),
    Example("a drop of just max_drop is none too many", (90, 88), (V.FIRST_BEST, V.CONTENDER), 1),
    Example("a greater drop fails", (90, 87.9999), (V.FIRST_BEST, V.SEVERE_DROP), 1),
    Example("below the minimum even the first fails", (84.9999,), (V.BELOW_MINIMUM,), 0),
    Example("the minimum itself is enough", (85,), (V.FIRST_BEST,), 1),
    Example("the minimum comes before the drop", (90, 80), (V.FIRST_BEST, V.BELOW_MINIMUM), 1),
    Example(
        "without limits nothing fails", (90, 0, 0), (V.FIRST_BEST, *[V.CONTENDER] * 2), 1, OPEN
    ),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_examples(example: Example) -> None:
    line, verdicts = create(example.policy, ModelKind.OPEN), []
    for accuracy in example.accuracies:
        line, judgement = judge_next(line, accuracy)
        verdicts.append(judgement.verdict)
    assert tuple(verdicts) == example.verdicts
    assert line.state.current == line.state.best == example.current


def test_candidate_that_is_not_accepted_fails_however_accurate() -> None:
    line, judgement = judge_next(JUDGED, 100, accepted=False)
    assert judgement.verdict is Verdict.REJECTED
    assert line.record(4).status is Status.FAILED
    assert line.record(4).accuracy == MAX_PPM
    assert line.state == replace(JUDGED.state, latest=4)


def test_nothing_is_counted_and_nothing_completes() -> None:
    line = played(*[90] * 120, *[0] * 20)
    assert line.state == ModelState(
        current=1, best=1, best_accuracy=ppm(90), latest=140, kind=ModelKind.OPEN
    )


@pytest.mark.parametrize(
    ("percent", "accepted", "sentence"),
    [
        (92, True, "accuracy 92.00 % is above the best, 91.00 % (v2): v4 becomes the best"),
        (
            90,
            True,
            "accuracy 90.00 % is 1.00 points below the best, 91.00 % (v2): v4 passes as a"
            " contender",
        ),
        (91, True, "accuracy 91.00 % equals the best, 91.00 % (v2): v4 passes as a contender"),
        (
            88,
            True,
            "accuracy 88.00 % is 3.00 points below the best, 91.00 % (v2), more than the 2.00"
            " allowed: v4 has failed",
        ),
        (80, True, "accuracy 80.00 % is below the minimum of 85.00 %: v4 has failed"),
        (99, False, "v4 was not accepted by its validators, and has failed"),
    ],
)
def test_judgement_is_explained(percent: float, accepted: bool, sentence: str) -> None:
    _, judgement = judge_next(JUDGED, percent, accepted)
    assert explain(judgement, JUDGED.state, JUDGED.policy) == sentence


def test_first_best_is_explained() -> None:
    _, judgement = judge_next(NEW, 90)
    assert explain(judgement, NEW.state, OPEN) == (
        "accuracy 90.00 % has no best to compare with: v1 becomes the best"
    )


@pytest.mark.parametrize(
    "surplus",
    [
        "tolerance",
        "patience",
        "min_improvement",
        "target_accuracy",
        "convergence_patience",
        "max_iterations",
        "max_rollbacks",
        "max_gap",
    ],
)
def test_limit_that_no_open_model_has_is_refused(surplus: str) -> None:
    policy = replace(OPEN, **{surplus: 1})
    with pytest.raises(InvalidPolicy, match=f"sets {surplus}, which no open model has"):
        create(policy, ModelKind.OPEN)
    with pytest.raises(InvalidPolicy, match=f"sets {surplus}"):
        set_policy(NEW, policy)
    check(policy)


def test_limits_that_open_models_have_are_taken() -> None:
    policy = replace(OPEN, max_drop=1, min_accuracy=1, quorum=255, independent=True)
    assert set_policy(NEW, policy).policy == policy


def test_presets_of_strict_models_are_refused_for_open_ones() -> None:
    for name in ("thesis", "unlimited"):
        with pytest.raises(InvalidPolicy):
            create(PRESETS[name], ModelKind.OPEN)


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "reason", "values"),
    [
        (lambda: register(FULL, 256, 0, 0, 0), Refusal.TOO_MANY_WAITING, {"max": 255}),
        (
            lambda: register(TWO_WAIT, 2, 0, 0, 0),
            Refusal.WRONG_VERSION,
            {"version": 2, "expected": 3},
        ),
        (lambda: register(JUDGED, 4, 9, 0, 0), Refusal.UNKNOWN_VERSION, {"version": 9}),
        (
            lambda: register(JUDGED, 4, 3, 0, 0),
            Refusal.NOT_PASSED,
            {"version": 3, "status": Status.FAILED},
        ),
        (
            lambda: register(TWO_WAIT, 3, 1, 0, 0),
            Refusal.NOT_PASSED,
            {"version": 1, "status": Status.PENDING},
        ),
        (
            lambda: register(NEW, 1, 0, 1, 0),
            Refusal.WRONG_ITERATION,
            {"iteration": 1, "expected": 0},
        ),
        (lambda: register(NEW, 1, 0, 0, 1), Refusal.WRONG_EPOCH, {"epoch": 1, "expected": 0}),
        (lambda: validate(NEW, 1, 0), Refusal.UNKNOWN_VERSION, {"version": 1}),
        (lambda: validate(NEW, 0, 0), Refusal.UNKNOWN_VERSION, {"version": 0}),
        (lambda: validate(JUDGED, 1, 0), Refusal.NOT_PENDING, {"version": 1, "pending": 0}),
        (
            lambda: validate(TWO_WAIT, 1, MAX_PPM + 1),
            Refusal.OUT_OF_RANGE,
            {"accuracy": MAX_PPM + 1, "max": MAX_PPM},
        ),
        (lambda: discard(NEW, 1), Refusal.UNKNOWN_VERSION, {"version": 1}),
        (lambda: discard(JUDGED, 3), Refusal.NOT_PENDING, {"version": 3, "pending": 0}),
        (lambda: complete(JUDGED), Refusal.OPEN, {}),
        (lambda: reopen(JUDGED), Refusal.NOT_COMPLETED, {}),
        (lambda: rollback(JUDGED, 2), Refusal.ALREADY_CURRENT, {"version": 2}),
        (lambda: rollback(NEW, 0), Refusal.ALREADY_CURRENT, {"version": 0}),
        (
            lambda: rollback(JUDGED, 3),
            Refusal.NOT_PASSED,
            {"version": 3, "status": Status.FAILED},
        ),
        (
            lambda: revoke(JUDGED, 2),
            Refusal.VERSION_IN_USE,
            {"version": 2, "current": 2, "best": 2},
        ),
        (lambda: set_policy(TWO_WAIT, STRICTER), Refusal.VERSIONS_WAIT, {"waiting": 2}),
    ],
)
def test_operation_is_refused_for_its_reason(
    operation: Callable[[], object], reason: Refusal, values: dict[str, object]
) -> None:
    with pytest.raises(PolicyRefused) as refused:
        operation()
    assert (refused.value.reason, refused.value.values) == (reason, values)


# --- Effects --------------------------------------------------------------------------------------


def test_several_candidates_wait_and_are_judged_in_any_order() -> None:
    line = candidate(TWO_WAIT)
    assert (line.state.waiting, line.waiting, line.state.pending) == (3, [1, 2, 3], 0)
    line, _ = validate(line, 2, ppm(91))
    line, judgement = validate(line, 1, ppm(90))
    assert judgement.verdict is Verdict.CONTENDER
    assert (line.waiting, line.state.current) == ([3], 2)


def test_as_many_candidates_wait_as_the_chain_can_count() -> None:
    line = NEW
    for _ in range(MAX_WAITING):
        line = candidate(line)
    assert line.state.waiting == MAX_WAITING
    line = candidate(discard(line, 7))
    assert (line.state.waiting, line.state.latest) == (MAX_WAITING, MAX_WAITING + 1)


def test_candidate_is_made_from_nothing_or_from_any_that_passed() -> None:
    line = candidate(candidate(JUDGED, parent=1))
    assert [line.record(version).parent for version in (4, 5)] == [1, 0]


def test_discarded_candidate_leaves_the_others_waiting_and_no_epoch() -> None:
    line = discard(TWO_WAIT, 1)
    assert line.record(1).status is Status.DISCARDED
    assert line.state == replace(TWO_WAIT.state, waiting=1)
    assert line.waiting == [2]


def test_rollback_by_hand_leaves_what_waits_and_no_epoch() -> None:
    line = candidate(JUDGED)
    back = rollback(line, 1)
    assert back.state == replace(line.state, current=1, best=1, best_accuracy=ppm(90))
    assert back.waiting == [4]


def test_rollback_to_none_lets_the_next_candidate_be_the_best() -> None:
    line, judgement = judge_next(rollback(JUDGED, 0), 86)
    assert judgement.verdict is Verdict.FIRST_BEST
    assert line.state.current == 4


def test_contender_that_was_revoked_is_no_parent_any_more() -> None:
    line = revoke(JUDGED, 1)
    with pytest.raises(PolicyRefused) as refused:
        candidate(line, parent=1)
    assert refused.value.reason is Refusal.NOT_PASSED


# --- What holds of any sequence -------------------------------------------------------------------

VERSIONS = st.integers(0, 12)
# A validation's accuracy, as an offset from best: about every limit of the policy.
OFFSETS = st.sampled_from([-60_000, -20_001, -20_000, -1, 0, 1, 5_000])
STEPS = st.one_of(
    st.tuples(st.just("candidate"), OFFSETS, st.just(True)),
    st.tuples(st.just("candidate"), OFFSETS, st.booleans()),
    st.tuples(st.just("register"), VERSIONS),
    st.tuples(st.just("validate"), VERSIONS, OFFSETS),
    st.tuples(st.sampled_from(["discard", "rollback", "revoke"]), VERSIONS),
)


def take(line: Line, step: tuple[object, ...]) -> tuple[Line, Judgement | None]:
    best = line.state.best_accuracy or 900_000
    match step:
        case ("candidate", int(offset), bool(accepted)):
            line = candidate(line)
            return validate(line, line.state.latest, min(best + offset, MAX_PPM), accepted=accepted)
        case ("register", int(parent)):
            return candidate(line, parent), None
        case ("validate", int(version), int(offset)):
            return validate(line, version, min(best + offset, MAX_PPM))
        case ("discard", int(version)):
            return discard(line, version), None
        case ("rollback", int(version)):
            return rollback(line, version), None
        case ("revoke", int(version)):
            return revoke(line, version), None
    raise AssertionError(step)


def check_line(line: Line) -> None:
    """Current is best, and passed unless there is none; what waits is counted; parents precede."""
    state = line.state
    assert state.current == state.best
    assert state.best_accuracy == line.record(state.best).accuracy
    if state.best:
        assert line.record(state.best).status is Status.PASSED
    assert state.waiting == len(line.waiting)
    assert state.latest == len(line.versions)
    assert all(record.parent < number for number, record in enumerate(line.versions, start=1))
    assert (state.iteration, state.epoch, state.rollbacks) == (0, 0, 0)
    assert state.completed is CompletionReason.NONE


def test_any_sequence_of_operations_keeps_the_invariants() -> None:
    met: set[Verdict] = set()

    @settings(max_examples=200, deadline=None)
    @given(st.lists(STEPS, min_size=20, max_size=60))
    def walk_through(steps: list[tuple[object, ...]]) -> None:
        line = create(STRICTER, ModelKind.OPEN)
        for step in steps:
            before = line
            try:
                line, judgement = take(line, step)
            except PolicyRefused:
                continue
            check_line(line)
            if judgement is not None:
                met.add(judgement.verdict)
                assert judgement.state == line.state
                # only a better one moves the pointer
                if judgement.verdict not in (Verdict.FIRST_BEST, Verdict.NEW_BEST):
                    assert line.state.current == before.state.current

    walk_through()
    # A search that no longer reaches a rule proves nothing about it.
    assert met == {
        Verdict.FIRST_BEST,
        Verdict.NEW_BEST,
        Verdict.CONTENDER,
        Verdict.REJECTED,
        Verdict.BELOW_MINIMUM,
        Verdict.SEVERE_DROP,
    }
