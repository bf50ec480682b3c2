"""The policies alone, in Solidity and in Python, over states and limits that no history meets.

Accuracies lie on either side of every limit and counters next to theirs, up to where they stop.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from ml.artifact import abi
from ml.chain.policy import MAX_COUNTER, MAX_ITERATION, check, judge
from ml.chain.types import MAX_PPM, CompletionReason, ModelKind, ModelState, Policy, Verdict
from ml.chain.words import policy_word, state_word

from .batch import GAS, effort, selectors
from .histories import OPEN

CASES = 20_000
"""Of each shard."""
SHARDS = [ModelKind.STRICT] * 4 + [ModelKind.OPEN]
PER_CALL = 1_000
RULES = {
    ModelKind.STRICT: [
        *(rule for rule in Verdict if rule is not Verdict.CONTENDER),
        *(rule for rule in CompletionReason if rule is not CompletionReason.MANUAL),
    ],
    ModelKind.OPEN: [
        Verdict.REJECTED,
        Verdict.BELOW_MINIMUM,
        Verdict.SEVERE_DROP,
        Verdict.FIRST_BEST,
        Verdict.NEW_BEST,
        Verdict.CONTENDER,
        CompletionReason.NONE,
    ],
}


class Case(NamedTuple):
    state: ModelState
    policy: Policy
    accuracy: int
    training_accuracy: int
    accepted: bool


@pytest.fixture(scope="module")
def harness(project: Any, cast: Any) -> Any:
    return cast.deployer.deploy(project.PolicyHarness)


@pytest.mark.parametrize(
    ("shard", "kind"),
    enumerate(SHARDS),
    ids=[f"{kind.name.lower()} {shard}" for shard, kind in enumerate(SHARDS)],
)
def test_solidity_and_python_judge_alike(harness: Any, shard: int, kind: ModelKind) -> None:
    dice = random.Random(shard)
    met: set[str] = set()
    for _ in range(effort(CASES) // PER_CALL):
        cases = [random_case(dice, kind) for _ in range(PER_CALL)]
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
    assert met == {rule.name for rule in RULES[kind]}


def judge_on_chain(harness: Any, cases: list[Case]) -> list[tuple[int, int]]:
    """The state's word and the verdict of each case."""
    values: list[int | bytes] = []
    for case in cases:
        version, word = case.state.latest, state_word(case.state)
        nothing = (bytes(32), bytes(32), bytes(32))  # the policy reads no digests
        values += [word, policy_word(case.policy), version, *case[2:], *nothing]
    selector = selectors(harness.contract_type)["judge"]
    data = selector + abi.encode(32, len(cases), *values)
    call = {"to": harness.address, "data": data, "gas": GAS}
    returned = bytes(harness.provider.web3.eth.call(call))
    words = [int.from_bytes(returned[at : at + 32], "big") for at in range(0, len(returned), 32)]
    _states_at, _verdicts_at, *arrays = words
    states, verdicts = arrays[1 : 1 + len(cases)], arrays[2 + len(cases) :]
    return list(zip(states, verdicts, strict=True))


def random_case(dice: random.Random, kind: ModelKind) -> Case:
    policy = random_policy(dice, kind)
    best_accuracy = dice.choice(
        (0, 1, policy.min_accuracy, policy.target_accuracy, MAX_PPM, dice.randint(0, MAX_PPM))
    )
    state = ModelState(
        current=dice.choice((0, 1, MAX_ITERATION, dice.randint(0, MAX_ITERATION))),
        best=dice.choice((0, 1, 1, 7, MAX_ITERATION)),
        best_accuracy=best_accuracy,
        latest=dice.choice((1, 2, MAX_ITERATION, dice.randint(1, MAX_ITERATION))),
        iteration=_near(dice, policy.max_iterations, MAX_ITERATION - 1),
        epoch=dice.choice((0, 1, MAX_ITERATION - 1)),
        below_best=_near(dice, policy.patience, MAX_COUNTER),
        since_progress=_near(dice, policy.convergence_patience, MAX_COUNTER),
        rollbacks=_near(dice, policy.max_rollbacks, MAX_COUNTER),
        waiting=dice.choice((1, 2, 254, 255)) if kind is ModelKind.OPEN else 1,
        kind=kind,
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


def random_policy(dice: random.Random, kind: ModelKind) -> Policy:
    policy = _strict_policy(dice)
    if kind is ModelKind.OPEN:
        policy = replace(OPEN, max_drop=policy.max_drop, min_accuracy=policy.min_accuracy)
    check(policy, kind)
    return policy


def _strict_policy(dice: random.Random) -> Policy:
    max_drop = dice.choice((0, 1, 20_000, MAX_PPM, dice.randint(0, 100_000)))
    target = dice.choice((0, 0, MAX_PPM, dice.randint(1, MAX_PPM)))
    return Policy(
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


def _limit(dice: random.Random, highest: int) -> int:
    return dice.choice((0, 0, 1, 2, 3, highest - 1, highest, dice.randint(0, highest)))


def _near(dice: random.Random, limit: int, highest: int) -> int:
    """A counter next to its limit, at one of its ends, or anywhere."""
    value = dice.choice((limit - 2, limit - 1, limit, limit + 1, 0, highest, dice.randint(0, 9)))
    return max(0, min(value, highest))
