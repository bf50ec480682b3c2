"""The thesis's research questions, in figures: ``python -m benchmarks.federated.questions``.

Latency from a client's update to its validation on chain, and its parts; what is stored of each
version and each update, over model sizes; whether every version is replayed from chain and store
alone; how long messages take; and the same history in MLflow's model registry on SQLite.
Rounds follow each other. docs/research-questions.md says what follows.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from statistics import median
from typing import Any, Final

from benchmarks.gas.report import Sheet
from ml.errors import NotVerified
from ml.federated.coordinator.journal import RunJournal
from ml.federated.coordinator.news import (
    News,
    RoundGivenUp,
    RoundOver,
    UpdateCame,
    VersionRegistered,
)
from ml.federated.replay import Outcome
from ml.federated.sampling import RoundKey
from ml.federated.transport import broker
from ml.federated.transport.child import Child
from ml.storage.cid import Cid
from tools.rabbitmq.install import InstallError
from tools.rabbitmq.server import RabbitServer

from . import kept, registries
from .answers import show
from .overhead import MODELS, RATE, SEED, parameters
from .settings import divided, task_of
from .whole_system import System, whole_system

RESULTS: Final = kept.FOLDER / "federated_questions.json"
ROUNDS: Final = {"logistic": 20, "dense": 20, "2NN": 20, "CNN": 3}
MESSAGES: Final = 200
MESSAGE_BYTES: Final = 2_000
TRAININGS: Final = tuple(f"training, {name}" for name in MODELS)
QUEUES: Final = "queues"
BASELINE: Final = "baseline"
CASES: Final = (QUEUES, BASELINE, *TRAININGS)


# --- A training -----------------------------------------------------------------------------------


class Clock:
    """Notes when updates came, and when the versions made of them were judged.

    Updates of the next round may come before a version is judged.
    """

    def __init__(self) -> None:
        """Nothing has come."""
        self._came: list[float] = []
        self._waiting: list[float] = []
        """When those came that the registered version is made of."""
        self.waits: list[tuple[float, ...]] = []
        self.rounds: list[RoundOver] = []
        self.gas: list[int] = []
        self.ended: list[float] = []

    def tell(self, news: News) -> None:
        """Take one piece of news."""
        match news:
            case UpdateCame():
                self._came.append(time.perf_counter())
            case VersionRegistered(gas_used=gas):
                self.gas.append(gas)
                self._waiting, self._came = self._came, []
            case RoundGivenUp():
                self._came.clear()
            case RoundOver():
                now = time.perf_counter()
                self.waits.append(tuple(now - came for came in self._waiting))
                self.rounds.append(news)
                self.ended.append(now)


def training(name: str) -> dict[str, Any]:
    """Train a model for some rounds, and look at what that took and left."""
    architecture = MODELS[name][0]
    data = divided("IID", SEED)
    task = task_of(data, architecture, RATE, SEED)
    clock = Clock()
    with whole_system(data, task) as system:
        system.train(ROUNDS[name], clock.tell)
        journal = RunJournal(system.folder.journal_path, system.run.digest)
        with closing(journal):
            figures = {
                "parameters": parameters(architecture),
                "latency": latency(clock, journal),
                "bytes": stored(system, journal),
                "gas_of_registration": round(median(clock.gas)),
            }
        return {
            **figures,
            "replayed": replayed(system),
            "load_average": round(os.getloadavg()[0], 1),
        }


def latency(clock: Clock, journal: RunJournal) -> dict[str, Any]:
    """Milliseconds from an update to its version's validation on chain, and of what is between.

    The first round does not count: processes start in it.
    """
    rounds = clock.rounds[1:]
    taken = [journal.taken(_key(over)) for over in rounds]
    storing = [one.storing_s for some in taken for one in some]
    last = [min(waits) for waits in clock.waits[1:]]
    every = [wait for waits in clock.waits[1:] for wait in waits]
    parts = {
        name: _ms(median(over.seconds.get(name, 0.0) for over in rounds))
        for name in ("aggregate", "store", "register", "validate")
    }
    span = clock.ended[-1] - clock.ended[0]
    return {
        "update_sent": _ms(median(storing)),
        "last_update_to_verdict": _ms(median(last)),
        "any_update_to_verdict": _ms(median(every)),
        "parts": parts,
        "updates_per_second": round(sum(map(len, taken)) / span, 1),
    }


def stored(system: System, journal: RunJournal) -> dict[str, Any]:
    """Bytes that a training leaves, of each kind: medians for one object, and for one round."""
    updates: list[int] = []
    versions: list[int] = []
    metadata: list[int] = []
    reports = journal.reports()
    for over in reports:
        key = _key(over)
        updates += [_size(system, one.cid) for one in journal.taken(key)]
        made = journal.made(key)
        if made is None:
            raise AssertionError("a reported round made nothing")
        version = _size(system, made.cid)
        versions.append(version)
        metadata.append(made.bytes_stored - version)
    sidecars = [path.stat().st_size for path in system.store.glob("*.json")]
    name = system.folder.journal_path.name
    journals = system.folder.root.glob(f"{name}*")
    return {
        "update": round(median(updates)),
        "version": round(median(versions)),
        "metadata_of_version": round(median(metadata)),
        "sidecar": round(median(sidecars)),
        "sidecars_per_round": round(sum(sidecars) / len(reports)),
        "journal_per_round": round(sum(each.stat().st_size for each in journals) / len(reports)),
        "updates_in_round": len(updates) // len(reports),
    }


def replayed(system: System) -> dict[str, Any]:
    """Make every version again from chain and store alone: how many, and whether one altered is."""

    def outcomes() -> list[Outcome]:
        return [one.outcome for one in system.replayed()]

    begun = time.perf_counter()
    found = outcomes()
    seconds = time.perf_counter() - begun
    return {
        "versions": len(found),
        "replayed": found.count(Outcome.REPLAYED),
        "ms_per_version": _ms(seconds / len(found)),
        "altered_object_noticed": _altered_is_noticed(system, outcomes),
    }


def _altered_is_noticed(system: System, outcomes: Callable[[], list[Outcome]]) -> bool:
    """Flip a bit in one stored version, and look whether replaying says so."""
    with closing(RunJournal(system.folder.journal_path, system.run.digest)) as journal:
        taken = journal.taken(_key(journal.reports()[0]))
    path = system.store / taken[0].cid
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    try:
        return outcomes()[0] is not Outcome.REPLAYED
    except NotVerified:
        return True


def _key(over: RoundOver) -> RoundKey:
    return RoundKey(over.epoch, over.iteration)


def _size(system: System, cid: str) -> int:
    return (system.store / str(Cid.parse(cid))).stat().st_size


# --- Messages -------------------------------------------------------------------------------------

_ECHO: Final = """
from ml.federated.transport import child
queues = child.to_parent()
while True:
    if delivery := queues.receive(["there"], 10.0):
        queues.publish("back", delivery.body)
        delivery.acknowledge()
