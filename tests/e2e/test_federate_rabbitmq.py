"""Trainings over RabbitMQ by TLS; coordinator, clients and validator are processes of their own.

One client is killed in the middle of a round and comes back, the broker restarts, one client
poisons the model; or the coordinator is killed again and again: the training ends well, and all of
it is on record.
"""

from __future__ import annotations

import itertools
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from ml.chain.types import Verdict
from tests.federated.transport.broker import running_broker
from tests.federated.transport.certificates import Authority, authority
from tools.rabbitmq.server import RabbitServer

from .background import Background, Program, background, wait_until
from .shell import ApeRun
from .undisturbed import weights_after

pytestmark = pytest.mark.slow

CLIENTS = 6
KILLED = 0
POISONER = 5
POISONED = 3
"""The round that is spoiled."""
ROUNDS = 5
FIRST = (20, 45, 80, 110, 150)
"""Steps after which a coordinator is killed first, when there is time."""
MODEL = "digits"
UNSAID = {"MODELPROOF_BROKER": "", "MODELPROOF_BROKER_CA": "", "MODELPROOF_STORE": ""}
"""What a coordinator that goes on is not told again."""

Run: TypeAlias = Callable[..., Any]


@pytest.fixture(scope="module")
def signer(home: Path) -> Authority:
    return authority(home / "authority")


@pytest.fixture(scope="module")
def rabbitmq(signer: Authority) -> Iterator[RabbitServer]:
    with running_broker(signer.sign_for()) as server:
        yield server


@pytest.fixture(scope="module")
def variables(rabbitmq: RabbitServer, signer: Authority, home: Path) -> dict[str, str]:
    """What all who take part have set."""
    return {
        "MODELPROOF_BROKER": rabbitmq.tls_url,
        "MODELPROOF_BROKER_CA": str(signer.file),
        "MODELPROOF_STORE": str(home / "objects"),
    }


@pytest.fixture(scope="module")
def programs(
    environment: dict[str, str], variables: dict[str, str], home: Path
) -> Iterator[Background]:
    with background({**environment, **variables}, home / "printed") as started:
        yield started


@pytest.fixture(scope="module")
def run(ape_run: ApeRun, variables: dict[str, str]) -> Run:
    """Run a command with --json; what it prints. The contracts are deployed."""

    def run(*arguments: str | Path, **more: str) -> Any:
        done = ape_run(*arguments, "--json", variables={**variables, **more})
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    run("deploy")
    return run


class Training:
    """One training whose clients all work in one process, and its coordinator in another."""

    def __init__(
        self, run: Run, programs: Background, folder: Path, name: str, *given: str
    ) -> None:
        self.programs = programs
        self.name = name
        self.folder = folder / name
        self.data = folder / f"{name}-data"
        run("prepare", "iris", "--num-clients", "3", "--output-dir", self.data)
        self.key = folder / f"{name}.key"
        public = run("keys", "generate", self.key)["public"]
        who = ("--workers", "0", "--validator", f"test:2={public}")
        self.begin: tuple[str | Path, ...] = (self.data, "--model", name, *given, *who)

    @property
    def run_file(self) -> Path:
        """It is there once the training has begun."""
        return self.folder / "run.json"

    def coordinate(self, *having: str) -> Program:
        """Begin, or go on."""
        is_begun = self.run_file.exists()
        how, variables = (("--resume",), UNSAID) if is_begun else (self.begin, None)
        always = ("federate", "--folder", self.folder, "--json")
        return self.programs.start(*always, *how, variables=variables, having=having)

    def work(self) -> list[Program]:
        """Start the clients and the validator."""
        configurations = sorted((self.data / "config").glob("client_*_config.json"))
        identities = ("--clients", self.folder / "clients")
        return [
            self.programs.start("worker", "run", self.run_file, *configurations, *identities),
            self.programs.start("validator", self.run_file, self.data, "--key", self.key),
        ]


class Site:
    """A machine of a client: its configuration, its samples, its keys, and no other file."""

    def __init__(self, folder: Path, prepared: Path, index: int) -> None:
        self.index = index
        self.identities = folder / f"site_{index}/clients"
        self.configuration = folder / f"site_{index}/config/client_{index}_config.json"
        for part in (f"config/client_{index}_config.json", f"train/client_{index}.safetensors"):
            path = folder / f"site_{index}" / part
            path.parent.mkdir(parents=True)
            shutil.copy(prepared / part, path)

    def make_card(self, run: Run, cards: Path) -> None:
        """What the operator gets of it."""
        given = ("--clients", self.identities, "--output", cards / f"client_{self.index}.json")
        run("worker", "card", self.configuration, *given)

    def work(self, programs: Background, run_file: Path, *having: str) -> Program:
        """Train for this client."""
        known = (run_file, self.configuration, "--clients", self.identities)
        return programs.start("worker", "run", *known, having=having)


