"""The packed words: every field keeps to its own bits, and counters stop at their ends."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import IntEnum
from typing import Any

import pytest

from ml.chain.policy import MAX_COUNTER, MAX_ITERATION
from ml.chain.types import MAX_PPM, CompletionReason, ModelKind, ModelState, Policy, Status
from ml.chain.words import POLICY_LAYOUT, STATE_LAYOUT, policy_word, state_word

from .batch import Batch, decoded, encode
from .mirror import excess, policy_values

ONES = 2**256 - 1
DICE = random.Random(0)
WORDS = [0, ONES, *(DICE.getrandbits(256) for _ in range(30))]


class Change(IntEnum):
    """WordHarness.StateChange, in its order."""

    CURRENT = 0
    BEST = 1
    REGISTERED = 2
    NONE_WAITING = 3
    ONE_LESS_WAITING = 4
    NEXT_ITERATION = 5
    NEXT_EPOCH = 6
    BELOW_BEST = 7
    ONE_MORE_BELOW_BEST = 8
    SINCE_PROGRESS = 9
    ONE_MORE_SINCE_PROGRESS = 10
    ROLLBACKS = 11
    ONE_MORE_ROLLBACK = 12
    COMPLETED = 13
    NOT_COMPLETED = 14
    KIND = 15


def get(word: int, name: str) -> int:
    offset, width = STATE_LAYOUT[name]
    return word >> offset & (1 << width) - 1


def put(word: int, **values: int) -> int:
    for name, value in values.items():
        offset, width = STATE_LAYOUT[name]
        word = word & ~(((1 << width) - 1) << offset) | value << offset
    return word


def one_more(name: str) -> Callable[[int, int, int], dict[str, int]]:
    highest = (1 << STATE_LAYOUT[name][1]) - 1
    return lambda word, _value, _accuracy: {name: min(get(word, name) + 1, highest)}


def sixteen_bits(name: str) -> Callable[[int, int, int], dict[str, int]]:
    return lambda _word, value, _accuracy: {name: value & MAX_COUNTER}


# What each change sets, given the word before, its value and its accuracy.
EFFECTS: dict[Change, Callable[[int, int, int], dict[str, int]]] = {
    Change.CURRENT: lambda _, value, __: {"current": value},
    Change.BEST: lambda _, v, accuracy: {"current": v, "best": v, "best_accuracy": accuracy},
    Change.REGISTERED: lambda word, value, _: {
        "latest": value,
        **one_more("waiting")(word, 0, 0),
    },
    Change.NONE_WAITING: lambda *_: {"waiting": 0},
    Change.ONE_LESS_WAITING: lambda word, *_: {"waiting": get(word, "waiting") - 1},
    Change.NEXT_ITERATION: one_more("iteration"),
    Change.NEXT_EPOCH: one_more("epoch"),
    Change.BELOW_BEST: sixteen_bits("below_best"),
    Change.ONE_MORE_BELOW_BEST: one_more("below_best"),
    Change.SINCE_PROGRESS: sixteen_bits("since_progress"),
    Change.ONE_MORE_SINCE_PROGRESS: one_more("since_progress"),
    Change.ROLLBACKS: sixteen_bits("rollbacks"),
    Change.ONE_MORE_ROLLBACK: one_more("rollbacks"),
    Change.COMPLETED: lambda word, value, _: {"completed": value, "current": get(word, "best")},
    Change.NOT_COMPLETED: lambda *_: {"completed": 0},
    Change.KIND: lambda _, value, __: {"kind": value},
}
VALUES: dict[Change, list[int]] = {
    Change.COMPLETED: list(CompletionReason),
    Change.KIND: list(ModelKind),
}


@pytest.fixture(scope="module")
def harness(project: Any, cast: Any) -> Any:
    return cast.deployer.deploy(project.WordHarness)


@pytest.fixture
def ask_each(harness: Any, batch: Batch) -> Callable[..., list[Any]]:
    """Ask one function of the harness many times, each with its own arguments."""

    def ask_each(function: str, questions: list[tuple[Any, ...]]) -> list[Any]:
        calls = [encode(harness, function, *arguments) for arguments in questions]
        outcomes = batch.call_each(str(harness.address), calls)
        assert all(outcome.succeeded for outcome in outcomes)
        return [decoded(harness, function, outcome.returned) for outcome in outcomes]

    return ask_each


# --- The state ------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", Change, ids=lambda change: change.name.lower())
def test_change_of_a_state_leaves_every_other_field_alone(
    ask_each: Callable[..., list[Any]], change: Change
) -> None:
    values = VALUES.get(change, [0, 1, MAX_COUNTER, MAX_COUNTER + 1, MAX_ITERATION])
    questions = [
        (word, change, value, accuracy)
        for word in WORDS
        for value in values
        for accuracy in (0, MAX_PPM)
        if change is not Change.ONE_LESS_WAITING or get(word, "waiting")
    ]
    expected = [
        put(word, **EFFECTS[change](word, value, accuracy))
        for word, change, value, accuracy in questions
    ]
    assert ask_each("changeState", questions) == expected


@pytest.mark.parametrize(
    ("change", "name", "highest"),
    [
        (Change.NEXT_ITERATION, "iteration", MAX_ITERATION),
        (Change.NEXT_EPOCH, "epoch", MAX_ITERATION),
        (Change.ONE_MORE_BELOW_BEST, "below_best", MAX_COUNTER),
        (Change.ONE_MORE_SINCE_PROGRESS, "since_progress", MAX_COUNTER),
        (Change.ONE_MORE_ROLLBACK, "rollbacks", MAX_COUNTER),
        (Change.REGISTERED, "waiting", 255),
    ],
)
def test_counter_stops_at_its_highest_value(
    ask_each: Callable[..., list[Any]], change: Change, name: str, highest: int
) -> None:
    below, full = put(0, **{name: highest - 1}), put(0, **{name: highest})
    assert ask_each("changeState", [(below, change, 0, 0), (full, change, 0, 0)]) == [full, full]


def states() -> Iterator[ModelState]:
    """Each field alone at its highest, all of them so, and some at random."""
    highest = {
        "current": MAX_ITERATION,
        "best": MAX_ITERATION,
        "latest": MAX_ITERATION,
        "best_accuracy": 2**24 - 1,
        "iteration": MAX_ITERATION,
        "epoch": MAX_ITERATION,
        "below_best": MAX_COUNTER,
        "since_progress": MAX_COUNTER,
        "rollbacks": MAX_COUNTER,
        "waiting": 255,
    }
    full = ModelState(**highest)
    yield from (ModelState(), full, replace(full, waiting=0), replace(full, kind=ModelKind.OPEN))
    yield from (ModelState(**{name: value}) for name, value in highest.items())
    for reason in CompletionReason:
        yield ModelState(completed=reason)
        yield replace(full, completed=reason)
    for _ in range(30):
        drawn = {name: DICE.randint(0, value) for name, value in highest.items()}
        kind = DICE.choice((ModelKind.STRICT, ModelKind.OPEN))
        yield ModelState(**drawn, completed=DICE.choice(list(CompletionReason)), kind=kind)


def test_state_reads_back_from_its_word(ask_each: Callable[..., list[Any]]) -> None:
    given = list(states())
    words = [(state_word(state),) for state in given]
    views = ask_each("readState", words)
    told = [
        ModelState(
            current=view[1],
            best=view[2],
            best_accuracy=view[3],
            latest=view[4],
            iteration=view[5],
            epoch=view[6],
            below_best=view[7],
            since_progress=view[8],
            rollbacks=view[9],
            waiting=view[11],
            completed=CompletionReason(view[12]),
            kind=ModelKind(view[0]),
        )
        for view in views
    ]
    assert told == given
    assert [view[10] for view in views] == [state.pending for state in given]
    flags = [
        (True, state.completed is not CompletionReason.NONE, state.kind is ModelKind.OPEN)
        for state in given
    ]
    assert ask_each("flagsOfState", words) == flags


def test_word_of_a_model_that_does_not_exist_is_all_zero(
    ask_each: Callable[..., list[Any]],
) -> None:
    assert state_word(ModelState(kind=ModelKind.NONE)) == 0
    assert ask_each("flagsOfState", [(0,)]) == [(False, False, False)]


# --- The policy -----------------------------------------------------------------------------------

HIGHEST = Policy(
    tolerance=MAX_PPM,
    max_drop=MAX_PPM,
    patience=MAX_COUNTER,
    min_accuracy=MAX_PPM,
    min_improvement=MAX_PPM,
    target_accuracy=MAX_PPM,
    convergence_patience=MAX_COUNTER,
    max_iterations=MAX_ITERATION,
    max_rollbacks=MAX_COUNTER,
    max_gap=MAX_PPM,
    quorum=255,
    independent=True,
)
LOWEST = Policy(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, False)


def policies() -> Iterator[Policy]:
    """Each field alone at its highest, each alone at its lowest, and some at random."""
    yield from (HIGHEST, LOWEST, Policy())
    for name in POLICY_LAYOUT:
        yield replace(LOWEST, **{name: getattr(HIGHEST, name)})
        yield replace(HIGHEST, **{name: getattr(LOWEST, name)})
    for _ in range(30):
        drawn = {name: DICE.randint(0, int(getattr(HIGHEST, name))) for name in POLICY_LAYOUT}
        drawn |= {"tolerance": 0, "min_accuracy": 0, "quorum": drawn["quorum"] or 1}
        yield Policy(**drawn | {"independent": drawn["independent"] == 1})


def test_policy_packs_as_in_python_and_reads_back(ask_each: Callable[..., list[Any]]) -> None:
    tried = list(policies())
    given = [policy_values(policy) for policy in tried]
    words = [policy_word(policy) for policy in tried]
    assert ask_each("packPolicy", [(values, False) for values in given]) == words
    assert ask_each("readPolicy", [(word,) for word in words]) == given


def test_policy_of_an_open_model_packs_alike(ask_each: Callable[..., list[Any]]) -> None:
    tried = [policy for policy in policies() if excess(policy) == 0]
    words = [policy_word(policy) for policy in tried]
    assert len(tried) > len(("max_drop", "min_accuracy", "quorum", "independent"))
    given = [(policy_values(policy), True) for policy in tried]
    assert ask_each("packPolicy", given) == words


# --- The version's record -------------------------------------------------------------------------

COMMITMENTS = [bytes(32), b"\xff" * 32, DICE.randbytes(32)]
NUMBERS = [0, 1, MAX_ITERATION]


def test_new_record_holds_25_bytes_of_the_commitment_the_parent_and_pending(
    ask_each: Callable[..., list[Any]],
) -> None:
    questions = [(full, parent) for full in COMMITMENTS for parent in NUMBERS]
    records = ask_each("packRecord", questions)
    expected = [(full[:25], parent, 0, Status.PENDING) for full, parent in questions]
    assert ask_each("readRecord", [(record,) for record in records]) == expected


@pytest.mark.parametrize("accuracy", [0, 1, MAX_PPM])
@pytest.mark.parametrize("word", [0, ONES], ids=["zeros", "ones"])
def test_judgement_of_a_record_touches_its_last_24_bits_alone(
    ask_each: Callable[..., list[Any]], word: int, accuracy: int
) -> None:
    judged = ask_each("withJudgement", [(word, status, accuracy) for status in Status])
    assert judged == [word >> 24 << 24 | accuracy << 4 | status for status in Status]


@pytest.mark.parametrize("word", [0, ONES], ids=["zeros", "ones"])
def test_status_of_a_record_touches_its_last_4_bits_alone(
    ask_each: Callable[..., list[Any]], word: int
) -> None:
    marked = ask_each("withStatus", [(word, status) for status in Status])
    assert marked == [word >> 4 << 4 | status for status in Status]


@pytest.mark.parametrize("word", [0, ONES >> 4 << 4], ids=["zeros", "ones"])
def test_record_has_passed_where_its_status_says_so_alone(
    ask_each: Callable[..., list[Any]], word: int
) -> None:
    answers = ask_each("hasPassed", [(word | status,) for status in Status])
    assert answers == [status is Status.PASSED for status in Status]


def test_record_matches_by_25_bytes_and_by_no_fewer(ask_each: Callable[..., list[Any]]) -> None:
    full = COMMITMENTS[2]
    (record,) = ask_each("packRecord", [(full, MAX_ITERATION)])
    flipped = [bytes(b ^ (place == at) for place, b in enumerate(full)) for at in range(32)]
    assert ask_each("matches", [(record, full)]) == [True]
    answers = ask_each("matches", [(record, other) for other in flipped])
    assert answers == [False] * 25 + [True] * 7