"""


def queues() -> dict[str, Any]:
    """Milliseconds until a message that another process sends on is back."""
    found: dict[str, Any] = {"memory": there_and_back("memory://")}
    try:
        with RabbitServer() as server:
            found["rabbitmq"] = there_and_back(server.url)
    except InstallError as error:
        print(f"without RabbitMQ: {error}", file=sys.stderr)
    return found


def there_and_back(url: str) -> float:
    """The median for many messages, each sent when the one before is back."""
    child = Child(["-c", _ECHO], lambda: broker.connect(url))
    body = os.urandom(MESSAGE_BYTES)
    taken = []
    try:
        with closing(broker.connect(url)) as transport:
            for _ in range(MESSAGES):
                begun = time.perf_counter()
                transport.publish("there", body)
                delivery = transport.receive(["back"], 60.0)
                if delivery is None or delivery.body != body:
                    raise AssertionError("the message is not back")
                taken.append(time.perf_counter() - begun)
                delivery.acknowledge()
    finally:
        child.stop()
    return round(1000 * median(taken), 3)


# --- What it comes to -----------------------------------------------------------------------------


def measure(name: str) -> dict[str, Any]:
    """One case."""
    if name == QUEUES:
        return queues()
    return registries.measure() if name == BASELINE else training(name.removeprefix("training, "))


def sheets(results: dict[str, Any]) -> dict[str, Sheet]:
    """The tables, by their names in the document."""
    trained = {
        name: results[f"training, {name}"] for name in MODELS if f"training, {name}" in results
    }
    return {
        "latency": Sheet(
            "Milliseconds from an update to the verdict on chain",
            (
                "model",
                "update signed and stored",
                "last update to verdict",
                "aggregate",
                "store",
                "register",
                "validate",
                "updates a second",
            ),
            [
                (
                    name,
                    f"{case['latency']['update_sent']:.1f}",
                    f"{case['latency']['last_update_to_verdict']:.0f}",
                    *(f"{value:.1f}" for value in case["latency"]["parts"].values()),
                    f"{case['latency']['updates_per_second']:.1f}",
                )
                for name, case in trained.items()
            ],
        ),
        "storage": Sheet(
            "Bytes",
            (
                "model",
                "weights",
                "an update",
                "a version",
                "its metadata",
                "a sidecar",
                "journal, a round",
                "registration, gas",
            ),
            [
                (
                    name,
                    f"{4 * case['parameters']:,}",
                    f"{case['bytes']['update']:,}",
                    f"{case['bytes']['version']:,}",
                    f"{case['bytes']['metadata_of_version']:,}",
                    f"{case['bytes']['sidecar']:,}",
                    f"{case['bytes']['journal_per_round']:,}",
                    f"{case['gas_of_registration']:,}",
                )
                for name, case in trained.items()
            ],
        ),
        "completeness": Sheet(
            "Versions made again from chain and store alone",
            ("model", "versions", "replayed", "ms a version", "an altered object is noticed"),
            [
                (
                    name,
                    str(case["replayed"]["versions"]),
                    str(case["replayed"]["replayed"]),
                    f"{case['replayed']['ms_per_version']:.0f}",
                    "yes" if case["replayed"]["altered_object_noticed"] else "no",
                )
                for name, case in trained.items()
            ],
        ),
        "messages": Sheet(
            "There and back",
            ("queues", "ms"),
            [(name, f"{value:.2f}") for name, value in results[QUEUES].items()],
        ),
        BASELINE: registries.sheet(results[BASELINE]),
    }


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)


def run(chosen: Sequence[str] = ()) -> int:
    """Measure, keep and report; 1 if a version is not replayed, or nobody notices an alteration.

    With some cases named, the figures of the others stay.
    """
    settings = {"rounds": ROUNDS, "versions": registries.VERSIONS}
    results = kept.measure(RESULTS, settings, CASES, measure, chosen)
    for name, sheet in sheets(results).items():
        show("bench-questions", name, sheet)
    found = [results[name]["replayed"] for name in TRAININGS]
    is_whole = all(one["versions"] == one["replayed"] for one in found)
    return 0 if is_whole and all(one["altered_object_noticed"] for one in found) else 1


if __name__ == "__main__":
    sys.exit(run(kept.named("benchmarks.federated.questions", CASES)))
