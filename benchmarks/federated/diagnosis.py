"""Whom the diagnosis of a spoiled round accuses: ``python -m benchmarks.federated.diagnosis``.

MNIST, the 2NN, IID and with two shards a client; ten clients that all take part in each round, or
ten drawn out of a hundred. A round starts from the best version of the rounds before it, as a round
under a policy does, early and late in training; nobody, one or two of its ten clients send poison.
Each round is judged by the preset ``thesis`` (would it be rolled back at once?) and diagnosed
whether or not it would be, by leave-one-out and by the thesis's way: whose update alone is worse
than the base by more than the tolerance is accused.

A diagnosis leaves the same clients out in the same order whatever its threshold; a higher one stops
earlier. So one diagnosis at the lowest threshold tells what each would have found.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import product, takewhile
from statistics import median
from typing import Any, Final

from benchmarks.gas.report import Sheet
from ml.chain.policy import PRESETS
from ml.federated import sampling
from ml.federated.aggregation import (
    ClientUpdate,
    NonFiniteUpdate,
    Weights,
    aggregate,
    check_update,
)
from ml.federated.client.local_training import round_seed, train_locally
from ml.federated.diagnosis import diagnose
from ml.federated.measuring import measure
from ml.federated.parts import Part
from ml.federated.plain import PlainTask, PlainTraining
from ml.federated.sampling import RoundKey

from . import kept
from .attacks import ATTACKS, with_stamp
from .measuring import Accuracy
from .report import points, show
from .settings import POPULATIONS, SPLITS, TWO_NN_RATES, populated

RESULTS: Final = kept.FOLDER / "federated_diagnosis.json"
SEEDS: Final = range(1, 11)
PLACES: Final = tuple(product(("all 10", "10 of 100"), SPLITS))
"""Populations, each with both splits."""
AFTER: Final = (3, 20)
"""After how many rounds the diagnosed rounds come."""
POISONERS: Final = (1, 2)
THRESHOLDS_PPM: Final = (2_000, 5_000, 10_000, 20_000, 50_000)
CLEAN: Final = "nobody"
_THESIS: Final = PRESETS["thesis"]


@dataclass(frozen=True, eq=False, slots=True)
class Stage:
    """A round that is to be diagnosed, before anybody spoils it."""

    task: PlainTask
    key: RoundKey
    base: Weights
    honest: tuple[ClientUpdate, ...]


def stages(task: PlainTask) -> Iterator[Stage]:
    """Train, and stop after some rounds: the next one starts from the best version so far."""
    with PlainTraining(task) as training:
        best, weights = -1, training.weights
        while training.iteration < max(AFTER):
            accuracy = training.advance(training.updates()).metrics.accuracy_ppm
            if accuracy > best:
                best, weights = accuracy, training.weights
            if training.iteration in AFTER:
                training.weights, now = weights, training.weights
                key = RoundKey(0, training.iteration + 1)
                yield Stage(task, key, weights, training.updates())
                training.weights = now


class Spoiler:
    """Puts poison into a round's updates, and trains no poisoner twice."""

    def __init__(self, stage: Stage) -> None:
        """Begin with the honest updates."""
        self._stage = stage
        self._trained: dict[tuple[str, int], ClientUpdate] = {}

    def updates(self, name: str, poisoners: Collection[int]) -> list[ClientUpdate]:
        """The round's updates, those of the poisoners by an attack."""
        return [
            self._poison(name, each) if each.client in poisoners else each
            for each in self._stage.honest
        ]

    def _poison(self, name: str, honest: ClientUpdate) -> ClientUpdate:
        attack, place = ATTACKS[name], (name, honest.client)
        if attack.data is None:
            trained = honest
        elif place in self._trained:
            trained = self._trained[place]
        else:
            trained = self._trained[place] = self._train(attack.data, honest.client)
        sent = attack.sent(self._stage.base, trained.weights)
        return ClientUpdate(honest.client, honest.samples, sent)

    def _train(self, altered: Callable[[Part], Part], client: int) -> ClientUpdate:
        task, key = self._stage.task, self._stage.key
        result = train_locally(
            task.architecture,
            task.local,
            self._stage.base,
            altered(task.clients[client]),
            seed=round_seed(task.seed, client, *key.values),
            iteration=key.iteration,
        )
        return ClientUpdate(client, result.samples, result.weights)


