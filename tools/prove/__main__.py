"""Prove what docs/properties.md says of the contracts: ``make prove``.

forge builds everything once. Then halmos proves, while forge tries the invariants and slither looks
at the sources, since a machine has two cores at the least.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .reports import Result, declared, read_forge, read_halmos, read_slither

ROOT = Path(__file__).parents[2]
EXPLAINED = Path(__file__).with_name("slither.toml")
PROVER = (str(ROOT / ".venv-prove/bin/python"), "-P", "-m")
"""Works where the folder was moved to, and imports nothing from it."""
PROOFS = ROOT / "tests/forge/halmos"
INVARIANTS = ROOT / "tests/forge/invariants"
OUTPUT = ROOT / ".forge"
LOGS = OUTPUT / "logs"
TIMEOUT_S = 1_200
"""A prover that hangs must not hang a build for ever; each takes a minute."""
SOLVER_TIMEOUT = "300s"
"""For one assertion, which takes a fraction of a second."""
HEADINGS = ("what", "by", "count", "seconds", "result")


class ToolError(Exception):
    """A tool gave no report."""


def main() -> int:
    """Print the table and return the exit code: 1 if anything fails, 2 if it could not be tried."""
    begun = time.monotonic()
    shutil.rmtree(OUTPUT / "failures", ignore_errors=True)  # forge would replay yesterday's
    LOGS.mkdir(parents=True, exist_ok=True)
    try:
        run("forge-build", ["forge", "build"])
        built = time.monotonic() - begun
        with ThreadPoolExecutor() as threads:
            proofs = threads.submit(prove)
            others = threads.submit(lambda: [*try_invariants(), analyse()])
            results = [*others.result(), *proofs.result()]
    except ToolError as error:
        print(f"prove: {error}", file=sys.stderr)
        return 2
    print_table([Result("everything", "forge build", "-", built), *results])
    for result in results:
        for line in result.trouble:
            print(f"{result.what}: {line}", file=sys.stderr)
    holds = all(result.holds for result in results)
    print(f"\n{'All of it holds' if holds else f'It does not hold; see {LOGS}'} ({spent(begun)}).")
    return 0 if holds else 1


def prove() -> list[Result]:
    """Let halmos prove every ``check_`` function, for all inputs.

    It begins with a build of its own, which finds everything built, and must not find a cache that
    ``forge test`` is about to write.
    """
    report = LOGS / "halmos.json"
    cache = OUTPUT / "halmos-cache"
    shutil.copytree(OUTPUT / "cache", cache, dirs_exist_ok=True)
    options = ["--forge-build-out", ".forge/out", "--no-status", "--json-output", str(report)]
    options += ["--panic-error-codes", "*", "--solver-timeout-assertion", SOLVER_TIMEOUT]
    command = [*PROVER, "halmos", *options]
    found = read("halmos", command, report, FOUNDRY_CACHE_PATH=str(cache))
    return read_halmos(found, declared(PROOFS, "check_"))


def try_invariants() -> list[Result]:
    """Let forge call the contracts in long random sequences."""
    report = LOGS / "forge-test.log"
    command = ["forge", "test", "--json", "--match-path", "tests/forge/invariants/*"]
    return read_forge(read("forge-test", command, report), declared(INVARIANTS, "invariant_"))


def analyse() -> Result:
    """Let slither look at the contracts, compiled without optimizer, and at nothing else."""
    begun = time.monotonic()
    report = LOGS / "slither.json"
    build = OUTPUT / "slither"
    shutil.rmtree(build, ignore_errors=True)  # slither reads every build it finds
    run("slither-build", ["forge", "build", "contracts", "--force"], FOUNDRY_PROFILE="slither")
    options = ["--ignore-compile", "--foundry-out-directory", str(build.relative_to(ROOT))]
    options += ["--filter-paths", "node_modules|contracts/mocks", "--json", str(report)]
    found = read("slither", [*PROVER, "slither", ".", *options], report, FOUNDRY_PROFILE="slither")
    explained = {
        one["finding"]: one["why"] for one in tomllib.loads(EXPLAINED.read_text())["known"]
    }
    return read_slither(found, explained, time.monotonic() - begun)


def read(name: str, command: list[str], report: Path, **variables: str) -> dict[str, Any]:
    """Run a tool and return the JSON it writes; whether it holds is in there.

    Raises ToolError if there is none.
    """
    report.unlink(missing_ok=True)
    run(name, command, must_succeed=False, **variables)
    try:
        found = json.loads(report.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ToolError(f"{name} gave no report{_tail(LOGS / f'{name}.log')}") from None
    if not isinstance(found, dict):
        raise ToolError(f"{name} gave a report of another form: see {report}.")
    return found


def run(name: str, command: list[str], *, must_succeed: bool = True, **variables: str) -> None:
    """Run a tool, its output going to a log of that name, what it says of itself to another.

    Raises ToolError if it is not there, hangs, or fails where it must not.
    """
    folders = (ROOT / ".venv/bin", ROOT / ".venv-prove/bin", os.environ.get("PATH", os.defpath))
    path = os.pathsep.join(map(str, folders))
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1", **variables}
    log = LOGS / f"{name}.log"
    try:
        with log.open("w") as out, log.with_suffix(".err").open("w") as err:
            done = subprocess.run(
                command,
                cwd=ROOT,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                timeout=TIMEOUT_S,
            )
    except FileNotFoundError as error:
        raise ToolError(f"{error.filename} is not there: run `make prove`.") from None
    except subprocess.TimeoutExpired:
        raise ToolError(f"{name} took more than {TIMEOUT_S} s.") from None
    if must_succeed and done.returncode != 0:
        raise ToolError(f"{' '.join(command)} failed{_tail(log)}{_tail(log.with_suffix('.err'))}")


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:]
    return "".join(f"\n    {line}" for line in ["", *lines])


def print_table(results: Iterable[Result]) -> None:
    """Print the results, a row each."""
    rows = [HEADINGS, *(result.row for result in results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[3] = row[3].rjust(widths[3])
        print("  ".join(cells).rstrip())


def spent(begun: float) -> str:
    """Say how long it took, and how much of a processor."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = usage.ru_utime + usage.ru_stime
    return f"{time.monotonic() - begun:.0f} s, {processor:.0f} s of one processor"


if __name__ == "__main__":
    sys.exit(main())
