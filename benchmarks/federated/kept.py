"""Results that are kept after each case, so that a benchmark of an hour can be stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch

from benchmarks import machine
from ml import files

FOLDER: Final = Path(__file__).parents[1] / "results"


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
    names: Iterable[str],
    one: Callable[[str], Any],
    others: Mapping[str, Any] = MappingProxyType({}),
    stands: Callable[[str, Any], bool] = lambda _name, _case: True,
) -> dict[str, Any]:
    """Measure cases and keep each in a file at once.

    What a stopped run with the same settings has left is gone on with; a complete file is measured
    anew.

    Args:
        path: the file
        settings: what all cases depend on
        names: of the cases
        one: measures the case of a name; what it returns is written as JSON
        others: cases measured before that stay in the file
        stands: whether a case that was measured before is still what would be measured now

    Returns:
        All cases: the others, then those measured in the order of their names.
    """
    todo = list(names)
    cases: dict[str, Any] = {}
    if path.exists():
        before = json.loads(path.read_text())
        if not before["complete"] and before["settings"] == json.loads(json.dumps(settings)):
            cases = {n: c for n, c in before["cases"].items() if n in todo and stands(n, c)}
    for name in todo:
        if name not in cases:
            print(f"{path.stem}: {name}", flush=True)
            cases[name] = one(name)
            still = {n: c for n, c in others.items() if n not in todo and stands(n, c)}
            together = {**still, **cases}
            write(path, settings, together, complete=len(cases) == len(todo))
    return read(path)