def examine(
    stage: Stage, spoiler: Spoiler, accuracy: Accuracy, name: str, count: int
) -> dict[str, Any]:
    """Spoil a round and diagnose it.

    Args:
        stage: the round
        spoiler: of the round
        accuracy: on the validation part
        name: of the attack
        count: how many attack

    Returns:
        Who was poisoning, who was refused before, how far the round fell below its base, who was
        left out in which order with which gain, who would be accused by the thesis's way, and how
        often a backdoor works; accuracies in ppm.
    """
    task = stage.task
    clients = [each.client for each in stage.honest]
    poisoners = sampling.ranking(task.seed, stage.key, clients)[:count]
    updates = spoiler.updates(name, poisoners)
    taken = [each for each in updates if _is_taken(stage.base, each)]

    found = diagnose(
        task.rule,
        stage.base,
        taken,
        accuracy,
        threshold_ppm=min(THRESHOLDS_PPM),
        active=len(task.clients),
        min_clients=1,
    )
    enough = found.baseline_ppm - _THESIS.tolerance
    case = {
        "clients": clients,
        "poisoners": poisoners,
        "refused": sorted({*clients} - {each.client for each in taken}),
        "base": found.baseline_ppm,
        "drop": found.baseline_ppm - found.together_ppm,
        "cleaned": found.cleaned_ppm,
        "left_out": [[one.client, one.gain_ppm] for one in found.culprits],
        "alone": [trial.client for trial in found.trials if trial.alone_ppm < enough],
    }
    if name == "backdoor":
        made = aggregate(task.rule, stage.base, taken).weights
        marked = with_stamp(task.validation)
        case["backdoor"] = measure(task.architecture, made, marked).accuracy_ppm
    return case


def _is_taken(base: Weights, update: ClientUpdate) -> bool:
    """Whether admission takes an update: it refuses those that are not finite."""
    try:
        check_update(base, update)
    except NonFiniteUpdate:
        return False
    return True


def examine_all(name: str) -> dict[str, dict[str, Any]]:
    """All cases of a population, split and seed, as in ``all 10, IID, seed 1``."""
    population, split, seed = name.split(", ")
    number = int(seed.removeprefix("seed "))
    task = populated(POPULATIONS[population], split, number)
    accuracy = Accuracy(task.architecture, task.validation)
    cases = {}
    for stage in stages(task):
        after = stage.key.iteration - 1
        spoiler = Spoiler(stage)
        cases[f"{after}, {CLEAN}"] = examine(stage, spoiler, accuracy, CLEAN, 0)
        for attack in ATTACKS:
            for count in POISONERS:
                cases[f"{after}, {count} × {attack}"] = examine(
                    stage, spoiler, accuracy, attack, count
                )
    return cases


# --- What it comes to -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tally:
    """How often poisoners were found and honest clients accused, over several rounds."""

    found: int
    poisoners: int
    accused: int
    honest: int

    def __str__(self) -> str:
        """Say both, as shares of those who could be."""
        found = f"{self.found}/{self.poisoners}" if self.poisoners else "–"
        return f"{found} · {self.accused}/{self.honest}"


def accused_at(case: dict[str, Any], threshold_ppm: int) -> list[int]:
    """Whom the diagnosis leaves out with a threshold."""
    return [client for client, _ in takewhile(lambda one: one[1] > threshold_ppm, case["left_out"])]


