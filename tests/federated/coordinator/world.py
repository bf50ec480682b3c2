"""A whole training in one thread: an Anvil, a store, and clients that answer as soon as asked.

Messages go through a list; whoever a message is for deals with it when the coordinator waits. So a
test says what each client does, and nothing depends on time.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ape
import numpy as np
from eth_account import Account

from ml.chain.policy import PRESETS
from ml.chain.registry import ModelRegistry
from ml.chain.signed_before import SignedBefore
from ml.chain.signed_files import dump_update
from ml.chain.types import Policy
from ml.federated import acknowledgements, replies, tasks, updates, version_files
from ml.federated.acknowledgements import Acknowledgement
from ml.federated.aggregation import FedAvg, Weights
from ml.federated.chain_view import ChainView
from ml.federated.client.local_training import round_seed, train_locally
from ml.federated.configuration import Preparation
from ml.federated.coordinator.bases import Bases
from ml.federated.coordinator.context import Context
from ml.federated.coordinator.coordinator import Coordinator
from ml.federated.coordinator.journal import RunJournal
from ml.federated.coordinator.news import News
from ml.federated.coordinator.post import Post
from ml.federated.objects import RUN_FORMAT, Objects
from ml.federated.preparation import Divided, divide
from ml.federated.replies import AcknowledgementReply, FailureReply, UpdateReply
from ml.federated.run_configuration import (
    DiagnosisSettings,
    LocalTraining,
    RunClient,
    RunConfiguration,
    RunValidator,
)
from ml.federated.sampling import RoundKey
from ml.federated.splits import Iid
from ml.federated.tasks import RollbackTask, TrainingCompleteTask, TrainTask, ValidateTask
from ml.federated.transport import QueueNames
from ml.federated.updates import UpdateMetadata
from ml.federated.validator.process import written
from ml.federated.validator.validator import Validator
from ml.storage.cid import Cid
from ml.storage.keys import PrivateKey, PublicKey
from ml.storage.places import Places
from ml.storage.retention import UPDATE_FORMAT
from ml.storage.sidecar import Sidecar
from ml.training.datasets import load_dataset
from ml.training.environment import Environment
from tests.federated.runs import IRIS

ENVIRONMENT = Environment("3.11", {}, "x86_64", "DEFAULT", 1, None, None)
Alter = Callable[[Weights, Weights], Weights]
"""What a client makes of its base and of the weights that its training ended with."""


class Killed(BaseException):
    """The coordinator's process ended here."""


@dataclass
class Message:
    """A message in a list of messages."""

    queue: str
    body: bytes
    held: deque[bytes]

    def acknowledge(self) -> None:
        """It does not come again."""
        if self.held and self.held[0] == self.body:
            self.held.popleft()

    def requeue(self) -> None:
        """It stays where it is."""


class Lists:
    """A transport whose queues are lists; others than the coordinator deal with theirs at once."""

    def __init__(self, handle: Callable[[str, bytes], None]) -> None:
        self.queues: dict[str, deque[bytes]] = defaultdict(deque)
        self._handle = handle
        self.before: Callable[[str], None] = lambda _: None

    def publish(self, queue: str, body: bytes) -> None:
        self.before("publish")
        self.queues[queue].append(body)

    def receive(self, queues: Sequence[str], timeout_s: float) -> Message | None:
        self.before("receive")
        for name in [name for name in self.queues if name not in queues]:
            while self.queues[name]:
                self._handle(name, self.queues[name].popleft())
        for name in queues:
            if self.queues[name]:
                return Message(name, self.queues[name][0], self.queues[name])
        return None

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Client:
    """One client, and what is wrong with it."""

    index: int
    account: Any
    key: PrivateKey
    alter: Alter = lambda base, trained: trained
    answers: bool = True
    fails: bool = False
    acknowledges: bool = True
    acknowledges_as: Any = None
    asked: list[TrainTask] = field(default_factory=list)
    told: list[RollbackTask] = field(default_factory=list)


EXCLUDING: dict[str, Any] = {
    "local": LocalTraining(epochs=3, batch_size=10, learning_rate=0.1),
    "diagnosis": DiagnosisSettings(exclude=True),
}
"""Changes of a run: long training, so that one poisoner is found and excluded."""
DROPPING: Policy = replace(PRESETS["unlimited"], max_drop=20_000)
"""A policy that goes back when an update is poisoned."""
DIVIDED: Divided = divide(load_dataset("iris"), Preparation(4, Iid(), seed=3))


