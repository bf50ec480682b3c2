"""Run the contract tests on every node: ``make conformance``.

Each node gets a chain of its own, each run of the tests a data folder of its own, so that nothing
of one reaches another. Several run side by side, as many as the machine has cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from ml.chain.anvil import NodeError

from .nodes import NODES

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 1_800
"""A node that hangs must not hang a build for ever; a run takes minutes."""
HEADINGS = ("node", "version", "passed", "failed", "skipped", "seconds")


@dataclass(frozen=True)
class Result:
    """What came of the tests on one node."""

    node: str
    version: str = "-"
    passed: int = 0
    failed: int = 0
    skipped: Sequence[str] = ()
    """A line for each: the test and why this node cannot run it."""
    seconds: float = 0
    trouble: str = ""
    """What the tests said of their failures, or why there was no node to run them on."""

    @property
    def conforms(self) -> bool:
        """Whether tests ran, and all of them passed but those that say why they were skipped."""
        return self.passed > 0 and self.failed == 0 and not self.trouble

    @property
    def row(self) -> tuple[str, ...]:
        """The result as a row of the table."""
        counts = (self.passed, self.failed, len(self.skipped))
        return (self.node, self.version, *map(str, counts), f"{self.seconds:.0f}")


def run_on(node: str) -> Result:
    """Start a node and run the tests on it."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        report = Path(folder, "report.xml")
        try:
            with NODES[node]() as running:
                done = subprocess.run(
                    command(running.network, report),
                    cwd=ROOT,
                    env={**os.environ, "APE_DATA_FOLDER": folder},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    timeout=TIMEOUT_S,
                    check=False,
                )
        except NodeError as error:
            return Result(node, trouble=f"there is no {node} to run the tests on: {error}")
        except subprocess.TimeoutExpired:
            return Result(node, running.version, trouble=f"not done after {TIMEOUT_S} s")
        seconds = time.monotonic() - begun
        trouble = done.stdout if done.returncode else ""
        if not report.exists():
            return Result(node, running.version, seconds=seconds, trouble=trouble)
        return Result(node, running.version, *counted(report), seconds, trouble)


def command(network: str, report: Path) -> list[str]:
    """The tests, with nothing shared between runs."""
    options = ["-p", "no:cacheprovider", "--junitxml", str(report), "-q"]
    return ["ape", "test", "tests/contracts", "-m", "conformance", "--network", network, *options]


def counted(report: Path) -> tuple[int, int, list[str]]:
    """How many tests passed and failed, and which were skipped and why, from a JUnit report."""
    passed, failed, skipped = 0, 0, []
    cases = ET.parse(report).getroot().iter("testcase")  # noqa: S314 -- pytest has just written it
    for case in cases:
        skip = case.find("skipped")
        if skip is not None:
            skipped.append(f"{case.get('name')}: {skip.get('message')}")
        elif case.find("failure") is None and case.find("error") is None:
            passed += 1
        else:
            failed += 1
    return passed, failed, skipped


def line(cells: Iterable[str]) -> str:
    """A line of the table."""
    node, version, *numbers = cells
    return f"{node:<8}  {version:<10}" + "".join(f"  {number:>7}" for number in numbers)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests on the nodes named, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.conformance", description="Run the contract tests on other EVM nodes."
    )
    parser.add_argument("nodes", nargs="*", metavar="NODE", help=f"{', '.join(NODES)}; all if none")
    nodes = parser.parse_args(arguments).nodes or list(NODES)
    if unknown := set(nodes) - set(NODES):
        parser.error(f"there is no node {min(unknown)}: choose from {', '.join(NODES)}")
    print(line(HEADINGS), flush=True)
    results = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as several:
        for result in several.map(run_on, nodes):
            print(line(result.row), flush=True)
            results.append(result)
    for result in results:
        for skip in result.skipped:
            print(f"{result.node} skips {skip}")
        if not result.conforms:
            print(f"\n{result.node} does not conform: {result.trouble or 'no test ran.'}")
    return 0 if all(result.conforms for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
