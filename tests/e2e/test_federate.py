"""`ape run federate` on one machine, as it is typed: stopped, killed, resumed, steered by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from ml.chain.types import CompletionReason
from ml.federated import prepared, run_configuration
from ml.federated.configuration import SERVICE_PATH, client_configuration_path
from ml.federated.parts import Part
from ml.federated.run_folder import RunFolder
from ml.training.samples import sample_contents
from tests.federated.runs import many_clients

from .background import Background, Program, background, wait_until
from .shell import ApeRun
from .undisturbed import weights_after

pytestmark = pytest.mark.slow

CLIENTS = 3
MODEL = "digits"
CLEAR = "amqp://me:s3cret@broker/"
"""A broker on another machine, without TLS."""
BACK = "Back at v1 (a bad feeling)"
AUDIT = """
import json, os, sys

BELOW, LOG = os.environ["AUDITED"], os.environ["AUDIT_LOG"]
written = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

def look(event, arguments):
    if event == "open" and isinstance(arguments[0], str | os.PathLike):
        path = os.path.realpath(arguments[0])
        if path.startswith(BELOW):
            line = {"program": sys.orig_argv, "pid": os.getpid(), "path": path[len(BELOW) + 1:]}
            os.write(written, json.dumps(line).encode() + b"\\n")

sys.addaudithook(look)
"""
"""A `sitecustomize`: in every Python that has it on its path, it notes which files are opened."""

Run: TypeAlias = Callable[..., Any]


@dataclass
class Place:
    """A training's folders, and what is typed."""

    home: Path
    programs: Background
    variables: dict[str, str]

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def folder(self) -> Path:
        return self.home / "run"

    def federate(self, *given: str, variables: dict[str, str] | None = None) -> Program:
        """Start the training in the background."""
        always = ("--folder", self.folder, "--workers", "1")
        return self.programs.start(
            "federate", self.data, *always, *given, variables=variables or self.variables
        )

    def resume(self, *given: str) -> Program:
        """Go on with it, without saying again where anything is."""
        return self.programs.start("federate", "--resume", "--folder", self.folder, *given)


@pytest.fixture(scope="module")
def variables(home: Path) -> dict[str, str]:
    return {"MODELPROOF_STORE": str(home / "objects")}


@pytest.fixture(scope="module")
def run(ape_run: ApeRun, variables: dict[str, str]) -> Run:
    """Run a command with --json; what it prints, or its sentence. The contracts are deployed."""

    def run(*arguments: str | Path, exit_code: int = 0, **more: str) -> Any:
        done = ape_run(*arguments, "--json", variables={**variables, **more})
        assert done.returncode == exit_code, done.stderr
        assert "Traceback" not in done.stderr
        printed = json.loads(done.stdout)
        return printed["error"] if exit_code else printed

    run("deploy")
    return run


@pytest.fixture(scope="module")
def place(
    run: Run, environment: dict[str, str], variables: dict[str, str], home: Path
) -> Iterator[Place]:
    """A prepared data set, in which nothing was begun."""
    with background(environment, home / "printed") as programs:
        place = Place(home, programs, variables)
        run("prepare", "digits", "--num-clients", str(CLIENTS), "--output-dir", place.data)
        yield place


@dataclass
class Killed:
    """A training whose coordinator was killed in its second round."""

    place: Place
    opened: list[dict[str, Any]]
    """What its worker and its validator opened of the prepared data set."""

    def files(self, kind: str) -> set[str]:
        """What processes of one kind opened: their settings are in a folder that says it."""
        return {one["path"] for one in self.opened if f"/{kind}-" in one["program"][-1]}


@pytest.fixture(scope="module")
def killed(place: Place) -> Killed:
    """By ``kill -9``; its other processes end by themselves."""
    audit, log = place.home / "audit", place.home / "opened"
    audit.mkdir()
    (audit / "sitecustomize.py").write_text(AUDIT)
    watched = {
        "PYTHONPATH": str(audit),
        "AUDITED": str(place.data.resolve()),
        "AUDIT_LOG": str(log),
    }
    given = ("--model", MODEL, "--policy", "unlimited", "--seed", "5")
    program = place.federate(*given, variables={**place.variables, **watched})
    program.says("round 1: v1 from 3 clients")
    program.kill()
    opened = [json.loads(line) for line in log.read_text().splitlines()]
    wait_until(lambda: not any(_runs(one["pid"]) for one in opened), "all had ended")
    return Killed(place, opened)


