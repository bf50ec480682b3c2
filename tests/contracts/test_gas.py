"""What operations cost: as the committed table says, within budgets, less than peers, and flat."""

from __future__ import annotations

import json
import re
from typing import Any

import ape
import pytest

from benchmarks.gas import history, log, results
from benchmarks.gas import registry as registry_benchmark
from benchmarks.gas.__main__ import TARGET
from benchmarks.gas.chain import Costs, Figures, own_chain
from benchmarks.gas.comparisons import (
    BESIDE,
    BUDGETS,
    CLAIMS,
    LOG,
    OURS,
    PORT_ANCHORS,
    REGISTRY,
    Claim,
    Measured,
    compare,
    is_fair,
)
from benchmarks.gas.report import DOCUMENT, documented

COMMITTED: Figures = json.loads(results.GAS.read_text())
CURVE: dict[int, Costs] = {
    int(length): costs for length, costs in json.loads(results.HISTORY.read_text()).items()
}
MEASURE_AGAIN = f"`make {TARGET}` and `make {history.TARGET}` measure again"
MAX_CODE_BYTES = 24_576
"""Of a contract that Ethereum takes (EIP-170)."""
ZERO_BYTES = 12 * 8
"""Digests differ in how many of their bytes are zero, each of which is 12 gas cheaper."""
CLOSING_A_SUBTREE = 2_400
"""Most gas for one: a cold read and a hash."""


@pytest.mark.slow
def test_committed_figures_are_what_our_operations_cost_now(project: Any) -> None:
    with own_chain():
        people = ape.accounts.test_accounts
        measured = {REGISTRY: registry_benchmark.measure(people), LOG: log.measure(people[0])}
    for contract in OURS:
        # the hash of the sources is part of the code, and its zero bytes vary with every comment
        deployment = pytest.approx(COMMITTED[contract]["deploy"], rel=0.005)
        assert measured[contract] == {**COMMITTED[contract], "deploy": deployment}, MEASURE_AGAIN


@pytest.mark.parametrize("measured", BUDGETS, ids=lambda measured: measured.operation)
def test_operation_stays_within_its_budget(measured: Measured) -> None:
    assert measured.of(COMMITTED) <= BUDGETS[measured]


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_operation_is_cheaper_than_its_peer_by_what_is_claimed(claim: Claim) -> None:
    assert claim.holds(COMMITTED)


@pytest.mark.parametrize("measured", PORT_ANCHORS, ids=lambda measured: measured.operation)
def test_port_of_the_chaincode_is_a_fair_peer(measured: Measured) -> None:
    assert is_fair(measured, COMMITTED)


def test_every_figure_of_a_peer_stands_beside_an_operation_of_ours() -> None:
    shown = {peer for peers in BESIDE.values() for peer in peers}
    theirs = COMMITTED.keys() - set(OURS)
    assert shown == {Measured(peer, name) for peer in theirs for name in COMMITTED[peer]}


def test_document_shows_the_committed_figures() -> None:
    assert documented(TARGET) == compare(COMMITTED).as_markdown()
    assert documented(history.TARGET) == history.as_sheet(CURVE).as_markdown()


@pytest.mark.parametrize("document", ["README.md", "docs/log.md"])
def test_costs_quoted_elsewhere_are_committed_figures(document: str) -> None:
    text = (DOCUMENT.parents[1] / document).read_text()
    section = text.partition("## What it costs\n")[2].partition("\n## ")[0]
    tables = [line.split("|")[2:] for line in section.splitlines() if line.startswith("| ")]
    quoted = re.findall(r"\d[\d,]*", str(tables[1:]))
    figures = [gas for contract in OURS for gas in COMMITTED[contract].values()]
    assert quoted
    assert set(quoted) <= {f"{gas:,}" for gas in (*figures, *BUDGETS.values())}


@pytest.mark.parametrize("operation", ["register", "validate", "rollback"])
def test_cost_does_not_grow_with_a_history_of_200_versions(operation: str) -> None:
    late = COMMITTED[REGISTRY][f"{operation} at version {registry_benchmark.LONG_HISTORY}"]
    assert late == pytest.approx(COMMITTED[REGISTRY][operation], abs=ZERO_BYTES)


def test_cost_does_not_grow_with_a_history_of_10000_versions() -> None:
    assert max(CURVE) == 10_000
    assert list(history.grown(CURVE)) == []


@pytest.mark.parametrize(
    ("operation", "there"),
    {
        "register": "register",
        "validate": "validate",
        "validate, automatic rollback": "validate, automatic rollback",
        "rollback": "rollback to the first version",
        "discard": "discard",
    }.items(),
)
def test_committed_curve_is_that_of_the_committed_figures(operation: str, there: str) -> None:
    assert CURVE[100][there] == pytest.approx(COMMITTED[REGISTRY][operation], abs=ZERO_BYTES)


def test_append_costs_more_only_for_the_subtrees_that_it_closes() -> None:
    least, most, mean = (COMMITTED[LOG][name] for name in (log.LEAST, log.MOST, log.MEAN))
    assert least < mean < least + CLOSING_A_SUBTREE
    assert most <= least + (log.APPENDS.bit_length() - 1) * CLOSING_A_SUBTREE


@pytest.mark.parametrize("figures", [results.GAS, results.HISTORY], ids=lambda path: path.stem)
def test_committed_figures_name_their_conditions(figures: Any) -> None:
    conditions = json.loads(results.conditions_of(figures).read_text())
    assert (conditions["hardfork"], conditions["evm_version"]) == ("Shanghai", "shanghai")
    assert {"system", "processor", "cores", "python"} == conditions["machine"].keys()


def test_contract_is_small_enough_to_be_deployed(registry: Any) -> None:
    assert len(registry.contract.provider.get_code(registry.address)) <= MAX_CODE_BYTES
