"""Mutate the contracts, and see whether a test notices: ``python -m benchmarks.mutation``.

Policy, roles, packing, commitments and signatures are mutated (``operators`` says how). Tests that
know a part best come first, then every contract test that measures no gas. A mutant that survives
is listed; `survivors.json` says why each of those is right to. A run that is stopped goes on where
it was, unless a contract or a test of theirs has changed.
"""

from __future__ import annotations

import argparse
import json
import queue
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tqdm import tqdm

from benchmarks.machine import describe
from benchmarks.mutation.operators import Mutant, mutants
from benchmarks.mutation.outcomes import Outcome, Outcomes
from benchmarks.mutation.workspace import (
    CONTRACTS,
    ROOT,
    CompilationFailed,
    Sources,
    Workspace,
    compile_contracts,
    sources,
)

REGISTRY: Final = {"ModelRegistry": f"{CONTRACTS}/ModelRegistry.sol"}
WORDS: Final = {"WordHarness": f"{CONTRACTS}/mocks/WordHarness.sol"}
JUDGEMENTS: Final = {"PolicyHarness": f"{CONTRACTS}/mocks/PolicyHarness.sol"}
FIRST: Final = {
    "types/ModelState.sol": (WORDS, "test_words.py"),
    "types/Policy.sol": (WORDS, "test_words.py"),
    "types/VersionRecord.sol": (WORDS, "test_words.py"),
    "libraries/StrictPolicy.sol": (JUDGEMENTS, "test_judgements.py"),
    "libraries/OpenPolicy.sol": (JUDGEMENTS, "test_judgements.py"),
    "libraries/Commitment.sol": (REGISTRY, "test_commitment.py"),
    "libraries/Signed.sol": (REGISTRY, "test_quorum.py"),
    "registry/ModelStore.sol": (REGISTRY, "test_roles.py"),
    "registry/Judging.sol": (REGISTRY, "test_validation.py"),
    "registry/EvidenceBook.sol": (REGISTRY, "test_evidence.py"),
    "registry/ClientRoll.sol": (REGISTRY, "test_clients.py"),
    "ModelRegistry.sol": (REGISTRY, "test_operations.py"),
}
"""What is mutated, and what is tried first: a test, on as little as has to be compiled for it."""
NOT_FOR_MUTANTS: Final = ("_gas", "_log_", "test_words", "test_judgements", "_entry_points")
"""Tests of other contracts, of gas, of harnesses, and the slow fuzz of extreme values."""
RESULTS: Final = ROOT / "benchmarks/results/mutation.json"
SURVIVORS: Final = Path(__file__).with_name("survivors.json")


@dataclass(frozen=True)
class Tried:
    """A mutant of a file, and what became of it."""

    file: str
    mutant: Mutant
    outcome: Outcome

    @property
    def end(self) -> str:
        """``killed``, ``survived``, or ``refused`` by the compiler."""
        return self.outcome.end

    @property
    def name(self) -> str:
        """File and change, which stay the same when lines move."""
        return f"{self.file}: {self.mutant}"


def every_test() -> list[str]:
    """The tests that a mutant of any contract has to survive."""
    every = sorted(path.name for path in (ROOT / "tests/contracts").glob("test_*.py"))
    return [name for name in every if not any(part in name for part in NOT_FOR_MUTANTS)]


def stages(file: str) -> Iterator[tuple[dict[str, str], list[str]]]:
    """What to compile and which tests to run on it, the quickest first."""
    contracts, test = FIRST[file]
    yield contracts, [test]
    yield REGISTRY, [name for name in every_test() if name != test]


def judge(code: Sources, file: str, mutant: Mutant, workspace: Workspace) -> Outcome:
    """Try one mutant."""
    path = f"{CONTRACTS}/{file}"
    mutated = {**code, path: mutant.apply(code[path])}
    for contracts, tests in stages(file):
        try:
            workspace.install(compile_contracts(mutated, contracts))
        except CompilationFailed:
            return Outcome("refused")
        if (test := workspace.failing_test(tests)) is not None:
            return Outcome("killed", test)
    return Outcome("survived")


def check_that_all_pass(code: Sources, workspace: Workspace) -> None:
    """A test that fails on the code as it is would kill every mutant."""
    harnesses = {test: contracts for contracts, test in FIRST.values() if contracts != REGISTRY}
    parts = [(contracts, [test]) for test, contracts in harnesses.items()]
    for contracts, tests in [*parts, (REGISTRY, every_test())]:
        workspace.install(compile_contracts(code, contracts))
        if (test := workspace.failing_test(tests)) is not None:
            sys.exit(f"mutation: {test} fails without a mutant.")


