"""Results that are kept after each case, so that a benchmark of an hour can be stopped."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks import machine
from ml import files

FOLDER: Final = Path(__file__).parents[1] / "results"


def named(module: str, cases: Collection[str]) -> list[str]:
    """The cases that a command line names; ends with 2 where there is no such one."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="; ".join(cases))
    chosen: list[str] = parser.parse_args().cases
    if unknown := sorted({*chosen} - {*cases}):
        parser.error(f"there is no case {unknown[0]!r}; choose from {'; '.join(cases)}")
    return chosen


def conditions() -> dict[str, Any]:
    """What figures and times depend on."""
    return {
        **machine.describe(),
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def read(path: Path) -> dict[str, Any]:
    """The cases that a file of results has; none if there is no file."""
    return dict(json.loads(path.read_text())["cases"]) if path.exists() else {}


def write(path: Path, settings: dict[str, Any], cases: dict[str, Any], *, complete: bool) -> None:
    """Write results, a line for each case."""
    lines = [f"    {json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items()]
    head = json.dumps({"complete": complete, "settings": settings, "machine": conditions()})
    files.write_text(path, f'{head[:-1]},\n  "cases": {{\n' + ",\n".join(lines) + "\n  }\n}\n")


def measure(
    path: Path,
    settings: dict[str, Any],
    every: Iterable[str],
    one: Callable[[str], Any],
    chosen: Iterable[str] = (),
    stands: Callable[[str, Any], bool] = lambda _name, _case: True,
) -> dict[str, Any]:
    """Measure cases and keep each in a file at once.

    What there is of them, with the same settings, is gone on with; where all are there, they are
    measured anew. A file is complete if all of its cases are there, whichever run measured them.

    Args:
        path: the file
        settings: what all cases depend on
        every: the names of all cases that the file is to have
        one: measures the case of a name; what it returns is written as JSON
        chosen: names of those to measure, while the others stay in the file as they are; all if
            there are none
        stands: whether a case that was measured before is still what would be measured now

    Returns:
        All cases of the file: those that stay, then those to measure.
    """
    whole = list(every)
    todo = list(dict.fromkeys(chosen)) or whole
    before = json.loads(path.read_text()) if path.exists() else {"settings": None, "cases": {}}
    standing = {name: case for name, case in before["cases"].items() if stands(name, case)}
    stay = {n: case for n, case in standing.items() if n not in todo} if todo != whole else {}
    cases: dict[str, Any] = {}
    if before["settings"] == json.loads(json.dumps(settings)):
        cases = {name: standing[name] for name in todo if name in standing}
    if len(cases) == len(todo):
        cases = {}
    for name in todo:
        if name not in cases:
            print(f"{path.stem}: {name}", flush=True)
            cases[name] = one(name)
            together = {**stay, **cases}
            write(path, settings, together, complete={*whole} <= {*together})
    return read(path)
