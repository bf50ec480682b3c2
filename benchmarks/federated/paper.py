"""Rounds to the accuracies of FedAvg's paper: ``python -m benchmarks.federated.paper [TRAINING]``.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", 2017
(arXiv 1602.05629), tables 2 and 4: MNIST, 100 clients of which ten take part in a round, batches of
ten, plain SGD at one learning rate. Measured on the paper's 10,000 test images; a holdout is cut
from the training data, so that a client has 590 samples here and 600 there. A training counts as
the median of its seeds.

The whole system runs it, under the policy `unlimited` with the target as its target accuracy: the
contract ends it. Afterwards every version is made again from chain and store, and ``fsck`` looks at
all of it. ``--engine plain`` runs rounds without provenance, which make the same accuracies.

Ends with 1 if a target is missed, if one of the checks fails, or if the accuracies are not those
without provenance, where both are at hand. With trainings named, only these are measured, and the
others' figures stay.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.gas.report import Sheet
from ml.training.architectures import Architecture

from . import kept
from .engines import COUNTS, ENGINES, Engine
from .report import percent, show
from .settings import CNN, TWO_NN, TWO_NN_RATES, divided, task_of


@dataclass(frozen=True, slots=True)
class Training:
    """What the paper has a figure for."""

    architecture: Architecture
    split: str
    epochs: int
    rate: float
    target_ppm: int
    rounds: int
    """In which the paper reaches the target."""
    seeds: int = 3


TRAININGS: Final = {
    "2NN, IID": Training(TWO_NN, "IID", 1, TWO_NN_RATES["IID"], 970_000, 87),
    "2NN, two-shard": Training(TWO_NN, "two-shard", 1, TWO_NN_RATES["two-shard"], 970_000, 664),
    "CNN, IID": Training(CNN, "IID", 1, 0.1, 990_000, 34),
    "CNN, IID, E=5": Training(CNN, "IID", 5, 0.1, 990_000, 20),
}
GIVEN_UP_AFTER: Final = 1.5
"""Times as many rounds as the paper's."""
GAS: Final = ("registrations", "validations")


def results_of(engine: str) -> Path:
    """Where the figures of an engine are kept."""
    return kept.FOLDER / f"federated_paper_{engine}.json"


def measure(training: Training, seed: int, engine: Engine) -> dict[str, Any]:
    """Train until the target is reached, or it is given up.

    Returns:
        The learning rate, the target in ppm, on how many samples accuracies are measured, what the
        engine gives, the best accuracy in ppm, and the load average at the end.
    """
    data = divided(training.split, seed, whole_test=True)
    task = task_of(data, training.architecture, training.rate, seed, epochs=training.epochs)
    figures = engine(data, task, training.target_ppm, math.ceil(GIVEN_UP_AFTER * training.rounds))
    return {
        "rate": training.rate,
        "target": training.target_ppm,
        "samples": {"validation": len(data.validation), "holdout": len(data.holdout)},
        "best": max(figures["curve"]),
        "load_average": round(os.getloadavg()[0], 1),
        **figures,
    }


def stands(name: str, case: dict[str, Any]) -> bool:
    """Whether a case is of a training as it is now, and not at another learning rate."""
    training = TRAININGS.get(name.partition("; ")[0])
    return training is not None and case["rate"] == training.rate


def read(engine: str) -> dict[str, Any]:
    """What was measured with an engine, of trainings as they are now."""
    return {name: c for name, c in kept.read(results_of(engine)).items() if stands(name, c)}


# --- Tables ---------------------------------------------------------------------------------------


def sheet(whole: dict[str, Any], plain: dict[str, Any]) -> Sheet:
    """A line for each training that was measured, with provenance if it was measured with it."""
    rows = []
    for name, training in TRAININGS.items():
        results = whole if _reached(whole, name) else plain
        found = _reached(results, name)
        if not found:
            continue
        seeds = "" if len(found) == training.seeds else f" ({len(found)} of {training.seeds} seeds)"
        rows.append(
            (
                name,
                "full" if results is whole else "none",
                percent(training.target_ppm),
                f"{training.rate:g}",
                ", ".join("–" if one is None else str(one) for one in found),
                _text(_median(found)) + seeds,
                str(training.rounds),
            )
        )
    headings = (
        "training", "provenance", "target, %", "learning rate", "rounds, by seed", "median",
        "paper",
    )  # fmt: skip
    return Sheet("Rounds to a target", headings, rows, texts=(0, 1))


