"""What runs a training of the paper until it reaches its target: with provenance, or without."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Final, TypeAlias

from ml.chain import history
from ml.chain.policy import PRESETS
from ml.chain.types import CompletionReason
from ml.federated.local.running import Outcome
from ml.federated.plain import PlainTask, PlainTraining
from ml.federated.preparation import Divided
from ml.federated.replay import Outcome as Replay

from .alternating import all_cpu_seconds
from .whole_system import System, whole_system

Engine: TypeAlias = Callable[[Divided, PlainTask, int, int], dict[str, Any]]
"""Takes divided data, the task on it, the target in ppm and the most rounds. Gives ``reached``, the
round in which the target was, or None; ``curve``, the accuracy after each round in ppm; the
``seconds`` of wall time and ``cpu_seconds`` of all processes that the rounds took; and what else
there is to say."""


class Spent:
    """What has passed since it was made."""

    def __init__(self) -> None:
        """Begin."""
        self._wall, self._cpu = time.perf_counter(), all_cpu_seconds()

    def figures(self) -> dict[str, float]:
        """Seconds of wall time, and of processor time of all processes."""
        return {
            "seconds": round(time.perf_counter() - self._wall, 1),
            "cpu_seconds": round(all_cpu_seconds() - self._cpu, 1),
        }


def plain(_data: Divided, task: PlainTask, target_ppm: int, rounds: int) -> dict[str, Any]:
    """Rounds without provenance, which this process looks at and ends."""
    curve: list[int] = []
    spent = Spent()
    with PlainTraining(task) as training:
        while len(curve) < rounds and (not curve or curve[-1] < target_ppm):
            curve.append(training.advance(training.updates()).metrics.accuracy_ppm)
    reached = len(curve) if curve[-1] >= target_ppm else None
    return {"reached": reached, **spent.figures(), "curve": curve}


def whole(data: Divided, task: PlainTask, target_ppm: int, rounds: int) -> dict[str, Any]:
    """The whole system, until the contract completes the model: the preset and a target.

    Returns:
        Besides what any engine gives: the limits of the policy on chain that are not 0, the reason
        of completion on chain, the accuracy of the final report on the holdout in ppm, what
        `checked` finds, and the gas of all registrations and of all validations.
    """
    policy = replace(PRESETS["unlimited"], target_accuracy=target_ppm)
    with whole_system(data, task, policy=policy) as system:
        spent = Spent()
        outcome = system.train(rounds, lambda _news: None)
        figures = spent.figures()
        return {
            **_ended(outcome),
            **figures,
            "gas": _gas(system),
            **checked(system),
            "curve": [over.accuracy_ppm for over in outcome.rounds],
        }


def checked(system: System) -> dict[str, Any]:
    """Hold a training against itself.

    Returns:
        How many versions are on chain, how many of them chain and store alone give again bit for
        bit, in a sentence each what ``fsck`` objects to, and the seconds that both took.
    """
    spent = Spent()
    versions = system.replayed()
    replay_s = spent.figures()["seconds"]
    found = system.disagreements()
    return {
        "versions": len(versions),
        "replayed": sum(one.outcome is Replay.REPLAYED for one in versions),
        "fsck": [f"{one.what} in the {one.place}, {one.which}: {one.why}" for one in found],
        "replay_seconds": replay_s,
        "fsck_seconds": round(spent.figures()["seconds"] - replay_s, 1),
    }


def _ended(outcome: Outcome) -> dict[str, Any]:
    reason = outcome.model.state.completed
    is_reached = reason is CompletionReason.TARGET_REACHED
    return {
        "reached": outcome.model.state.iteration if is_reached else None,
        "completed": reason.name.lower(),
        "policy": {name: limit for name, limit in asdict(outcome.model.policy).items() if limit},
        "holdout": outcome.final.final_accuracy if outcome.final else None,
    }


def _gas(system: System) -> dict[str, int]:
    rows = history.read(system.registry, system.run.model).rows
    used = system.registry.gas_used
    return {
        "registrations": sum(used(row.registered.transaction for row in rows)),
        "validations": sum(used(row.validated.transaction for row in rows if row.validated)),
    }


ENGINES: Final[dict[str, Engine]] = {"whole": whole, "plain": plain}
COUNTS: Final = "whole"
"""The engine whose figures count."""