@dataclass
class World:
    """A training of four clients on Iris."""

    registry: ModelRegistry
    folder: Path
    policy: Policy = PRESETS["unlimited"]
    changes: dict[str, Any] = field(default_factory=dict)
    name: str = "iris"
    overlaps: bool = False

    def __post_init__(self) -> None:
        """Create the model and enrol the clients."""
        self.admin, self.trainer, self.judge, self.operator = ape.accounts.test_accounts[:4]
        self.places = Places([str(self.folder / "objects")])
        self.coordinator_key, self.validator_key = PrivateKey.generate(), PrivateKey.generate()
        self.clients = [
            Client(index, Account.from_key(bytes([index + 1]) * 32), PrivateKey.generate())
            for index in range(4)
        ]
        self.model, _ = self.registry.create_model(
            self.name,
            DIVIDED.validation.root,
            self.policy,
            sender=self.admin,
            trainer=str(self.trainer.address),
            validator=str(self.judge.address),
            operator=str(self.operator.address),
        )
        roots = [part.root for part in DIVIDED.clients]
        enrolled = {
            one.index: (one.account.address, root)
            for one, root in zip(self.clients, roots, strict=True)
        }
        self.registry.enrol_clients(self.model, enrolled, sender=self.admin)
        self.run = self._run(roots)
        self.news: list[News] = []
        self.transport = Lists(self._handle)
        self.now = 1_800_000_000.0
        self._validator: Validator | None = None

    def _run(self, roots: list[bytes]) -> RunConfiguration:
        run = RunConfiguration(
            model=self.model,
            name=self.name,
            chain_id=self.registry.chain_id,
            registry=self.registry.address,
            dataset_name="iris",
            dataset_version="iris-1",
            class_names=DIVIDED.validation.class_names,
            test_set=DIVIDED.validation.root,
            holdout=DIVIDED.holdout.root,
            architecture=IRIS,
            local=LocalTraining(epochs=1, batch_size=10, learning_rate=0.1),
            rule=FedAvg(),
            seed=7,
            fraction=1.0,
            min_updates=2,
            deadline_s=None,
            diagnosis=DiagnosisSettings(),
            coordinator=self.coordinator_key.raw,
            clients=tuple(
                RunClient(one.index, one.account.address, one.key.raw, len(part), root)
                for one, part, root in zip(self.clients, DIVIDED.clients, roots, strict=True)
            ),
            validators=(RunValidator(str(self.judge.address), self.validator_key.raw),),
        )
        return replace(run, **self.changes)

    @property
    def first_round(self) -> RoundKey:
        """The key of the first round."""
        return RoundKey(0, 1)

    @property
    def chain(self) -> ChainView:
        """A view of its own."""
        return ChainView(self.registry, self.model)

    def coordinator(self) -> Coordinator:
        """A coordinator that has just been started."""
        return Coordinator(self.context())

    def context(self) -> Context:
        """What a coordinator that has just been started works with."""
        objects = Objects(self.places, [self.coordinator_key])
        journal = RunJournal(self.folder / "journal.sqlite", self.run.digest)
        if journal.run_cid is None:
            kept = objects.put(self.run.to_json().encode(), RUN_FORMAT, objects.keys)
            journal.store_run(str(kept.stored.cid))
        assert journal.run_cid
        chain, tell = self.chain, self.news.append
        return Context(
            run=self.run,
            run_cid=journal.run_cid,
            chain=chain,
            objects=objects,
            received=objects,
            journal=journal,
            post=Post(self.transport, QueueNames(self.model), journal, tell),
            bases=Bases(self.run, chain, objects, journal),
            validation=DIVIDED.validation,
            trainer=self.trainer,
            operator=self.operator,
            environment=ENVIRONMENT,
            tell=tell,
            overlaps=self.overlaps,
            now=lambda: self.now,
        )

    def told(self, kind: type[Any]) -> list[Any]:
        """The news of one kind."""
        return [each for each in self.news if isinstance(each, kind)]

    def once(self, when: Callable[[], object], do: Callable[[], object]) -> None:
        """Do something, once, when the coordinator waits and something holds."""

        def look(call: str) -> None:
            if call == "receive" and when():
                self.transport.before = lambda _: None
                do()

        self.transport.before = look

    def exclude(self, client: int, reason: str = "gone") -> None:
        """Exclude a client, as the operator."""
        self.registry.exclude_client(self.model, client, reason, sender=self.operator)

    # The others

    def _handle(self, queue: str, body: bytes) -> None:
        task = tasks.load(body)
        names = QueueNames(self.model)
        if isinstance(task, ValidateTask):
            answer = self.validator.handle(task)
            self.transport.queues[names.coordinator].append(written(answer))
            return
        if isinstance(task, TrainingCompleteTask):
            return
        client = self.clients[int(queue.rsplit(".", 1)[1])]
        reply: UpdateReply | FailureReply | AcknowledgementReply | None = None
        if isinstance(task, TrainTask):
            client.asked.append(task)
            if client.fails:
                reply = FailureReply(task.task_id, client.account.address, "no data")
            elif client.answers:
                reply = self.update(client, task)
        elif isinstance(task, RollbackTask):
            client.told.append(task)
            if client.acknowledges:
                reply = self.acknowledgement(client, task)
        if reply:
            self.transport.queues[names.coordinator].append(replies.dump(reply))

    @property
    def validator(self) -> Validator:
        """The validator, with keys and a view of its own."""
        if self._validator is None:
            self._validator = Validator(
                self.run,
                self.chain,
                Objects(self.places, [self.validator_key]),
                DIVIDED.validation,
                self.judge,
                SignedBefore(self.folder / "signatures"),
                waits_s=(),
            )
        return self._validator

    def update(self, client: Client, task: TrainTask, **changes: Any) -> UpdateReply:
        """What a client answers to TRAIN."""
        base = self._base(client, task)
        trained = train_locally(
            self.run.architecture,
            self.run.local,
            base,
            DIVIDED.clients[client.index],
            seed=round_seed(self.run.seed, client.index, task.epoch, task.iteration),
            iteration=task.iteration,
        )
        metadata = UpdateMetadata(
            model=self.model,
            client=client.account.address,
            epoch=task.epoch,
            iteration=task.iteration,
            base=task.parent_version_id,
            base_weights=task.payload.base_weights,
            samples=trained.samples,
            correct=trained.correct,
        )
        metadata = replace(metadata, **changes)
        data = updates.dump(metadata, client.alter(base, trained.weights))
        signed = updates.sign(client.account, self.run.domain, client.index, metadata, data)
        recipient = PublicKey.from_raw(self.run.coordinator)
        kept = Objects(self.places, [client.key]).put(data, UPDATE_FORMAT, [recipient])
        return UpdateReply(
            task_id=task.task_id,
            client_id=client.index,
            update_cid=str(kept.stored.cid),
            sidecar=kept.to_json().decode(),
            signed=dump_update(signed),
            training_s=0.0,
            storing_s=0.0,
        )

    def _base(self, client: Client, task: TrainTask) -> Weights:
        payload = task.payload
        if payload.weights_cid is None:
            return version_files.first_weights(self.run)
        assert payload.weights_sidecar
        cid = Cid.parse(payload.weights_cid)
        sidecar = Sidecar.read(payload.weights_sidecar.encode(), cid)
        data = Objects(self.places, [client.key]).get(cid, 1 << 20, sidecar)
        rule, architecture = self.run.rule, self.run.architecture
        return version_files.load(data, payload.base_weights, rule, architecture).tensors

    def acknowledgement(self, client: Client, task: RollbackTask) -> AcknowledgementReply:
        """What a client answers to ROLLBACK."""
        payload = task.payload
        said = Acknowledgement(
            self.model, task.epoch, payload.target_version_id, payload.target_weights
        )
        signer = client.acknowledges_as or client.account
        signature = acknowledgements.sign(signer, self.run.domain, said)
        return AcknowledgementReply(
            task_id=task.task_id,
            client_id=client.index,
            model=self.model,
            epoch=task.epoch,
            target_version_id=payload.target_version_id,
            target_weights=payload.target_weights,
            signature_r=signature.r,
            signature_vs=signature.vs,
        )


# --- What clients do to their updates -------------------------------------------------------------


def flipped(base: Weights, trained: Weights) -> Weights:
    """Go the other way, a hundred times as far."""
    return {name: base[name] - 100 * (trained[name] - base[name]) for name in base}


def not_finite(base: Weights, trained: Weights) -> Weights:
    """NaN."""
    return {name: np.full_like(tensor, np.nan) for name, tensor in trained.items()}