def provenance(whole: dict[str, Any]) -> Sheet:
    """What is on record of each training with provenance, and what its checks found."""
    rows = [
        (
            name.replace("; ", ", seed "),
            "given up" if case["completed"] == "none" else case["completed"].replace("_", " "),
            str(case["versions"]),
            str(case["replayed"]),
            str(len(case["fsck"])),
            percent(case["curve"][-1]),
            "–" if case["holdout"] is None else percent(case["holdout"]),
            *(f"{case['gas'][kind] / case['versions']:,.0f}" for kind in GAS),
            f"{case['seconds']:,.0f}",
            f"{case['cpu_seconds']:,.0f}",
            f"{case['load_average']:g}",
        )
        for name, case in _in_order(whole)
    ]
    headings = (
        "training", "ended by", "versions", "replayed", "fsck objects", "accuracy, %", "holdout, %",
        "gas to register", "to validate", "seconds", "CPU seconds", "load",
    )  # fmt: skip
    return Sheet("With full provenance", headings, rows, texts=(0, 1))


def report() -> None:
    """Show what was measured."""
    whole = read("whole")
    show("paper", sheet(whole, read("plain")))
    show("paper, provenance", provenance(whole))


# --- What is not as it should be ------------------------------------------------------------------


def missed(results: dict[str, Any]) -> Iterator[str]:
    """What was not reached in as few rounds as in the paper."""
    for name, training in TRAININGS.items():
        found = _reached(results, name)
        took = _median(found) if found else 0.0
        if took > training.rounds:
            yield f"{name}: {_text(took)}, and the paper takes {training.rounds} rounds"


def unsound(whole: dict[str, Any]) -> Iterator[str]:
    """What the checks of trainings with provenance found."""
    for name, case in _in_order(whole):
        if case["versions"] != len(case["curve"]):
            yield f"{name}: {len(case['curve'])} rounds, and {case['versions']} versions on chain"
        if case["replayed"] != case["versions"]:
            yield f"{name}: {case['replayed']} of {case['versions']} versions were replayed"
        yield from (f"{name}: fsck objects: {one}" for one in case["fsck"])


def unlike(whole: dict[str, Any], plain: dict[str, Any]) -> Iterator[str]:
    """Where accuracies with provenance are not those without, of the same training and seed."""
    for name, case in _in_order(whole):
        if name in plain and case["curve"] != (other := plain[name]["curve"]):
            pairs = zip(case["curve"], other, strict=False)
            first = next((n for n, (a, b) in enumerate(pairs, 1) if a != b), None)
            where = f"differ from round {first} on" if first else "are of other numbers of rounds"
            yield f"{name}: accuracies with and without provenance {where}"


def _in_order(results: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, results[name]) for name in names_of(TRAININGS) if name in results)


def _reached(results: dict[str, Any], name: str) -> list[int | None]:
    return [results[key]["reached"] for key in names_of([name]) if key in results]


def _median(reached: Sequence[int | None]) -> float:
    """Infinite where half of the seeds did not get there."""
    return median(float("inf") if one is None else one for one in reached)


def _text(rounds: float) -> str:
    return f"{rounds:g}" if rounds < float("inf") else "not reached"


def names_of(trainings: Iterable[str]) -> list[str]:
    """The cases of trainings, one for each seed."""
    return [f"{name}; {seed}" for name in trainings for seed in range(1, TRAININGS[name].seeds + 1)]


def run(engine: str = COUNTS, names: Sequence[str] = ()) -> int:
    """Measure, keep and report; return the exit code."""

    def one(name: str) -> dict[str, Any]:
        training, _, seed = name.partition("; ")
        return measure(TRAININGS[training], int(seed), ENGINES[engine])

    path = results_of(engine)
    kept.measure(path, {"engine": engine}, names_of(TRAININGS), one, names_of(names), stands)
    report()
    results = read(engine)
    problems = list(missed(results))
    if engine == "whole":
        problems += [*unsound(results), *unlike(results, read("plain"))]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.federated.paper")
    parser.add_argument("trainings", nargs="*", metavar="TRAINING", help="; ".join(TRAININGS))
    parser.add_argument("--engine", choices=ENGINES, default=COUNTS)
    arguments = parser.parse_args()
    unknown = sorted({*arguments.trainings} - {*TRAININGS})
    if unknown:
        parser.error(f"there is no training {unknown[0]!r}; choose from {'; '.join(TRAININGS)}")
    sys.exit(run(arguments.engine, arguments.trainings))
