"""Rounds to the accuracies of FedAvg's paper: ``python -m benchmarks.federated.paper [TRAINING]``.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", 2017
(arXiv 1602.05629), tables 2 and 4: MNIST, 100 clients of which ten take part in a round, batches of
ten, plain SGD at one learning rate. Measured on the paper's 10,000 test images; a holdout is cut
from the training data, so that a client has 590 samples here and 600 there. A training counts as
the median of its seeds. Ends with 1 if a target is missed. With trainings named, only these are
measured, and the others' figures stay.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeAlias

from benchmarks.gas.report import Sheet
from ml.federated.plain import PlainTask, PlainTraining
from ml.training.architectures import Architecture

from . import kept
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

Engine: TypeAlias = Callable[[PlainTask], Iterator[int]]
"""Runs a training for ever: the accuracy after each round, ppm."""


def plain(task: PlainTask) -> Iterator[int]:
    """Rounds without provenance."""
    with PlainTraining(task) as training:
        while True:
            yield training.advance(training.updates()).metrics.accuracy_ppm


ENGINES: Final[dict[str, Engine]] = {"plain": plain}


def results_of(engine: str) -> Path:
    """Where the figures of an engine are kept."""
    return kept.FOLDER / f"federated_paper_{engine}.json"


def measure(training: Training, seed: int, engine: Engine) -> dict[str, Any]:
    """Train until the target is reached, or it is given up.

    Returns:
        The learning rate, in which round the target was reached, the best accuracy in ppm, wall and
        CPU seconds in all, and the accuracy of each round.
    """
    data = divided(training.split, seed, whole_test=True)
    task = task_of(data, training.architecture, training.rate, seed, epochs=training.epochs)
    curve: list[int] = []
    reached = None
    begun, begun_cpu = time.perf_counter(), time.process_time()
    rounds = engine(task)
    while reached is None and len(curve) < GIVEN_UP_AFTER * training.rounds:
        curve.append(next(rounds))
        reached = len(curve) if curve[-1] >= training.target_ppm else None
    return {
        "rate": training.rate,
        "reached": reached,
        "best": max(curve),
        "seconds": round(time.perf_counter() - begun, 1),
        "cpu_seconds": round(time.process_time() - begun_cpu, 1),
        "curve": curve,
    }


def sheet(results: dict[str, Any]) -> Sheet:
    """A line for each training that was measured."""
    rows = []
    for name, training in TRAININGS.items():
        found = _reached(results, name)
        if found:
            each = ", ".join("–" if one is None else str(one) for one in found)
            rows.append(
                (
                    name,
                    percent(training.target_ppm),
                    f"{training.rate:g}",
                    each,
                    _text(_median(found)),
                    str(training.rounds),
                )
            )
    headings = ("training", "target, %", "learning rate", "rounds, by seed", "median", "paper")
    return Sheet("Rounds to a target", headings, rows)


def missed(results: dict[str, Any]) -> Iterator[str]:
    """What was not reached in as few rounds as in the paper."""
    for name, training in TRAININGS.items():
        found = _reached(results, name)
        took = _median(found) if found else 0.0
        if took > training.rounds:
            yield f"{name}: {_text(took)} rounds, and the paper takes {training.rounds}"


def _reached(results: dict[str, Any], name: str) -> list[int | None]:
    seeds = range(1, TRAININGS[name].seeds + 1)
    return [results[key]["reached"] for seed in seeds if (key := f"{name}; {seed}") in results]


def _median(reached: Sequence[int | None]) -> float:
    """Infinite where half of the seeds did not get there."""
    return median(float("inf") if one is None else one for one in reached)


def _text(rounds: float) -> str:
    return f"{rounds:g}" if rounds < float("inf") else "not reached"


def run(engine: str = "plain", names: Sequence[str] = ()) -> int:
    """Measure, keep and report; return the exit code."""
    path = results_of(engine)
    todo = [f"{n}; {seed}" for n in names or TRAININGS for seed in range(1, TRAININGS[n].seeds + 1)]
    before = kept.read(path) if names else {}

    def one(name: str) -> dict[str, Any]:
        training, _, seed = name.partition("; ")
        return measure(TRAININGS[training], int(seed), ENGINES[engine])

    results = kept.measure(path, {"engine": engine}, todo, one, others=before)
    show(f"paper {engine}", sheet(results))
    problems = list(missed(results))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.federated.paper")
    parser.add_argument("trainings", nargs="*", metavar="TRAINING", help="; ".join(TRAININGS))
    parser.add_argument("--engine", choices=ENGINES, default="plain")
    arguments = parser.parse_args()
    unknown = sorted({*arguments.trainings} - {*TRAININGS})
    if unknown:
        parser.error(f"there is no training {unknown[0]!r}; choose from {'; '.join(TRAININGS)}")
    sys.exit(run(arguments.engine, arguments.trainings))