def test_training_ends_well_through_a_kill_a_restart_and_a_poisoner(
    run: Run, programs: Background, rabbitmq: RabbitServer, home: Path
) -> None:
    data, folder, cards = home / "data", home / "run", home / "cards"
    run("prepare", "digits", "--num-clients", str(CLIENTS), "--output-dir", data)
    sites = [Site(home, data, index) for index in range(CLIENTS)]
    cards.mkdir()
    for site in sites:
        site.make_card(run, cards)
    validator = run("keys", "generate", home / "validator.key")

    who = ("--clients", cards, "--validator", f"test:2={validator['public']}")
    least = ("--min-updates", "3", "--min-clients", "3", "--deadline", "900")
    policy = ("--policy", "unlimited", "--limit", "max_drop=100000")
    end = ("--limit", f"max_iterations={ROUNDS}")
    blame = ("--exclude", "--threshold", "100000")
    coordinator = programs.start(
        *("federate", data, "--model", MODEL, "--folder", folder, "--json"),
        *(*who, *least, *policy, *end, *blame),
    )
    wait_until((folder / "run.json").exists, "the run was begun")
    marker = home / "training"
    having = {KILLED: ("holding", str(marker), "2"), POISONER: ("poisoning", str(POISONED))}
    workers = {
        site.index: site.work(programs, folder / "run.json", *having.get(site.index, ()))
        for site in sites
    }
    judge = programs.start("validator", folder / "run.json", data, "--key", home / "validator.key")

    wait_until(marker.exists, "a client was in the middle of round 2")
    rabbitmq.stop()
    rabbitmq.start()
    workers[KILLED].kill()
    workers[KILLED] = sites[KILLED].work(programs, folder / "run.json")

    told = json.loads(coordinator.succeed())
    for program in (*workers.values(), judge):
        assert "is over" in program.succeed()

    everybody, honest = list(range(CLIENTS)), [i for i in range(CLIENTS) if i != POISONER]
    rounds = told["rounds"]
    assert [one["clients"] for one in rounds] == [everybody] * POISONED + [honest] * 2
    assert [one["iteration"] for one in rounds if Verdict(one["verdict"]).fails] == [POISONED]
    assert told["final"]["metadata"]["completion_reason"] == "Maximum iterations reached"
    assert told["state"]["rollbacks"] == 1
    assert "silent" not in coordinator.errors.read_text()

    standing = run("clients", "list", MODEL)
    assert [one["client"] for one in standing if not one["active"]] == [POISONER]
    assert f"v{POISONED}" in standing[POISONER]["reason"]

    key = {"ENCRYPTION_KEY_FILE": str(folder / "coordinator.key")}
    for version in range(1, ROUNDS + 1):
        artifacts = ("--artifacts", home / "artifacts")
        file = run("fetch", MODEL, str(version), *artifacts, **key)["file"]
        good = "any" if version == POISONED else "passed"
        named = ("--model", MODEL, "--version", str(version), "--require", good)
        assert run("verify", file, *named, *artifacts)["verified"]
    replayed = run("replay", MODEL, **key)["versions"]
    assert [one["outcome"] for one in replayed] == ["replayed"] * ROUNDS
    assert run("fsck", "--store", home / "objects")["disagreements"] == []


@pytest.mark.parametrize("first", [60, *(pytest.param(n, marks=pytest.mark.long) for n in FIRST)])
def test_coordinator_killed_again_and_again_ends_where_an_undisturbed_training_does(
    run: Run, programs: Background, home: Path, first: int
) -> None:
    """By ``kill -9``, after twice as many steps each time; a step is what `Fuse` counts."""
    end = ("--policy", "unlimited", "--limit", "max_iterations=3")
    training = Training(run, programs, home, f"iris-{first}", "--architecture", "logistic", *end)
    others: list[Program] = []
    for life in itertools.count():
        coordinator = training.coordinate("dying", str(first << life))
        if not others:
            coordinator.goes_on_until(training.run_file.exists)
            others = training.work() if training.run_file.exists() else []
        if coordinator.end() != -signal.SIGKILL:
            break
    assert life > 1
    told = json.loads(coordinator.succeed())
    for program in others:
        assert "is over" in program.succeed()

    assert [one["version"] for one in told["rounds"]] == [1, 2, 3]
    registered = run("history", training.name)["versions"]
    assert [one["version"] for one in registered] == [1, 2, 3]
    assert registered[-1]["weights"] == weights_after(training.run_file, training.data, 3)
    run("store", "gc", "--older-than", "0", "--delete")  # what was stored right before a kill
    key = {"ENCRYPTION_KEY_FILE": str(training.folder / "coordinator.key")}
    replayed = run("replay", training.name, **key)["versions"]
    assert [one["outcome"] for one in replayed] == ["replayed"] * 3
    assert run("fsck", "--store", home / "objects")["disagreements"] == []


def test_privacy_that_was_spent_is_on_record_with_each_version(
    run: Run, programs: Background, home: Path
) -> None:
    end = ("--policy", "unlimited", "--limit", "max_iterations=2")
    noise = ("--architecture", "logistic", "--dp-noise", "2", "--dp-delta", "0.001")
    training = Training(run, programs, home, "iris-private", *noise, *end)
    coordinator = training.coordinate()
    wait_until(training.run_file.exists, "the run was begun")
    others = training.work()
    coordinator.succeed()
    for program in others:
        program.succeed()
    stated = [json.loads(one["metadata"]) for one in run("history", training.name)["versions"]]
    first, second = (one["epsilon"] for one in stated)
    assert 0 < first < second
