"""An aggregate is the same bits for the same updates, and nothing that is unfit goes into one."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.errors import ModelproofError
from ml.federated import aggregation
from ml.federated.aggregation import (
    ClientUpdate,
    FedAvg,
    Rule,
    UnfitUpdate,
    Weights,
    aggregate,
)
from ml.federated.robust import AnyRule
from ml.federated.server_optimizers import FedAvgM

from .rounds import (
    BASE,
    FEWER,
    MOST_CLIENTS_NEEDED,
    RULES,
    bits,
    extremes,
    fingerprint,
    flat,
    model,
    rounds,
    state_of,
    update,
    weights_of,
)

GOLDEN = (
    "2b0cd4aa2bb8f8de",
    "8fa9e364c22a2a37",
    "89c047c021f519e3",
    "948e94aece4cf81e",
    "35e9b46843576f67",
    "1529a168ce576394",
    "2e5e773c04d59bc4",
    "c3309ec752ccf486",
    "0a216210cd59ded3",
)
"""Of two rounds by each of the rules."""
SIX = [update(client) for client in (0, 1, 2, 3, 5, 9)]


# --- Every rule -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=str)
@FEWER
@given(
    updates=rounds(least=MOST_CLIENTS_NEEDED, limit=2.0**60), dice=st.randoms(use_true_random=False)
)
def test_order_of_arrival_does_not_change_a_bit(
    rule: Rule, updates: list[ClientUpdate], dice: random.Random
) -> None:
    shuffled = dice.sample(updates, len(updates))
    assert bits(aggregate(rule, BASE, shuffled)) == bits(aggregate(rule, BASE, updates))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_aggregate_has_the_tensors_of_the_base(rule: Rule) -> None:
    made = aggregate(rule, BASE, SIX)
    described = {n: (t.dtype, t.shape, type(t)) for n, t in made.weights.items()}
    assert described == {n: (t.dtype, t.shape, np.ndarray) for n, t in BASE.items()}


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_nothing_that_was_given_is_changed(rule: Rule) -> None:
    given = [BASE, *(each.weights for each in SIX)]
    before = [weights_of(weights) for weights in given]
    state = aggregate(rule, BASE, SIX).state
    remembered = {name: weights_of(moment) for name, moment in state.moments.items()}
    aggregate(rule, BASE, SIX, state)
    assert [weights_of(weights) for weights in given] == before
    assert {name: weights_of(moment) for name, moment in state.moments.items()} == remembered


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_memory_layout_does_not_matter(rule: Rule) -> None:
    def strided(weights: Weights) -> Weights:
        return {name: np.repeat(t[..., None], 2, -1)[..., 0] for name, t in weights.items()}

    apart = [replace(each, weights=strided(each.weights)) for each in SIX]
    assert bits(aggregate(rule, BASE, apart)) == bits(aggregate(rule, BASE, SIX))


@pytest.mark.parametrize(
    ("rule", "digest"),
    zip(RULES, GOLDEN, strict=True),
    ids=lambda value: str(getattr(value, "name", "")),
)
def test_bits_are_those_of_every_earlier_release(rule: AnyRule, digest: str) -> None:
    """Whoever changes them takes from auditors what they recompute."""
    assert fingerprint(rule) == digest


def test_bits_do_not_depend_on_the_processors_instruction_set() -> None:
    """Numpy has loops for each; here it is told to do without those that this processor has."""
    features = np.core._multiarray_umath.__cpu_features__
    used = [name for name in np.core._multiarray_umath.__cpu_dispatch__ if features[name]]
    program = (
        "from tests.federated.rounds import RULES, fingerprint;"
        "print(*map(fingerprint, RULES), sep='\\n')"
    )
    plain = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(used)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert tuple(plain.stdout.split()) == GOLDEN


# --- The canonical average ------------------------------------------------------------------------


@FEWER
@given(updates=rounds())
def test_fedavg_is_what_plain_python_computes(updates: list[ClientUpdate]) -> None:
    made = aggregate(FedAvg(), BASE, updates)
    total = sum(each.samples for each in updates)
    expected = []
    for values in flat(*(each.weights for each in updates)).T:
        acc = 0.0
        for each, value in zip(updates, values, strict=True):
            acc += each.samples * float(value)
        expected.append(np.float32(acc / total))
    assert flat(made.weights)[0].tobytes() == np.array(expected, np.float32).tobytes()
    assert made.used == tuple(each.client for each in updates)


@FEWER
@given(updates=rounds())
def test_fedavg_is_the_exact_average_rounded(updates: list[ClientUpdate]) -> None:
    found = flat(aggregate(FedAvg(), BASE, updates).weights)[0]
    total = sum(each.samples for each in updates)
    for values, mean in zip(flat(*(each.weights for each in updates)).T, found, strict=True):
        exact = Fraction(0)
        for each, value in zip(updates, values, strict=True):
            exact += each.samples * Fraction(float(value))
        ulp = Fraction(float(np.spacing(np.abs(mean))))
        cancelled = 4 * len(updates) * Fraction(float(np.abs(values).max())) / 2**53
        assert abs(Fraction(float(mean)) - exact / total) <= ulp / 2 + cancelled


@FEWER
@given(updates=rounds())
def test_fedavg_stays_in_the_range_of_the_clients(updates: list[ClientUpdate]) -> None:
    low, high = extremes(updates)
    found = flat(aggregate(FedAvg(), BASE, updates).weights)[0]
    assert np.all((low <= found) & (found <= high))


def test_average_in_blocks_is_that_of_the_whole_tensor() -> None:
    rng = np.random.default_rng(8)
    size = 2 * aggregation._BLOCK + 5
    updates = [
        ClientUpdate(k, 7 + k, {"w": rng.normal(size=size).astype(np.float32)}) for k in range(3)
    ]
    acc = np.zeros(size)
    for each in updates:
        acc = acc + each.samples * each.weights["w"].astype(np.float64)
    made = aggregate(FedAvg(), {"w": np.zeros(size, np.float32)}, updates)
    assert made.weights["w"].tobytes() == (acc / 24).astype(np.float32).tobytes()


def test_average_of_negative_zeros_is_the_positive_one() -> None:
    zeros = {name: np.full_like(tensor, -0.0) for name, tensor in BASE.items()}
    made = aggregate(FedAvg(), BASE, [update(0, zeros), update(1, zeros)])
    assert not np.signbit(flat(made.weights)).any()


def test_largest_counts_and_weights_do_not_overflow() -> None:
    largest = {
        name: np.full_like(tensor, np.finfo(np.float32).max) for name, tensor in BASE.items()
    }
    most = aggregation.MAX_SAMPLES
    made = aggregate(FedAvg(), BASE, [update(0, largest, most - 1), update(1, largest, 1)])
    assert weights_of(made.weights) == weights_of(largest)


# --- Refusals -------------------------------------------------------------------------------------


def changed(name: str, tensor: Any) -> Weights:
    return {**model(2), name: tensor}


def without(name: str) -> Weights:
    return {kept: tensor for kept, tensor in model(2).items() if kept != name}


@pytest.mark.parametrize(
    ("unfit", "reason"),
    [
        (update(4, changed("a", np.array([1, np.nan, 2], np.float32))), "NaN or infinity .* 'a'"),
        (update(4, changed("a", np.array([1, np.inf, 2], np.float32))), "NaN or infinity"),
        (update(4, changed("a", np.array([-np.inf, 0, 2], np.float32))), "NaN or infinity"),
        (update(4, changed("scalar", np.array(np.nan, np.float32))), "NaN or infinity"),
        (update(4, changed("a", np.zeros(3))), r"'a' of float64 \[3\], not of float32 \[3\]"),
        (update(4, changed("a", np.zeros(3, ">f4"))), "'a' of >f4"),
        (update(4, changed("a", np.zeros(3, np.int32))), "'a' of int32"),
        (update(4, changed("a", np.zeros(4, np.float32))), r"float32 \[4\], not of float32 \[3\]"),
        (update(4, changed("a", np.zeros((1, 3), np.float32))), r"float32 \[1, 3\]"),
        (update(4, changed("scalar", np.zeros(1, np.float32))), r"float32 \[1\], .* \[\]"),
        (update(4, without("a")), "lacks the tensor 'a'"),
        (update(4, {}), "lacks the tensor 'a'"),
        (update(4, changed("z", np.zeros(3, np.float32))), "'z', which the model lacks"),
        (update(4, samples=0), "states 0 samples"),
        (update(4, samples=-600), "states -600 samples"),
        (update(4, samples=2**53 + 1), "states 9007199254740993 samples"),
        (update(4, samples=True), "states True samples"),
        (update(4, samples=600.0), "states 600.0 samples"),  # type: ignore[arg-type]
        (update(5), "is its second one in this round"),
    ],
)
def test_unfit_update_is_refused_by_its_client(unfit: ClientUpdate, reason: str) -> None:
    with pytest.raises(UnfitUpdate, match=reason) as refused:
        aggregate(FedAvg(), BASE, [*SIX, unfit])
    assert refused.value.client == unfit.client
    assert str(refused.value).startswith(f"the update of client {unfit.client} ")


BROKEN: Mapping[str, Any] = changed("a", np.array([1, np.nan, 2], np.float32))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((BASE, []), "no update to aggregate"),
        ((BASE, [update(0, samples=2**53), update(1)]), "9007199254741592 samples together"),
        ((BROKEN, SIX), "model to start from has a tensor 'a'"),
        ((changed("a", np.zeros(3)), SIX), "not of finite float32"),
        ((BASE, SIX, state_of(momentum=BROKEN)), "'momentum' does not fit the model"),
        ((BASE, SIX, state_of(momentum=without("a"))), "'momentum' does not fit"),
        ((BASE, SIX, state_of(momentum=changed("a", np.zeros(3)))), "'momentum' does not fit"),
    ],
)
def test_round_that_cannot_be_aggregated_is_refused(arguments: Any, reason: str) -> None:
    with pytest.raises(ModelproofError, match=reason):
        aggregate(FedAvgM(), *arguments)


@pytest.mark.parametrize(
    ("rule", "scale"), [(FedAvgM(learning_rate=1e39), 1.0), (FedAvgM(0.9), 2.0**127)]
)
def test_aggregate_beyond_32_bits_is_refused(rule: Rule, scale: float) -> None:
    far = update(0, model(7, scale))
    state = state_of(momentum=model(7, scale))
    with pytest.raises(ModelproofError, match="by 'fedavgm' is beyond 32-bit floats in tensor"):
        aggregate(rule, model(1, 0.0), [far], state)
