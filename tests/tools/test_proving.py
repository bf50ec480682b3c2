"""How `make prove` reads what the provers say, and what docs/properties.md says of them.

That the contracts hold is for the run itself to show, which takes minutes.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tools.prove.__main__ import EXPLAINED, INVARIANTS, PROOFS
from tools.prove.reports import declared, finding_name, read_forge, read_halmos, read_slither

ROOT = Path(__file__).parents[2]
PROPERTIES = (ROOT / "docs/properties.md").read_text(encoding="utf-8")
PROOF = "tests/forge/halmos/P.sol:P"


def halmos_says(**changes: Any) -> dict[str, Any]:
    """A proof that went through, but for the changes."""
    proof = {
        "name": "check_it(uint256)",
        "exitcode": 0,
        "num_paths": [7, 4, 0],
        "time": [0.5, 0.4, 0.1],
        "num_bounded_loops": 0,
    }
    return {"exitcode": 0, "test_results": {PROOF: [proof | changes]}}


def test_proof_that_went_through_holds() -> None:
    (result,) = read_halmos(halmos_says(), {PROOF: ["check_it"]})
    assert result.holds
    assert result.row == ("P", "halmos", "1 proofs, 7 paths", "0.5", "holds")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exitcode": 1}, "there is a counterexample"),
        ({"exitcode": 2}, "the solver ran out of time"),
        ({"exitcode": 4, "num_paths": [3, 0, 0]}, "every path reverts"),
        ({"num_paths": [3, 0, 0]}, "nothing was shown"),
        ({"num_paths": [7, 4, 1]}, "cut short"),
        ({"num_bounded_loops": 1}, "cut short"),
        ({"name": "check_another()"}, "it did not run"),
    ],
)
def test_proof_that_shows_nothing_does_not_hold(changes: dict[str, Any], why: str) -> None:
    (result,) = read_halmos(halmos_says(**changes), {PROOF: ["check_it"]})
    assert not result.holds
    assert why in result.trouble[0]


def test_proofs_of_a_contract_that_was_not_built_do_not_hold() -> None:
    report = {"exitcode": 0, "test_results": {}}
    (result,) = read_halmos(report, {PROOF: ["check_it", "check_that"]})
    assert result.trouble == ("check_it: it did not run", "check_that: it did not run")


INVARIANTS_OF_A_COUNTER = """
// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

contract Counter {
    uint256 public count;
    function add() external { ++count; }
}

contract Limits {
    Counter private counter = new Counter();
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(counter);
    }
    function invariant_isAtMostTheCalls() external view {
        require(counter.count() <= 20, "more than were made");
    }
    function invariant_isAtMostTen() external view {
        require(counter.count() <= 10, "too many");
    }
}
"""
CONFIGURATION = f"""
[profile.default]
test = "tests/forge/invariants"
solc = "{ROOT}/tools/solc.js"
offline = true
[invariant]
runs = 1
depth = 20
shrink_run_limit = 0
"""


def test_invariant_that_forge_breaks_does_not_hold(tmp_path: Path) -> None:
    folder = tmp_path / "tests/forge/invariants"
    folder.mkdir(parents=True)
    (tmp_path / "foundry.toml").write_text(CONFIGURATION)
    (folder / "Limits.sol").write_text(INVARIANTS_OF_A_COUNTER)
    done = subprocess.run(
        [ROOT / ".venv/bin/forge", "test", "--json"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert done.returncode != 0
    (result,) = read_forge(json.loads(done.stdout), declared(folder, "invariant_"))
    assert result.what == "Limits"
    assert result.trouble == ("invariant_isAtMostTen: too many",)


def test_invariant_that_called_nothing_does_not_hold() -> None:
    suite = "tests/forge/invariants/I.sol:I"
    kind = {"Invariant": {"runs": 4, "calls": 0, "reverts": 0}}
    test = {"status": "Success", "reason": None, "kind": kind}
    report = {suite: {"duration": "1m 6s 255ms", "test_results": {"invariant_it()": test}}}
    (result,) = read_forge(report, {suite: ["invariant_it", "invariant_that"]})
    assert result.trouble == (
        "invariant_it: nothing was called",
        "invariant_that: it did not run",
    )
    assert result.seconds == pytest.approx(66.255)


FINDING = {
    "check": "assembly",
    "elements": [
        {
            "type": "function",
            "name": "hash",
            "type_specific_fields": {"parent": {"type": "contract", "name": "Tree"}},
        }
    ],
}


@pytest.mark.parametrize(
    ("explained", "trouble"),
    [
        ({"assembly Tree.hash": "why"}, ()),
        ({}, ("assembly Tree.hash: it is not explained",)),
        (
            {"assembly Tree.hash": "why", "timestamp Tree.now": "why"},
            ("timestamp Tree.now: it is explained, and is not found any more",),
        ),
    ],
)
def test_findings_hold_if_they_are_those_explained(
    explained: dict[str, str], trouble: tuple[str, ...]
) -> None:
    assert finding_name(FINDING) == "assembly Tree.hash"
    report = {"success": True, "error": None, "results": {"detectors": [FINDING]}}
    assert read_slither(report, explained, 1).trouble == trouble


def test_analysis_that_failed_does_not_hold() -> None:
    report = {"success": False, "error": "no build", "results": {}}
    assert read_slither(report, {}, 1).trouble == ("slither failed: no build",)


# What docs/properties.md names.


def test_every_proof_and_invariant_is_in_the_properties_and_none_that_is_not() -> None:
    suites = declared(PROOFS, "check_") | declared(INVARIANTS, "invariant_")
    there = {f"{suite.split(':')[1]}.{name}" for suite, names in suites.items() for name in names}
    named = set(re.findall(r"`(\w+\.(?:check|invariant)_\w+)`", PROPERTIES))
    assert named == there


def test_every_check_of_the_handlers_is_in_the_properties_and_none_that_is_not() -> None:
    there = {
        f"{file.stem}.{name}"
        for file in (ROOT / "tests/forge/handlers").glob("*.sol")
        for name in re.findall(r"function (\w+)\(", file.read_text(encoding="utf-8"))
    }
    named = set(re.findall(r"`(\w+Handler\.\w+)`", PROPERTIES))
    assert named <= there
    assert {one for one in there if re.search(r"\.check[A-Z]|Reverts$", one)} <= named


def test_every_test_that_the_properties_name_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PROPERTIES)
    assert named
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


def test_every_finding_of_slither_is_in_the_properties_with_its_reason() -> None:
    known = tomllib.loads(EXPLAINED.read_text(encoding="utf-8"))["known"]
    detectors = {one["finding"].split()[0] for one in known}
    assert set(re.findall(r"^\| `([a-z-]+)` ", PROPERTIES, re.MULTILINE)) == detectors
    assert all(len(one["why"]) > 10 for one in known)