def tally(cases: Iterable[dict[str, Any]], threshold_ppm: int | None) -> Tally:
    """Add up rounds; None is the thesis's way. Who was refused before is neither."""
    found = poisoners = accused = honest = 0
    for case in cases:
        judged = {*case["clients"]} - {*case["refused"]}
        guilty = judged & {*case["poisoners"]}
        named = {*(case["alone"] if threshold_ppm is None else accused_at(case, threshold_ppm))}
        found += len(named & guilty)
        poisoners += len(guilty)
        accused += len(named - guilty)
        honest += len(judged - guilty)
    return Tally(found, poisoners, accused, honest)


def is_rolled_back(case: dict[str, Any]) -> bool:
    """Whether the preset ``thesis`` goes back at once."""
    return bool(case["drop"] > _THESIS.max_drop)


Rounds = dict[str, list[dict[str, Any]]]
"""Cases of all seeds, by stage and what was done."""


def by_kind(results: dict[str, Any]) -> dict[str, Rounds]:
    """The cases of all seeds together, by population and split."""
    kinds: dict[str, Rounds] = {", ".join(place): {} for place in PLACES}
    for name, cases in results.items():
        for kind, case in cases.items():
            kinds[name.rpartition(", ")[0]].setdefault(kind, []).append(case)
    return kinds


def _cells(cases: list[dict[str, Any]]) -> list[str]:
    return [str(tally(cases, threshold)) for threshold in (*THRESHOLDS_PPM, None)]


_HEADINGS: Final = (
    *(f"{threshold / 10_000:g}" for threshold in THRESHOLDS_PPM),
    "each alone",
)


def all_rounds(place: str, rounds: Rounds) -> Sheet:
    """A line for each stage and attack, over all seeds."""
    rows: list[tuple[str, ...]] = []
    for kind, cases in rounds.items():
        after, _, what = kind.partition(", ")
        if what == CLEAN:
            rows.append((f"After {after} rounds", *[""] * (len(_HEADINGS) + 2)))
        drop = points(-median(case["drop"] for case in cases))
        back = sum(map(is_rolled_back, cases))
        refused = sum(len(case["refused"]) for case in cases)
        cells = [f"refused {refused}/{refused}", *_cells(cases)[1:]] if refused else _cells(cases)
        rows.append((what, drop, f"{back}/{len(cases)}", *cells))
    headings = ("who sends poison", "accuracy", "rolled back", *_HEADINGS)
    return Sheet(f"{place}: found · accused, by the threshold in points", headings, rows)


def rolled_back(kinds: dict[str, Rounds]) -> Sheet:
    """Only the rounds that would be rolled back at once: what a diagnosis gets to see."""
    rows: list[tuple[str, ...]] = []
    for place, rounds in kinds.items():
        for after in AFTER:
            for clean in (True, False):
                cases = [
                    case
                    for kind, some in rounds.items()
                    for case in some
                    if kind.startswith(f"{after}, ") and kind.endswith(CLEAN) is clean
                ]
                back = [case for case in cases if is_rolled_back(case)]
                if back:
                    who = "clean" if clean else "poisoned"
                    name = f"{place}, after {after}, {who}"
                    rows.append((name, f"{len(back)}/{len(cases)}", *_cells(back)))
    headings = ("rounds", "rolled back", *_HEADINGS)
    return Sheet("Rolled back at once: found · accused", headings, rows)


def report(results: dict[str, Any]) -> None:
    """Print the tables and put them into the document."""
    kinds = by_kind(results)
    for place, rounds in kinds.items():
        show(f"diagnosis, {place}", all_rounds(place, rounds))
    show("diagnosis, after rollbacks", rolled_back(kinds))


def run() -> int:
    """Measure, keep and report; always 0, since no figure is a target."""
    names = [f"{', '.join(place)}, seed {seed}" for seed in SEEDS for place in PLACES]
    settings = {
        "after": AFTER,
        "thresholds_ppm": THRESHOLDS_PPM,
        "rates": TWO_NN_RATES,
    }
    report(kept.measure(RESULTS, settings, names, examine_all))
    return 0


if __name__ == "__main__":
    sys.exit(run())