def _runs(pid: int) -> bool:
    """Whether a process is there, and is not one that nobody has waited for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_clients_open_their_own_samples_and_no_test_data(killed: Killed) -> None:
    indices = range(CLIENTS)
    own = {f"train/client_{index}.safetensors" for index in indices}
    assert killed.files("worker") == own | {client_configuration_path(index) for index in indices}
    assert killed.files("validator") == {SERVICE_PATH, "test/validation.safetensors"}


def test_no_training_sample_is_in_the_test_set(place: Place) -> None:
    def digests(part: Part) -> set[bytes]:
        return set(sample_contents(part.inputs, part.labels))

    data = place.data
    paths = [data / client_configuration_path(index) for index in range(CLIENTS)]
    trained_on = set[bytes]().union(*(digests(prepared.read_client(one).part) for one in paths))
    service = data / SERVICE_PATH
    parts = (prepared.read_validation(service), prepared.read_holdout(service))
    tested_on = digests(parts[0]) | digests(parts[1])
    assert len(tested_on) == len(parts[0]) + len(parts[1])
    assert not trained_on & tested_on


def test_training_that_was_begun_is_not_begun_again(run: Run, killed: Killed) -> None:
    place = killed.place
    before = place.folder.joinpath("run.json").read_bytes()
    refused = run("federate", place.data, "--folder", place.folder, "--seed", "6", exit_code=2)
    assert refused.startswith(f"a run was begun in {place.folder}: go on with it by --resume")
    assert place.folder.joinpath("run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--resume",), "`ape run federate` writes it"),
        (("--workers", "0"), "clients on other machines need --broker, to be asked by"),
        (("--architecture", "perceptron"), "there is no recipe for the architecture 'perceptron'"),
        (("--min-updates", "4"), "at least 4 updates a round of 3 clients cannot be"),
        (("--limit", "max_drop=much"), "max_drop=much is not a limit of the policy"),
        (("--clients", "config", "--broker", "memory://"), "has no card of a client"),
        (("--broker", "http://localhost"), "the broker's address cannot be used"),
        (("--broker", CLEAR), "the password would go to broker unencrypted"),
    ],
)
def test_what_cannot_be_run_is_told_in_a_sentence(
    run: Run, place: Place, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    (tmp_path / "config").mkdir()
    given = [str(tmp_path / one) if one == "config" else one for one in options]
    named = ("--model", tmp_path.name, "--folder", tmp_path / "run")
    assert says in run("federate", place.data, *named, *given, exit_code=2)


@pytest.mark.parametrize("command", ["worker", "validator"])
def test_password_is_not_sent_unencrypted_unless_that_is_meant(
    run: Run, place: Place, command: str
) -> None:
    configuration = place.data / client_configuration_path(0)
    given = {
        "worker": ("worker", "run", "run.json", configuration),
        "validator": ("validator", "run.json", place.data, "--key", "none"),
    }[command]
    said = run(*given, "--broker", CLEAR, exit_code=2)
    assert said.startswith("the password would go to broker unencrypted")
    meant = run(*given, "--broker", CLEAR, "--broker-in-clear", exit_code=2)
    assert meant.startswith("run.json cannot be read")


def test_same_command_begins_a_training_that_was_not_begun_for_an_option(
    run: Run, place: Place, tmp_path: Path
) -> None:
    """The model was created with its policy before; a policy of another kind is refused."""
    given = ("federate", place.data, "--model", "later", "--folder", tmp_path / "run")
    policy = ("--policy", "unlimited", "--limit", "max_drop=90000", "--workers", "1")
    assert "4 updates" in run(*given, *policy, "--min-updates", "4", exit_code=2)
    other = run(*given, "--policy", "unlimited", "--rounds", "1", exit_code=2)
    assert other.startswith("later has another policy already")
    assert "5 updates" in run(*given, *policy, "--min-updates", "5", exit_code=2)


def test_worker_gives_a_card_of_its_client(run: Run, place: Place, tmp_path: Path) -> None:
    configuration = place.data / client_configuration_path(1)
    given = ("worker", "card", configuration, "--clients", tmp_path, "--output", tmp_path / "card")
    card = run(*given)
    assert run(*given) == card
    said = json.loads((tmp_path / "card").read_text())
    data = prepared.read_client(configuration)
    assert (said["index"], said["address"]) == (1, card["address"])
    assert (said["samples"], said["dataset_root"]) == (len(data.part), "0x" + data.part.root.hex())
    assert not {"account", "key", "private"} & said.keys()


def test_clients_too_many_for_the_chain_are_excluded_and_taken_back_by_the_folder_of_their_run(
    run: Run, killed: Killed, tmp_path: Path
) -> None:
    began = killed.place.folder / "run.json"
    large = replace(run_configuration.read(began), clients=many_clients(300))
    RunFolder(tmp_path).write(large)
    here = ("--folder", tmp_path)

    def inactive() -> list[tuple[int, str]]:
        standing = run("clients", "list", MODEL, *here)
        assert [one["address"] for one in standing] == [one.address for one in large.clients]
        return [(one["client"], one["reason"]) for one in standing if not one["active"]]

    why = ("--reason", "sends noise", *here)
    stranger = run("clients", "exclude", MODEL, "299", *why, "--account", "test:1", exit_code=2)
    assert "does not hold OPERATOR on digits" in stranger
    done = run("clients", "exclude", MODEL, "299", *why)
    assert done == {"model": MODEL, "client": 299, "done": "excluded", "block": None}
    assert inactive() == [(299, "sends noise")]
    again = run("clients", "exclude", MODEL, "299", *why, exit_code=2)
    assert again == "client 299 of digits is excluded already."
    unknown = run("clients", "exclude", MODEL, "300", *why, exit_code=2)
    assert unknown.startswith(f"the run in {tmp_path} has no client 300")
    run("clients", "reinstate", MODEL, "299", "--reason", "mended", *here)
    assert inactive() == []

    known_to_none = run("clients", "exclude", MODEL, "299", *why[:2], exit_code=2)
    assert known_to_none.startswith("client 299 of digits is not enrolled on chain")
    nothing = run("clients", "list", MODEL, "--folder", tmp_path / "none", exit_code=2)
    assert "`ape run federate` writes it" in nothing


def table(shown: str) -> tuple[list[str], list[list[str]]]:
    """The columns and the rows of the table of rounds."""
    lines = shown.partition("round  ")[2].splitlines()
    rows = [line.split() for line in lines[1 : lines.index("")]]
    return ["round", *lines[0].split()], rows


def test_killed_training_goes_on_and_is_steered_from_another_process(
    run: Run, killed: Killed
) -> None:
    place = killed.place
    shown = place.resume("--rounds", "2").succeed()
    header, rows = table(shown)
    assert header == ["round", "version", "from", "clients", "accuracy", "verdict", "seconds"]
    last = int(rows[-1][0])
    assert len(rows) >= 3
    assert [row[:4] for row in rows] == [
        [str(at), f"v{at}", f"v{at - 1}" if at > 1 else "seed", "3"]
        for at in range(last - len(rows) + 1, last + 1)
    ]
    assert f"Training goes on: `ape run federate --resume --folder {place.folder}` (v" in shown
    registered = run("history", MODEL)["versions"]
    run_file = place.folder / "run.json"
    assert registered[last - 1]["weights"] == weights_after(run_file, place.data, last)

    run("clients", "exclude", MODEL, "1", "--reason", "sends noise")
    standing = run("clients", "list", MODEL)
    assert [one["reason"] for one in standing if not one["active"]] == ["sends noise"]
    assert [one["address"] for one in standing] == [
        one.address for one in run_configuration.read(run_file).clients
    ]
    program = place.resume("--json")
    program.says(f"round {last + 1}: v{last + 1} from 2 clients")
    run("clients", "reinstate", MODEL, "1", "--reason", "mended")
    run("rollback", MODEL, "1", "--reason", "a bad feeling")
    program.says(f"{BACK}: 3 clients acknowledged")
    program.goes_on_until(lambda: "\nround " in program.errors.read_text().partition(BACK)[2])
    run("complete", MODEL, "--reason", "enough")
    told = json.loads(program.succeed())
    assert told["state"]["completed"] == CompletionReason.MANUAL
    assert told["state"]["epoch"] == 1
    assert [one["clients"] for one in told["rounds"] if one["version"] == last + 1] == [[0, 2]]
    after = [one for one in told["rounds"] if one["epoch"] == 1]
    assert (after[0]["base"], after[0]["clients"]) == (1, [0, 1, 2])
    assert told["final"]["metadata"]["completion_reason"] == "Completed by an operator"
    assert told["final"]["final_accuracy"] > 0
    report = json.loads((place.folder / "report.json").read_text())
    assert report["final_accuracy"] == told["final"]["final_accuracy"]

    run("store", "gc", "--older-than", "0", "--delete")  # of rounds that were given up
    key = {"ENCRYPTION_KEY_FILE": str(place.folder / "coordinator.key")}
    replayed = run("replay", MODEL, **key)["versions"]
    assert {one["outcome"] for one in replayed} == {"replayed"}
    assert run("fsck", "--store", place.home / "objects")["disagreements"] == []
