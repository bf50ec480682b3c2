"""The whole system, run for a task that rounds without provenance can be run for too.

On an Anvil of its own that mines a block per transaction, `memory://` for messages, a store in a
local folder, two processes for clients and one for a validator.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from ape.logging import logger

from ml.chain.fsck import everything
from ml.chain.fsck.disagreement import Disagreement
from ml.chain.models import NamedModel
from ml.chain.outbox.opening import FOLDER_VARIABLE
from ml.chain.policy import PRESETS
from ml.chain.records import Role
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session, connect
from ml.chain.types import Policy
from ml.federated import prepared
from ml.federated.configuration import SERVICE_PATH
from ml.federated.coordinator.news import News
from ml.federated.local.process import Where
from ml.federated.local.processes import Processes
from ml.federated.local.running import Machine, Outcome, federate
from ml.federated.local.setting_up import Plan, clients_here, set_up
from ml.federated.objects import Objects
from ml.federated.plain import PlainTask
from ml.federated.preparation import Divided, files_of
from ml.federated.replay import ReplayedVersion, replay
from ml.federated.run_configuration import DiagnosisSettings, RunConfiguration, RunValidator
from ml.federated.run_folder import RunFolder
from ml.storage.places import Places
from ml.storage.replicas import Policy as Replicas
from ml.storage.retention import Retention
from ml.training.named_objects import objects_of

if TYPE_CHECKING:
    from ape.api import AccountAPI

    from ml.federated.robust import AnyRule

WORKERS: Final = 2
VALIDATOR: Final = "test:2"
_REPLICAS: Final = "all"
_MADE_AT: Final = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class System:
    """A training that can be run, and gone on with."""

    folder: RunFolder
    run: RunConfiguration
    registry: ModelRegistry
    store: Path
    session: Session
    _machine: Machine

    def train(
        self,
        rounds: int,
        tell: Callable[[News], None],
        started: Callable[[Processes], None] = lambda _: None,
    ) -> Outcome:
        """Run for so many rounds more; processes are started and stopped."""
        return federate(
            self.folder,
            self.run,
            self.registry,
            self._machine,
            trainer=self.session.account(None, Role.TRAINER),
            operator=self.session.account(None, Role.OPERATOR),
            tell=tell,
            rounds=rounds,
            started=started,
        )

    def replayed(self) -> list[ReplayedVersion]:
        """Make every version again from chain and store alone; raises as `replay`."""
        objects = Objects(self._places(), [self.folder.coordinator_key()])
        return replay(self.registry, self.run.model, objects, retention=Retention())

    def disagreements(self) -> list[Disagreement]:
        """What of chain, index, journal and store disagrees, as ``ape run fsck`` finds it."""
        return list(everything.check(self.session, places=self._places(), named=objects_of))

    def _places(self) -> Places:
        return Places((str(self.store),), Replicas.parse(_REPLICAS))


@contextmanager
def whole_system(
    data: Divided,
    task: PlainTask,
    *,
    policy: Policy = PRESETS["unlimited"],
    workers: int = WORKERS,
    queues: str = "memory://",
    overlaps: bool = False,
) -> Iterator[System]:
    """Begin a training of a task: everything is in a temporary folder, and gone afterwards.

    Args:
        data: what the task's clients and its validation part are of
        task: what to train
        policy: of the model
        workers: processes for clients
        queues: ``memory://``, or a broker's URL
        overlaps: whether clients train from a version already while it is validated
    """
    with tempfile.TemporaryDirectory(prefix="modelproof-bench-") as name:
        root = Path(name)
        os.environ[FOLDER_VARIABLE] = str(root / "outbox")
        logger.set_level("ERROR")
        prepared.write(root / "data", files_of(data, _MADE_AT))
        with _own_anvil() as session:
            logger.set_level("ERROR")
            registry = session.registry()
            folder = RunFolder(root / "run")
            folder.root.mkdir()
            run = _begin(session, registry, folder, root / "data", task, policy)
            where = Where(
                folder=str(folder.root),
                data=str(root / "data"),
                places=(str(root / "objects"),),
                replicas=_REPLICAS,
                network=session.network_for_others,
                registry_block=registry.deployed_at,
                outbox=str(root / "outbox"),
            )
            machine = Machine(where, queues, workers, [(0, VALIDATOR)], overlaps=overlaps)
            yield System(folder, run, registry, root / "objects", session, machine)


@contextmanager
def _own_anvil() -> Iterator[Session]:
    """A session on an Anvil of its own; Ape would let that run for as long as this process."""
    with connect("local") as session:
        provider = session.provider
        yield session
    provider.disconnect()


def _begin(
    session: Session,
    registry: ModelRegistry,
    folder: RunFolder,
    data: Path,
    task: PlainTask,
    policy: Policy,
) -> RunConfiguration:
    """Create the model, and put the training on record."""

    def account(role: Role) -> AccountAPI:
        return session.account(None, role)

    model, _ = registry.create_model(
        "benchmark",
        prepared.read_service(data / SERVICE_PATH).test_dataset_root,
        policy,
        sender=account(Role.ADMIN),
        trainer=account(Role.TRAINER).address,
        validator=account(Role.VALIDATOR).address,
        operator=account(Role.OPERATOR).address,
    )
    plan = Plan(
        architecture=task.architecture,
        local=task.local,
        rule=cast("AnyRule", task.rule),
        seed=task.seed,
        fraction=task.fraction,
        min_updates=1,
        deadline_s=None,
        diagnosis=DiagnosisSettings(),
    )
    validator = RunValidator(account(Role.VALIDATOR).address, folder.validator_key(0).raw)
    return set_up(
        folder,
        registry,
        session.provenance_log(),
        NamedModel(model, "benchmark", account(Role.ADMIN).address),
        plan,
        data,
        clients_here(folder, data),
        [validator],
        admin=account(Role.ADMIN),
        trainer=account(Role.TRAINER),
    )
