"""The same history in MLflow's model registry on SQLite, and in ours on Anvil."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median
from typing import Any, Final

from ape.logging import logger

from benchmarks.gas.content import digest
from benchmarks.gas.line import TEST_SET, Holders, Line, holders_among
from benchmarks.gas.report import Sheet
from ml.chain import history
from ml.chain.anvil import AnvilNode
from ml.chain.commitment import details_hash
from ml.chain.logs import Event, Topics
from ml.chain.outbox.opening import FOLDER_VARIABLE
from ml.chain.policy import PRESETS
from ml.chain.records import Details, Evaluation, Role
from ml.chain.registry import ModelRegistry
from ml.chain.session import connect
from ml.errors import NotVerified

from .flower import PEERS, PYTHON, install

VERSIONS: Final = 200
BACK_EVERY: Final = 20
_ALTERED: Final = 2
_FALSE_ACCURACY: Final = 999_999


def measure() -> dict[str, Any]:
    """Write and read it in either: milliseconds, bytes, and whether an alteration is noticed."""
    install()
    with tempfile.TemporaryDirectory(prefix="modelproof-mlflow-") as name:
        script, database = PEERS / "mlflow_registry.py", f"{name}/registry.sqlite"
        command = [str(PYTHON), str(script), database, str(VERSIONS), str(BACK_EVERY)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=name)
    theirs = json.loads(done.stdout.splitlines()[-1])
    return {
        "versions": VERSIONS,
        "mlflow": {k: round(v, 2) if isinstance(v, float) else v for k, v in theirs.items()},
        "modelproof": ours(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def ours() -> dict[str, Any]:
    """Register, validate and roll back as MLflow does, one after the other; then read the line."""
    from ape import accounts, project

    times: dict[str, list[float]] = {"register": [], "validate": [], "rollback": []}
    with tempfile.TemporaryDirectory() as name, AnvilNode() as node:
        os.environ[FOLDER_VARIABLE] = f"{name}/outbox"
        with connect(f"ethereum:dev:{node.url}"):
            logger.set_level("ERROR")
            people = holders_among(accounts.test_accounts)
            registry = ModelRegistry(people[Role.ADMIN].deploy(project.ModelRegistry))
            model = Line(registry, people, "baseline", PRESETS["unlimited"]).id
            for number in range(1, VERSIONS + 1):
                register, validate, back = _acts(registry, model, people, number)
                times["register"].append(_clocked(register))
                times["validate"].append(_clocked(validate))
                if number % BACK_EVERY == 0:
                    times["rollback"].append(_clocked(back))
            reads = [_clocked(lambda: history.read(registry, model)) for _ in range(3)]
            whole = history.read(registry, model)
            noticed = _altered_is_noticed(_Altering(registry.contract), model)
    return {
        **{f"{name}_ms": _ms(median(found)) for name, found in times.items()},
        "lineage_ms": _ms(min(reads)),
        "lineage_versions": len(whole.rows),
        "altered_row_noticed": noticed,
    }


class _Altering(ModelRegistry):
    """A registry as a node tells of it that has altered one accuracy."""

    def search(self, topics: Topics) -> Iterator[Event]:
        """See `DeployedContract.search`."""
        for event in super().search(topics):
            told = event.arguments
            is_it = event.name == "VersionValidated" and told["version"] == _ALTERED
            altered = {**told, "accuracy": _FALSE_ACCURACY} if is_it else told
            yield replace(event, arguments=altered)


def _altered_is_noticed(registry: ModelRegistry, model: bytes) -> bool:
    try:
        history.read(registry, model)
    except NotVerified:
        return True
    return False


def _acts(
    registry: ModelRegistry, model: bytes, people: Holders, number: int
) -> tuple[Callable[[], object], ...]:
    """Registering the next version, validating it, and going back to the one before."""
    state = registry.model(model).state
    trainer = people[Role.TRAINER]
    weights = digest(f"weights {number}")
    details = Details(
        state.current, state.iteration + 1, state.epoch, object=weights, content=weights
    )
    hashed = details_hash(model, number, str(trainer.address), details, "")
    said = Evaluation(number, 900_000 + number, 950_000, True, TEST_SET, weights, hashed)
    return (
        lambda: registry.register(model, number, weights, details, "", sender=trainer),
        lambda: registry.validate(model, said, "", sender=people[Role.VALIDATOR]),
        lambda: registry.rollback(model, number - 1, "", sender=people[Role.OPERATOR]),
    )


def _clocked(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def sheet(case: dict[str, Any]) -> Sheet:
    """A line for each act, in either."""
    theirs, own = case["mlflow"], case["modelproof"]
    names = {
        "register_ms": "register a version, ms",
        "validate_ms": "its accuracy, and making it current, ms",
        "rollback_ms": "roll back, ms",
        "lineage_ms": f"read a history of {case['versions']} versions, ms",
    }
    rows = [(text, f"{theirs[key]:.1f}", f"{own[key]:.1f}") for key, text in names.items()]
    noticed = ["yes" if each["altered_row_noticed"] else "no" for each in (theirs, own)]
    rows.append(("an altered accuracy is noticed", noticed[0], noticed[1]))
    return Sheet(
        f"MLflow {theirs['mlflow']}", ("", "MLflow on SQLite", "Modelproof on Anvil"), rows
    )


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)
