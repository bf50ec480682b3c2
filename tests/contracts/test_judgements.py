"""The policy alone, in Solidity and in Python, over states and limits that no short history meets.

Accuracies lie on either side of every limit and counters next to theirs, up to where they stop.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import pytest

from ml.artifact import abi
from ml.chain.policy import MAX_COUNTER, MAX_ITERATION, check, judge
from ml.chain.types import MAX_PPM, CompletionReason, ModelState, Policy, Verdict
from ml.chain.words import policy_word, state_word

from .batch import GAS, effort, selectors

CASES = 80_000
SHARDS = 4
PER_CALL = 1_000


class Case(NamedTuple):
    state: ModelState
    policy: Policy
    accuracy: int
    training_accuracy: int
    accepted: bool


@pytest.fixture(scope="module")
def harness(project: Any, cast: Any) -> Any:
    return cast.deployer.deploy(project.StrictPolicyHarness)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_solidity_and_python_judge_alike(harness: Any, shard: int) -> None:
    dice = random.Random(shard)
    met: set[str] = set()
    for _ in range(effort(CASES) // SHARDS // PER_CALL):
        cases = [random_case(dice) for _ in range(PER_CALL)]
        for case, on_chain in zip(cases, judge_on_chain(harness, cases), strict=True):
            judged = judge(
                case.state,
                case.policy,
                case.state.latest,
                case.accuracy,
                case.training_accuracy,
                case.accepted,
            )
            assert on_chain == (state_word(judged.state), judged.verdict), case
            met |= {judged.verdict.name, judged.completed.name}
    rules = {rule.name for rule in (*Verdict, *CompletionReason)}
    assert rules - met == {CompletionReason.MANUAL.name}


def judge_on_chain(harness: Any, cases: list[Case]) -> list[tuple[int, int]]:
    """The state's word and the verdict of each case."""
    values: list[int] = []
    for case in cases:
        version, word = case.state.latest, state_word(case.state)
        values += [word, policy_word(case.policy), version, *case[2:]]
    selector = selectors(harness.contract_type)["judge"]
    data = selector + abi.encode(32, len(cases), *values)
    call = {"to": harness.address, "data": data, "gas": GAS}
    returned = bytes(harness.provider.web3.eth.call(call))
    words = [int.from_bytes(returned[at : at + 32], "big") for at in range(0, len(returned), 32)]
    _states_at, _verdicts_at, *arrays = words
    states, verdicts = arrays[1 : 1 + len(cases)], arrays[2 + len(cases) :]
    return list(zip(states, verdicts, strict=True))


def random_case(dice: random.Random) -> Case:
    policy = random_policy(dice)
    best_accuracy = dice.choice(
        (0, 1, policy.min_accuracy, policy.target_accuracy, MAX_PPM, dice.randint(0, MAX_PPM))
    )
    state = ModelState(
        current=dice.choice((0, 1, MAX_ITERATION, dice.randint(0, MAX_ITERATION))),
        best=dice.choice((0, 1, 1, 7, MAX_ITERATION)),
        best_accuracy=best_accuracy,
        latest=(latest := dice.choice((1, 2, MAX_ITERATION, dice.randint(1, MAX_ITERATION)))),
        iteration=_near(dice, policy.max_iterations, MAX_ITERATION - 1),
        epoch=dice.choice((0, 1, MAX_ITERATION - 1)),
        below_best=_near(dice, policy.patience, MAX_COUNTER),
        since_progress=_near(dice, policy.convergence_patience, MAX_COUNTER),
        rollbacks=_near(dice, policy.max_rollbacks, MAX_COUNTER),
        pending=latest,
    )
    limits = (
        best_accuracy - policy.tolerance,
        best_accuracy - policy.max_drop,
        best_accuracy + policy.min_improvement,
        policy.min_accuracy,
        policy.target_accuracy,
        best_accuracy,
    )
    accuracy = dice.choice((dice.choice(limits) + dice.randint(-1, 1), dice.randint(0, MAX_PPM)))
    accuracy = max(0, min(accuracy, MAX_PPM))
    training = dice.choice((0, accuracy + policy.max_gap + dice.randint(-1, 1), MAX_PPM))
    return Case(state, policy, accuracy, max(0, min(training, MAX_PPM)), dice.random() < 0.9)


def random_policy(dice: random.Random) -> Policy:
    max_drop = dice.choice((0, 1, 20_000, MAX_PPM, dice.randint(0, 100_000)))
    target = dice.choice((0, 0, MAX_PPM, dice.randint(1, MAX_PPM)))
    policy = Policy(
        tolerance=dice.choice((0, max_drop, dice.randint(0, max_drop or MAX_PPM))),
        max_drop=max_drop,
        patience=_limit(dice, MAX_COUNTER),
        min_accuracy=dice.choice((0, target, dice.randint(0, target or MAX_PPM))),
        min_improvement=dice.choice((0, 1, 1_000, MAX_PPM)),
        target_accuracy=target,
        convergence_patience=_limit(dice, MAX_COUNTER),
        max_iterations=_limit(dice, MAX_ITERATION),
        max_rollbacks=_limit(dice, MAX_COUNTER),
        max_gap=dice.choice((0, 1, 30_000, MAX_PPM)),
    )
    check(policy)
    return policy


def _limit(dice: random.Random, highest: int) -> int:
    return dice.choice((0, 0, 1, 2, 3, highest - 1, highest, dice.randint(0, highest)))


def _near(dice: random.Random, limit: int, highest: int) -> int:
    """A counter next to its limit, at one of its ends, or anywhere."""
    value = dice.choice((limit - 2, limit - 1, limit, limit + 1, 0, highest, dice.randint(0, 9)))
    return max(0, min(value, highest))
