"""What the provers say, read strictly: a check that did not run has not passed.

Each reader takes a tool's own JSON and what it should have found. Exit codes are not enough: a
filter that matches nothing, a proof whose every path reverts and a loop that was cut short all end
with zero in one tool or another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HALMOS_ENDS = {
    1: "there is a counterexample",
    2: "the solver ran out of time",
    3: "halmos could not follow a path",
    4: "every path reverts, so that nothing was shown",
    5: "halmos failed",
}
UNITS_S = {"m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}


@dataclass(frozen=True)
class Result:
    """What came of one suite, and why it does not hold, if it does not."""

    what: str
    how: str
    count: str
    seconds: float
    trouble: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether all of it ran and none of it failed."""
        return not self.trouble

    @property
    def row(self) -> tuple[str, str, str, str, str]:
        """The result as a row of the table."""
        end = "holds" if self.holds else "FAILS"
        return (self.what, self.how, self.count, f"{self.seconds:.1f}", end)


def declared(folder: Path, prefix: str) -> dict[str, list[str]]:
    """Name the functions with a prefix in each contract of a folder, a contract a file.

    Keys are as forge and halmos name suites: ``tests/forge/x/Y.sol:Y``, from the parent of
    ``tests`` on.
    """
    root = folder.parents[2]
    suites = {}
    for file in sorted(folder.glob("*.sol")):
        names = re.findall(rf"function ({prefix}\w+)\(", file.read_text(encoding="utf-8"))
        if names:
            suites[f"{file.relative_to(root)}:{file.stem}"] = names
    return suites


def read_halmos(report: Mapping[str, Any], suites: Mapping[str, Iterable[str]]) -> list[Result]:
    """Judge halmos' ``--json-output`` by the checks that it should have made."""
    results = []
    for suite, names in suites.items():
        tests = {test["name"].split("(")[0]: test for test in report["test_results"].get(suite, [])}
        trouble = [f"{name}: {why}" for name in names if (why := _why_not_proved(tests.get(name)))]
        paths = sum(test["num_paths"][0] for test in tests.values() if test["num_paths"])
        seconds = sum(test["time"][0] for test in tests.values() if test["time"])
        count = f"{len(tests)} proofs, {paths:,} paths"
        results.append(Result(_contract(suite), "halmos", count, seconds, tuple(trouble)))
    return results


def _why_not_proved(test: Mapping[str, Any] | None) -> str:
    if test is None:
        return "it did not run"
    if test["exitcode"] != 0:
        return HALMOS_ENDS.get(test["exitcode"], f"halmos ended with {test['exitcode']}")
    _, succeeded, blocked = test["num_paths"]
    if succeeded == 0:
        return "no path came to its end, so that nothing was shown"
    if blocked or test["num_bounded_loops"]:
        return "some paths were cut short"
    return ""


def read_forge(report: Mapping[str, Any], suites: Mapping[str, Iterable[str]]) -> list[Result]:
    """Judge ``forge test --json`` by the invariants that it should have tried."""
    results = []
    for suite, names in suites.items():
        found = report.get(suite, {})
        tests = {name.split("(")[0]: test for name, test in found.get("test_results", {}).items()}
        kinds = [test["kind"].get("Invariant", {}) for test in tests.values()]
        runs = sum(kind.get("runs", 0) for kind in kinds)
        calls = sum(kind.get("calls", 0) for kind in kinds)
        trouble = [
            f"{name}: {why}" for name in names if (why := _why_not_invariant(tests.get(name)))
        ]
        seconds = _seconds(found.get("duration", ""))
        count = f"{runs} runs, {calls:,} calls"
        results.append(Result(_contract(suite), "forge", count, seconds, tuple(trouble)))
    return results


def _why_not_invariant(test: Mapping[str, Any] | None) -> str:
    if test is None:
        return "it did not run"
    if test["status"] != "Success":
        return str(test["reason"] or "it failed")
    kind = test["kind"].get("Invariant")
    if not kind or kind["calls"] == 0:
        return "nothing was called"
    return f"{kind['reverts']} calls reverted" if kind["reverts"] else ""


def read_slither(report: Mapping[str, Any], explained: Mapping[str, str], seconds: float) -> Result:
    """Judge slither's ``--json`` by the findings that are explained: no other, and no fewer."""
    if not report["success"]:
        return Result(
            "contracts/", "slither", "-", seconds, (f"slither failed: {report['error']}",)
        )
    found = {finding_name(one) for one in report["results"].get("detectors", [])}
    trouble = [f"{name}: it is not explained" for name in sorted(found - explained.keys())]
    trouble += [
        f"{name}: it is explained, and is not found any more"
        for name in sorted(explained.keys() - found)
    ]
    count = f"{len(found & explained.keys())} findings, explained"
    return Result("contracts/", "slither", count, seconds, tuple(trouble))


def finding_name(finding: Mapping[str, Any]) -> str:
    """Say what a finding is about, as in ``timestamp Judging.validateByQuorum``: lines move."""
    element = finding["elements"][0]
    names = []
    while element and element["type"] != "file":
        names.append(element["name"])
        element = element.get("type_specific_fields", {}).get("parent")
    return f"{finding['check']} {'.'.join(reversed(names))}"


def _contract(suite: str) -> str:
    return suite.rsplit(":", 1)[1]


def _seconds(duration: str) -> float:
    """Read a duration as forge writes it: ``1m 6s 255ms 620µs 902ns``."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(m|s|ms|µs|ns)\b", duration)
    return sum(float(value) * UNITS_S[unit] for value, unit in parts)
