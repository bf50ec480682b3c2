"""How honest trainings end under the preset ``thesis``: ``python -m benchmarks.federated.thesis``.

MNIST, IID, the 2NN, nobody sends poison. The policy is the one in Python (`ml.chain.line`), which
predicts the contract's; a rollback takes training back to the best version as the coordinator does,
and each is diagnosed. Beside the preset stand two that differ in one limit. Whom a diagnosis names
is counted, and takes part in the next round all the same.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from benchmarks.gas.report import Sheet
from ml.chain import line
from ml.chain.line import Line
from ml.chain.policy import PRESETS
from ml.chain.types import CompletionReason, Policy, Verdict
from ml.federated.aggregation import Weights
from ml.federated.diagnosis import Culprit, diagnose
from ml.federated.plain import PlainRound, PlainTask, PlainTraining
from ml.federated.run_configuration import DiagnosisSettings

from . import kept
from .measuring import Accuracy
from .report import percent, points, show
from .settings import POPULATIONS, TWO_NN_RATES, populated

RESULTS: Final = kept.FOLDER / "federated_thesis.json"
SEEDS: Final = range(1, 6)
SPLIT: Final = "IID"
THRESHOLD_PPM: Final = DiagnosisSettings().threshold_ppm
_THESIS: Final = PRESETS["thesis"]
POLICIES: Final = {
    "thesis": _THESIS,
    "thesis, patience off": replace(_THESIS, patience=0),
    "thesis, no limit of rollbacks": replace(_THESIS, max_rollbacks=0),
}


def train(task: PlainTask, policy: Policy) -> dict[str, Any]:
    """Train until the policy completes it.

    Returns:
        Why it ended, after how many validations, the best accuracy and when it was reached,
        verdicts by their names, how many rounds were diagnosed and with which greatest gain, and
        who was named.
    """
    accuracy = Accuracy(task.architecture, task.validation)
    verdicts: Counter[str] = Counter()
    gains: list[int] = []
    named: list[list[int]] = []
    reached = 0
    ongoing = line.create(policy)
    with PlainTraining(task) as training:
        best = training.weights
        rounds: list[PlainRound] = []
        while not ongoing.state.completed:
            made = training.advance(training.updates())
            rounds.append(made)
            ongoing, verdict = judged(ongoing, made.metrics.accuracy_ppm)
            verdicts[verdict.name] += 1
            if verdict in (Verdict.FIRST_BEST, Verdict.NEW_BEST):
                best, rounds, reached = training.weights, [], ongoing.state.iteration
            if verdict.fails:
                for one in rounds if verdict is Verdict.PATIENCE_EXHAUSTED else [made]:
                    culprits, gain = diagnosed(task, one, accuracy)
                    named += [[culprit.client, culprit.gain_ppm] for culprit in culprits]
                    gains.append(gain)
                training.weights, rounds = best, []
    state = ongoing.state
    return {
        "ended": CompletionReason(state.completed).name,
        "iterations": state.iteration,
        "best": state.best_accuracy,
        "best_at": reached,
        "rollbacks": state.rollbacks,
        "verdicts": dict(verdicts),
        "diagnosed": len(gains),
        "greatest_gain": max(gains, default=0),
        "named": named,
    }


def judged(ongoing: Line, accuracy_ppm: int) -> tuple[Line, Verdict]:
    """Register the next version and have it judged."""
    state, version = ongoing.state, ongoing.state.latest + 1
    ongoing = line.register(ongoing, version, state.current, state.iteration + 1, state.epoch)
    ongoing, judgement = line.validate(ongoing, version, accuracy_ppm)
    return ongoing, judgement.verdict


def diagnosed(
    task: PlainTask, made: PlainRound, accuracy: Callable[[Weights], int]
) -> tuple[tuple[Culprit, ...], int]:
    """Whom the diagnosis of a round names, and the greatest gain from leaving one client out."""
    found = diagnose(
        task.rule,
        made.base,
        made.updates,
        accuracy,
        threshold_ppm=THRESHOLD_PPM,
        active=len(task.clients),
        min_clients=1,
        state=made.state,
    )
    return found.culprits, max(one.without_ppm for one in found.trials) - found.together_ppm


def measure(name: str) -> dict[str, Any]:
    """One case, as ``all 10; thesis; 1``."""
    population, policy, seed = name.split("; ")
    task = populated(POPULATIONS[population], SPLIT, int(seed))
    return train(task, POLICIES[policy])


def sheet(results: dict[str, Any]) -> Sheet:
    """A line for each training."""
    rows = []
    for name, case in results.items():
        population, policy, seed = name.split("; ")
        if int(seed) == SEEDS[0]:
            rows.append((f"{population} clients, {policy}", *[""] * 7))
        named = f"{len(case['named'])} in {case['diagnosed']}"
        rows.append(
            (
                f"seed {seed}",
                case["ended"].lower().replace("_", " "),
                str(case["iterations"]),
                percent(case["best"]),
                str(case["best_at"]),
                str(case["rollbacks"]),
                named,
                points(case["greatest_gain"]) if case["diagnosed"] else "–",
            )
        )
    headings = (
        "training", "ended by", "rounds", "best, %", "in round", "rollbacks", "named in rounds",
        "greatest gain",
    )  # fmt: skip
    return Sheet("Nobody sends poison", headings, rows, texts=(0, 1))


def run() -> int:
    """Measure, keep and report; always 0, since no figure is a target."""
    names = [
        f"{population}; {policy}; {seed}"
        for population in POPULATIONS
        for policy in POLICIES
        for seed in SEEDS
    ]
    settings = {"threshold_ppm": THRESHOLD_PPM, "rate": TWO_NN_RATES[SPLIT]}
    show("thesis", sheet(kept.measure(RESULTS, settings, names, measure)))
    return 0


if __name__ == "__main__":
    sys.exit(run())
