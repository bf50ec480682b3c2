"""FedAvgM and FedAdam step as their papers say, and go on exactly from a state that was stored."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ml.errors import ModelproofError
from ml.federated import server_state
from ml.federated.aggregation import NO_STATE, Aggregate, FedAvg, aggregate
from ml.federated.robust import AnyRule, CoordinateMedian, NormClipped
from ml.federated.server_optimizers import FedAdam, FedAvgM

from .rounds import BASE, bits, flat, model, state_of, update

ROUNDS = [[update(client, model(10 * number + client)) for client in (0, 1)] for number in range(4)]
REMEMBERING: tuple[AnyRule, ...] = (FedAvgM(0.8), FedAdam(0.1), NormClipped(1.0, FedAdam(0.1)))


def play(rule: AnyRule, rounds: Any = ROUNDS) -> list[Aggregate]:
    made = [Aggregate(dict(BASE), (), NO_STATE)]
    for updates in rounds:
        made.append(aggregate(rule, made[-1].weights, updates, made[-1].state))
    return made[1:]


def deltas(made: list[Aggregate]) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    """What each round would have changed, by plain averages of its two equally large clients."""
    bases = [BASE, *(each.weights for each in made)]
    means = [flat(*(each.weights for each in u)).astype(np.float64).mean(axis=0) for u in ROUNDS]
    return [mean - flat(base)[0] for mean, base in zip(means, bases, strict=False)]


def test_fedavgm_is_the_papers_recurrence() -> None:
    made = play(FedAvgM(momentum=0.8, learning_rate=0.7))
    w, v = flat(BASE)[0].tolist(), [0.0] * 8
    for delta, each in zip(deltas(made), made, strict=True):
        for i, change in enumerate(delta.tolist()):
            v[i] = 0.8 * v[i] + change
            w[i] += 0.7 * v[i]
        assert np.allclose(w, flat(each.weights)[0], atol=1e-5)


def test_fedadam_is_the_papers_recurrence() -> None:
    made = play(FedAdam(learning_rate=0.1, beta1=0.8, beta2=0.9, tau=0.01))
    w, m, v = flat(BASE)[0].tolist(), [0.0] * 8, [0.01**2] * 8
    for delta, each in zip(deltas(made), made, strict=True):
        for i, change in enumerate(delta.tolist()):
            m[i] = 0.8 * m[i] + 0.2 * change
            v[i] = 0.9 * v[i] + 0.1 * change**2
            w[i] += 0.1 * m[i] / (math.sqrt(v[i]) + 0.01)
        assert np.allclose(w, flat(each.weights)[0], atol=1e-5)


def test_without_momentum_and_at_full_rate_fedavgm_is_fedavg() -> None:
    plain = play(FedAvg())[0].weights
    assert np.allclose(flat(play(FedAvgM(0.0, 1.0))[0].weights), flat(plain), atol=1e-6)


# --- State ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", REMEMBERING, ids=str)
def test_stored_state_goes_on_exactly(rule: AnyRule) -> None:
    made = play(rule)
    for before, after, updates in zip(made, made[1:], ROUNDS[1:], strict=False):
        restored = server_state.load(server_state.dump(before.state, rule), rule, "it")
        assert bits(aggregate(rule, before.weights, updates, restored)) == bits(after)


@pytest.mark.parametrize("rule", REMEMBERING, ids=str)
def test_state_of_the_target_makes_a_rollback_as_if_nothing_had_been(rule: AnyRule) -> None:
    made = play(rule)
    again = aggregate(rule, made[0].weights, ROUNDS[1], made[0].state)
    other = aggregate(rule, made[0].weights, ROUNDS[1], made[3].state)
    assert bits(again) == bits(made[1]) != bits(other)


def test_equal_states_give_equal_bytes() -> None:
    rule = FedAdam(0.1)
    first, again = play(rule)[1].state, play(rule)[1].state
    assert server_state.dump(first, rule) == server_state.dump(again, rule)


def test_rule_that_remembers_nothing_has_an_empty_state() -> None:
    for rule in (FedAvg(), CoordinateMedian()):
        state = play(rule)[0].state
        assert state.moments == {}
        assert server_state.load(server_state.dump(state, rule), rule, "it").moments == {}


@pytest.mark.parametrize(
    ("rule", "other"),
    [(FedAvgM(0.8), FedAvgM(0.9)), (FedAvgM(), FedAdam(0.1)), (FedAvg(), CoordinateMedian())],
)
def test_state_of_another_rule_is_not_loaded(rule: AnyRule, other: AnyRule) -> None:
    data = server_state.dump(play(rule)[0].state, rule)
    with pytest.raises(ModelproofError, match="go on with the one that made the version"):
        server_state.load(data, other, "it")


@pytest.mark.parametrize(("rule", "other"), [(FedAvgM(), FedAdam(0.1)), (FedAdam(0.1), FedAvgM())])
def test_state_of_another_rule_is_not_used(rule: AnyRule, other: AnyRule) -> None:
    state = play(rule)[0].state
    with pytest.raises(ModelproofError, match=r"state is another rule's: it has .*momentum"):
        aggregate(other, BASE, ROUNDS[0], state)


def test_damaged_state_is_refused() -> None:
    rule = FedAvgM()
    data = server_state.dump(state_of(momentum=BASE), rule)
    with pytest.raises(ModelproofError, match="it is not"):
        server_state.load(data[:-1], rule, "it")
    other = server_state.dump(state_of(momentum={"a": np.zeros(2, np.uint8)}), rule)
    with pytest.raises(ModelproofError, match="'momentum/a', which belongs to no rule's state"):
        server_state.load(other, rule, "it")


@pytest.mark.parametrize(
    "build",
    [
        lambda: FedAvgM(momentum=1.0),
        lambda: FedAvgM(momentum=-0.1),
        lambda: FedAvgM(learning_rate=0.0),
        lambda: FedAdam(math.inf),
        lambda: FedAdam(0.1, beta1=1.0),
        lambda: FedAdam(0.1, beta2=math.nan),
        lambda: FedAdam(0.1, tau=0.0),
    ],
)
def test_parameter_out_of_range_is_refused(build: Any) -> None:
    with pytest.raises(ModelproofError, match=r"(above 0|below 1), not"):
        build()