def run(chosen: list[tuple[str, Mutant]], code: Sources, jobs: int) -> list[Tried]:
    """Try the mutants that an earlier run did not, so many at once."""
    tests = (ROOT / "tests/contracts").glob("*.py")
    outcomes = Outcomes(code, tests)
    with ExitStack() as stack:
        workspaces = queue.Queue[Workspace]()
        for _ in range(jobs):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mutation-"))
            workspaces.put(stack.enter_context(Workspace(Path(folder))))
        first = workspaces.get()
        check_that_all_pass(code, first)
        workspaces.put(first)

        def tried(pair: tuple[str, Mutant]) -> Tried:
            file, mutant = pair
            key = f"{file}:{mutant.start}: {mutant}"
            if (known := outcomes.get(key)) is None:
                workspace = workspaces.get()
                try:
                    known = judge(code, file, mutant, workspace)
                finally:
                    workspaces.put(workspace)
                outcomes.add(key, known)
            return Tried(file, mutant, known)

        pool = stack.enter_context(ThreadPoolExecutor(jobs))
        done = pool.map(tried, chosen)
        return list(tqdm(done, total=len(chosen), unit="mutant", file=sys.stderr))


def report(outcomes: list[Tried], reasons: dict[str, str]) -> str:
    """A table by file, and the survivors with the reasons that are known."""
    lines = [f"{'file':32}{'mutants':>9}{'refused':>9}{'killed':>8}{'survived':>10}{'killed':>9}"]
    for file in [*dict.fromkeys(outcome.file for outcome in outcomes), "all"]:
        ends = Counter(outcome.end for outcome in outcomes if file in (outcome.file, "all"))
        tried = ends["killed"] + ends["survived"]
        share = f"{ends['killed'] / tried:.1%}" if tried else "-"
        lines.append(
            f"{file:32}{ends.total():>9}{ends['refused']:>9}{ends['killed']:>8}"
            f"{ends['survived']:>10}{share:>9}"
        )
    for outcome in outcomes:
        if outcome.end == "survived":
            lines.append(f"survived: {outcome.name} (line {outcome.mutant.line})")
            lines.append(f"  {reasons.get(outcome.name, 'not explained')}")
    return "\n".join(lines)


def summary(outcomes: list[Tried], every: int, reasons: dict[str, str]) -> dict[str, object]:
    """What is kept of a run."""
    ends = Counter(outcome.end for outcome in outcomes)
    return {
        "machine": describe(),
        "every": every,
        "ends": dict(ends),
        "killed_share": ends["killed"] / (ends["killed"] + ends["survived"]),
        "by_operator": {
            operator: Counter(o.end for o in outcomes if o.mutant.operator == operator)
            for operator in sorted({outcome.mutant.operator for outcome in outcomes})
        },
        "by_file": {
            file: Counter(o.end for o in outcomes if o.file == file)
            for file in dict.fromkeys(outcome.file for outcome in outcomes)
        },
        "survivors": {o.name: reasons.get(o.name, "") for o in outcomes if o.end == "survived"},
    }


def main() -> int:
    """Run, print, keep; the exit code is 1 if fewer than nine in ten are killed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutation", description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="try only each so-manieth mutant")
    parser.add_argument("--jobs", type=int, default=2, help="so many at once")
    parser.add_argument("--file", choices=FIRST, action="append", help="only this file's mutants")
    parser.add_argument("--list", action="store_true", help="list the mutants, try none")
    options = parser.parse_args()
    code = sources()
    found = [
        (file, mutant)
        for file in options.file or FIRST
        for mutant in mutants(code[f"{CONTRACTS}/{file}"])
    ]
    chosen = found[:: options.every]
    if options.list:
        print("\n".join(f"{file}:{mutant.line}: {mutant}" for file, mutant in chosen))
        return 0
    outcomes = run(chosen, code, options.jobs)
    reasons = json.loads(SURVIVORS.read_bytes())
    print(report(outcomes, reasons))
    if not options.file:
        RESULTS.write_text(json.dumps(summary(outcomes, options.every, reasons), indent=2) + "\n")
    killed = sum(outcome.end == "killed" for outcome in outcomes)
    survived = sum(outcome.end == "survived" for outcome in outcomes)
    return 0 if killed >= 9 * survived else 1


if __name__ == "__main__":
    sys.exit(main())
