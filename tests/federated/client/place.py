"""The clients of a training with all that is theirs: identities, samples, and their tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ml.chain.records import Role
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session
from ml.chain.signed_files import parse_update
from ml.federated import prepared
from ml.federated.admission import Participant, Round, admit
from ml.federated.aggregation import ClientUpdate
from ml.federated.client import identity
from ml.federated.client.identity import ClientIdentity
from ml.federated.client.worker import LocalClient, Worker
from ml.federated.configuration import client_configuration_path
from ml.federated.preparation import files_of
from ml.federated.replies import Reply, UpdateReply
from ml.federated.tasks import (
    RollbackPayload,
    RollbackTask,
    TaskMetadata,
    TrainPayload,
    TrainTask,
    task_id,
)
from ml.storage.cid import Cid
from ml.storage.keys import PublicKey
from ml.storage.places import Places
from ml.storage.sidecar import Sidecar
from tests.federated.federation import Federation, signer_of

_Task = TypeVar("_Task", TrainTask, RollbackTask)

LOW, HIGH = 40, 90
"""Accuracies in percent; after the second, the first is rolled back."""
_MOST_BYTES = 1 << 16


@dataclass
class Place:
    """A training of three clients on Iris."""

    federation: Federation
    identities: list[ClientIdentity]
    data: Path

    @classmethod
    def begin(
        cls, session: Session, registry: ModelRegistry, folder: Path, **changes: Any
    ) -> Place:
        federation = Federation.begin(session, registry, folder / "objects", **changes)
        prepared.write(folder / "data", files_of(federation.divided, "2026-01-31T12:00:00Z"))
        identities = [
            identity.read_or_make(folder / "clients", client.index, signer_of(client.index))
            for client in federation.run.clients
        ]
        clients = tuple(
            one.described(client.samples, client.dataset_root)
            for one, client in zip(identities, federation.run.clients, strict=True)
        )
        return cls(federation, identities, folder / "data").changed(clients=clients)

    def changed(self, **changes: Any) -> Place:
        """The same on the same chain, but for changes of the run."""
        run = replace(self.federation.run, **changes)
        return replace(self, federation=replace(self.federation, run=run))

    def configuration(self, client: int) -> Path:
        return self.data / client_configuration_path(client)

    def worker(
        self, clients: Sequence[int] = (0, 1, 2), store: Path | None = None, **options: Any
    ) -> Worker:
        return Worker(
            self.federation.run,
            self.federation.chain,
            Places([str(store or self.federation.folder)]),
            [LocalClient(self.identities[index], self.configuration(index)) for index in clients],
            **{"waits_s": (), **options},
        )

    # What the coordinator sends

    def train(self, client: int, **changes: Any) -> TrainTask:
        """The task of the round that is due, but for some changes of the task or its payload."""
        run = self.federation.run
        state = self.federation.chain.now().state
        base = state.current
        payload = TrainPayload(
            client_id=client,
            **self._stored(client, base),
            base_weights=self.federation.base(base)[1],
            deadline=None,
        )
        task = TrainTask(
            task_id=task_id("TRAIN", run.model, state.epoch, state.iteration + 1, base, client),
            model=run.model,
            epoch=state.epoch,
            iteration=state.iteration + 1,
            model_version_id=0,
            parent_version_id=base,
            metadata=TaskMetadata(1_769_860_800),
            payload=payload,
        )
        return altered(task, changes)

    def train_from(self, client: int, version: int, **changes: Any) -> TrainTask:
        """The task of the round that will be due if the version that waits passes."""
        state = self.federation.chain.now().state
        key = state.epoch, state.iteration + 2
        return self.train(
            client,
            task_id=task_id("TRAIN", self.federation.run.model, *key, version, client),
            parent_version_id=version,
            base_weights=self.federation.base(version)[1],
            **self._stored(client, version),
            **{"iteration": key[1], **changes},
        )

    def rollback(self, client: int, **changes: Any) -> RollbackTask:
        """The task that follows the rollback that was just made."""
        run = self.federation.run
        state = self.federation.chain.now().state
        target = state.current
        stored = self._stored(client, target)
        payload = RollbackPayload(
            target_version_id=target,
            **stored,
            target_weights=self.federation.base(target)[1],
            reason="it was no good",
            triggered_by="automatic",
            rollback_type="automatic",
        )
        task = RollbackTask(
            task_id=task_id("ROLLBACK", run.model, state.epoch, state.iteration, target, client),
            model=run.model,
            epoch=state.epoch,
            iteration=state.iteration,
            model_version_id=target,
            parent_version_id=0,
            metadata=TaskMetadata(1_769_860_800),
            payload=payload,
        )
        return altered(task, changes)

    def _stored(self, client: int, version: int) -> dict[str, Any]:
        if not version:
            return {"weights_cid": None, "weights_sidecar": None}
        cid = self.federation.cids[version]
        key = PublicKey.from_raw(self.federation.run.by_index[client].recipient)
        sidecar = self.federation.objects.sidecar_for(Cid.parse(cid), key)
        return {"weights_cid": cid, "weights_sidecar": sidecar.to_json().decode()}

    # What an operator does

    def complete(self) -> None:
        operator = self.federation.session.account(None, Role.OPERATOR)
        self.federation.registry.complete(self.federation.run.model, "enough", sender=operator)

    def reopen(self) -> None:
        admin = self.federation.session.account(None, Role.ADMIN)
        self.federation.registry.reopen(self.federation.run.model, "more", sender=admin)

    # What the coordinator makes of answers

    def admitted(self, reply: Reply | None) -> ClientUpdate:
        """The update in a reply, as the coordinator takes it into the round that is due."""
        assert isinstance(reply, UpdateReply), reply
        run = self.federation.run
        state = self.federation.chain.now().state
        base, base_weights = self.federation.base(state.current)
        ongoing = Round(
            domain=run.domain,
            model=run.model,
            epoch=state.epoch,
            iteration=state.iteration + 1,
            base=state.current,
            base_weights=base_weights,
            weights=base.tensors,
            clients={one.index: Participant(one.address, one.samples) for one in run.clients},
        )
        file = parse_update(reply.signed.encode(), "what was signed")
        return admit(ongoing, file, self.fetched(reply), at=0)

    def fetched(self, reply: Reply | None) -> bytes:
        """The file of an update, opened by the coordinator's key with the sidecar in the reply."""
        assert isinstance(reply, UpdateReply), reply
        cid = Cid.parse(reply.update_cid)
        return self.federation.objects.get(
            cid, _MOST_BYTES, Sidecar.read(reply.sidecar.encode(), cid)
        )


def altered(task: _Task, changes: dict[str, Any]) -> _Task:
    """A task with changes of its own fields, and of its payload's."""
    of_task = {name: value for name, value in changes.items() if hasattr(task, name)}
    of_payload = {name: value for name, value in changes.items() if name not in of_task}
    return replace(task, **of_task, payload=replace(task.payload, **of_payload))
