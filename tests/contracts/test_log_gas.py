"""What the provenance log costs: within the design's budgets, and as the committed table says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ape import networks

from benchmarks.gas import HARDFORK, NETWORK
from benchmarks.log_gas import APPENDS, BUDGETS, CONDITIONS, MEAN, RESULTS, measure

pytestmark = pytest.mark.slow

COMMITTED: dict[str, int] = json.loads(RESULTS.read_text())
STRING_STORING_STORE_HASH = 183_000
"""The tracker guide's storeHash(bytes32,string) with 120 bytes, measured in the same way."""
CLOSING_A_SUBTREE = 2_400
"""Most gas for one: a cold read and a hash."""


DIGITS = 200
"""Proofs differ from run to run, as the records' times do, and zero bytes cost less."""
PROOFS = [name for name in COMMITTED if "one in 300" in name or "consistency" in name]


@pytest.fixture(scope="module")
def measured(project: Any) -> dict[str, int]:
    """On the hardfork of the committed table: later ones charge more for proofs (EIP-7623)."""
    settings = {"evm_version": HARDFORK}
    with networks.parse_network_choice(NETWORK, provider_settings=settings):
        return measure()


@pytest.mark.parametrize("operation", BUDGETS)
def test_operation_stays_within_its_budget(measured: dict[str, int], operation: str) -> None:
    assert measured[operation] <= BUDGETS[operation]


@pytest.mark.parametrize("operation", [name for name in COMMITTED if name != "deploy"])
def test_committed_figure_is_what_the_operation_costs_now(
    measured: dict[str, int], operation: str
) -> None:
    expected = pytest.approx(COMMITTED[operation], abs=DIGITS if operation in PROOFS else 0)
    assert measured[operation] == expected, "`python -m benchmarks.log_gas` measures again"


def test_committed_table_has_every_operation(measured: dict[str, int]) -> None:
    assert list(COMMITTED) == list(measured)


def test_deployment_costs_what_the_committed_table_says(measured: dict[str, int]) -> None:
    # the hash of the sources is part of the code, and its zero bytes vary with every comment
    assert measured["deploy"] == pytest.approx(COMMITTED["deploy"], rel=0.005)


def test_append_costs_more_only_for_the_subtrees_that_it_closes(measured: dict[str, int]) -> None:
    least, most = measured[f"append, least of {APPENDS}"], measured[f"append, most of {APPENDS}"]
    assert least < measured[MEAN] < least + CLOSING_A_SUBTREE
    assert most <= least + (APPENDS.bit_length() - 1) * CLOSING_A_SUBTREE


def test_append_costs_a_third_of_storing_the_text(measured: dict[str, int]) -> None:
    described = measured["append, 120 bytes of metadata"]
    assert described < STRING_STORING_STORE_HASH * 0.35


def test_committed_figures_name_their_conditions() -> None:
    conditions = json.loads(CONDITIONS.read_text())
    assert (conditions["hardfork"], conditions["evm_version"]) == ("Shanghai", "shanghai")
