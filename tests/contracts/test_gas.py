"""What operations cost: within the design's budgets, flat, and as the committed table says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.gas import BUDGETS, CONDITIONS, LONG_HISTORY, REASON, RESULTS, measure
from ml.chain.registry import ModelRegistry

COMMITTED: dict[str, int] = json.loads(RESULTS.read_text())
MAX_CODE_BYTES = 24_576
"""Of a contract that Ethereum takes (EIP-170)."""
ZERO_BYTES = 12 * 8
"""Digests differ in how many of their bytes are zero, each of which is 12 gas cheaper."""


@pytest.fixture(scope="module")
def measured(registry: ModelRegistry) -> dict[str, int]:
    return measure()


@pytest.mark.parametrize("operation", BUDGETS)
def test_operation_stays_within_its_budget(measured: dict[str, int], operation: str) -> None:
    assert measured[operation] <= BUDGETS[operation]


@pytest.mark.parametrize("operation", [name for name in COMMITTED if name != "deploy"])
def test_committed_figure_is_what_the_operation_costs_now(
    measured: dict[str, int], operation: str
) -> None:
    assert measured[operation] == COMMITTED[operation], "`make bench-gas` measures again"


def test_committed_table_has_every_operation(measured: dict[str, int]) -> None:
    assert list(COMMITTED) == list(measured)


def test_deployment_costs_what_the_committed_table_says(measured: dict[str, int]) -> None:
    # the hash of the sources is part of the code, and its zero bytes vary with every comment
    assert measured["deploy"] == pytest.approx(COMMITTED["deploy"], rel=0.005)


@pytest.mark.parametrize("operation", ["register", "validate", "rollback"])
def test_cost_does_not_grow_with_the_history(measured: dict[str, int], operation: str) -> None:
    late = measured[f"{operation} at version {LONG_HISTORY}"]
    assert late == pytest.approx(measured[operation], abs=ZERO_BYTES)


def test_committed_figures_name_their_conditions() -> None:
    conditions = json.loads(CONDITIONS.read_text())
    assert (conditions["hardfork"], conditions["evm_version"]) == ("Shanghai", "shanghai")
    assert (conditions["reason"], len(REASON)) == (REASON, 9)
    assert {"system", "processor", "cores", "python"} == conditions["machine"].keys()


def test_contract_is_small_enough_to_be_deployed(registry: Any) -> None:
    assert len(registry.contract.provider.get_code(registry.address)) <= MAX_CODE_BYTES
