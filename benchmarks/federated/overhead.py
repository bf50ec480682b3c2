"""What provenance costs a round: ``python -m benchmarks.federated.overhead [CASE]``.

The whole system and rounds without provenance take turns of a few rounds, on the same task with the
same number of processes, and make the same weights bit for bit, which is checked. MNIST, 100
clients of which ten take part in a round, batches of ten, one epoch. The figure is the median, over
the rounds, of what the n-th round of a turn with provenance takes longer than the n-th of the turn
without that comes next. What is done once does not count: a process that trains a client reads its
samples and checks their root, so the small models have many rounds before those that count.

Rounds follow each other on either side, so that the figure is the cost of provenance alone. The 2NN
and the CNN are measured with overlapping rounds besides, next to the same rounds without
provenance: what clients gain by training during the validation is in that figure. Ends with 1 if a
target is missed; targets are those of rounds that follow each other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from benchmarks.gas.report import Sheet
from ml.training.architectures import Architecture
from ml.training.recipes import find_recipe

from . import kept
from .alternating import beside_plain
from .answers import show
from .settings import CNN, MNIST, TWO_NN, divided, task_of

RESULTS: Final = kept.FOLDER / "federated_overhead.json"
MODELS: Final[dict[str, tuple[Architecture, int, int, int]]] = {
    "logistic": (find_recipe("mnist", "logistic").architecture, 30, 60, 5),
    "dense": (MNIST, 30, 60, 5),
    "2NN": (TWO_NN, 40, 60, 5),
    "CNN": (CNN, 16, 2, 2),
}
"""Networks, how many rounds count, how many come before them, and how many of a turn count."""
OVERLAPPING: Final = {f"{name}, overlapping": name for name in ("2NN", "CNN")}
"""Cases with overlapping rounds, and their models."""
CASES: Final = (*MODELS, *OVERLAPPING)
TWO_NN_MS: Final = 50.0
CNN_PERCENT: Final = 5.0
RATE: Final = 0.1
SEED: Final = 1


def parameters(architecture: Architecture) -> int:
    """How many a network has."""
    from ml.federated.version_files import seeded_weights

    return sum(each.size for each in seeded_weights(architecture, SEED).values())


def measure(name: str) -> dict[str, Any]:
    """One case."""
    overlaps = name in OVERLAPPING
    architecture, *counts = MODELS[OVERLAPPING.get(name, name)]
    data = divided("IID", SEED)
    task = task_of(data, architecture, RATE, SEED)
    return {
        "parameters": parameters(architecture),
        "overlaps": overlaps,
        **beside_plain(data, task, *counts, overlaps=overlaps),
        "load_average": round(os.getloadavg()[0], 1),
    }


def stands(name: str, case: dict[str, Any]) -> bool:
    """Whether a case is one that is measured now, with rounds that overlap as they do now."""
    return name in CASES and case.get("overlaps") == (name in OVERLAPPING)


def sheet(results: dict[str, Any]) -> Sheet:
    """A line for each case."""
    rows = [
        (
            name,
            f"{case['parameters']:,}",
            f"{case['without_ms']:,.0f}",
            f"{case['with_ms']:,.0f}",
            f"{case['more_ms']:+.0f} ({case['more_percent']:+.1f} %)".replace("-", "−"),
            f"{case['more_cpu_ms']:+.0f}".replace("-", "−"),
        )
        for name, case in results.items()
    ]
    headings = ("model", "parameters", "without, ms", "with, ms", "difference", "CPU, ms")
    return Sheet("A round without and with provenance", headings, rows)


def parts(results: dict[str, Any]) -> Sheet:
    """Where the time of a round goes."""
    names = ("clients", "aggregate", "store", "register", "validate", "rest")
    rows = [
        (name, *(f"{case['parts_ms'].get(part, 0):,.1f}" for part in names))
        for name, case in results.items()
    ]
    return Sheet("Parts of a round with provenance, ms", ("model", *names), rows)


def roles(results: dict[str, Any]) -> Sheet:
    """Which processes take the time."""
    names = ("clients", "coordinator", "validator", "node")
    rows = [
        (
            name,
            *(f"{case['cpu_ms_by_role'].get(role, 0):,.0f}" for role in names),
            f"{case['with_cpu_ms']:,.0f}",
            f"{case['without_cpu_ms']:,.0f}",
        )
        for name, case in results.items()
    ]
    headings = ("model", *names, "with, together", "without")
    return Sheet("CPU time of a round, ms", headings, rows)


def missed(results: dict[str, Any]) -> Iterator[str]:
    """The targets that are."""
    if "2NN" in results and results["2NN"]["more_ms"] > TWO_NN_MS:
        yield f"2NN: {results['2NN']['more_ms']} ms a round, and the target is {TWO_NN_MS:g}"
    if "CNN" in results and results["CNN"]["more_percent"] > CNN_PERCENT:
        yield f"CNN: {results['CNN']['more_percent']} %, and the target is {CNN_PERCENT:g}"


def run(chosen: Sequence[str] = ()) -> int:
    """Measure, keep and report; return the exit code."""
    results = kept.measure(RESULTS, {"seed": SEED}, CASES, measure, chosen, stands)
    ordered = {name: results[name] for name in CASES if name in results}
    show("bench-overhead", "overhead", sheet(ordered))
    show("bench-overhead", "overhead, parts", parts(ordered))
    show("bench-overhead", "overhead, processes", roles(ordered))
    problems = list(missed(ordered))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(run(kept.named("benchmarks.federated.overhead", CASES)))
