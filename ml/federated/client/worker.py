"""A worker: does what the coordinator asks of one client, or of many on the same machine.

Nothing in a task is believed. Whether it is due, and which version with which weights a round
starts from, is what the chain says; the weights have the identity that is on record there; the
samples are those that the client is enrolled with. A task that came too late is not answered. The
same task twice gives the same update.

What is wrong with the task, the weights or the data is answered with a failure. What is wrong with
chain, store or broker passes, and the task is tried again until it is done or no longer due.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from ape.exceptions import ApeException
from web3.exceptions import Web3Exception

from ml.chain.outbox.rpc import NoAnswer
from ml.chain.session import ConnectionFailed
from ml.chain.signed_files import dump_update
from ml.chain.types import ModelState
from ml.errors import ModelproofError
from ml.federated import acknowledgements, updates
from ml.federated.acknowledgements import Acknowledgement
from ml.federated.aggregation import Weights
from ml.federated.chain_view import ChainView
from ml.federated.objects import Objects
from ml.federated.replies import AcknowledgementReply, FailureReply, Reply, UpdateReply
from ml.federated.run_configuration import RunConfiguration
from ml.federated.tasks import RollbackTask, Task, TrainingCompleteTask, TrainTask
from ml.federated.transport import TransportError, TransportGone
from ml.federated.updates import UpdateMetadata
from ml.storage.cid import Cid
from ml.storage.errors import (
    InvalidCid,
    InvalidKey,
    MissingRecipient,
    NoKey,
    StorageError,
    WrongKey,
)
from ml.storage.keys import PublicKey
from ml.storage.places import Places
from ml.storage.retention import UPDATE_FORMAT

from . import identity, privacy_ledger
from .holding import SAMPLES_BYTES, Samples, Versions
from .identity import ClientIdentity
from .local_training import (
    LocalResult,
    private_seed,
    round_seed,
    train_locally,
    trained_samples,
)
from .privacy_ledger import NoisySteps, NoisyTraining
from .private_training import noisy_steps

_FRESH_S: Final = 1.0
"""So long the chain is not asked again whether the round goes on that was going on."""
_WAITS_S: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
"""How long a node is waited for that has not come to a task's round yet, time after time."""

Stand: TypeAlias = Literal["due", "over", "ahead"]
"""Of a task, beside where the chain says that the model stands."""

_log = logging.getLogger(__name__)


class StillAhead(ModelproofError):
    """A task is for a time that the model has not come to, as the node tells it."""


@dataclass(frozen=True, slots=True)
class LocalClient:
    """A client on this machine."""

    identity: ClientIdentity
    configuration: Path
    """Of its samples: see `prepared.read_client`."""


class Worker:
    """One or many clients of one training."""

    def __init__(
        self,
        run: RunConfiguration,
        chain: ChainView,
        places: Places,
        clients: Sequence[LocalClient],
        *,
        samples_bytes: int = SAMPLES_BYTES,
        waits_s: Sequence[float] = _WAITS_S,
    ) -> None:
        """Check that the clients are this training's; no samples are read yet.

        Args:
            run: the training.
            chain: its model.
            places: the stores.
            clients: who work here.
            samples_bytes: as much of their samples is held at once.
            waits_s: how long a node that is behind is waited for, time after time.

        Raises:
            ModelproofError: a client is not in this training, or its account or key is another.
        """
        for client in clients:
            index = client.identity.index
            if index not in run.by_index:
                raise ModelproofError(f"there is no client {index} in the training {run.name!r}")
            identity.check_is(client.identity, run.by_index[index])
        self._run: Final = run
        self._chain: Final = chain
        self._clients: Final = {client.identity.index: client.identity for client in clients}
        self._objects: Final = {
            index: Objects(places, [each.key]) for index, each in self._clients.items()
        }
        self._coordinator: Final = PublicKey.from_raw(run.coordinator)
        self._samples: Final = Samples(
            run, {each.identity.index: each.configuration for each in clients}, samples_bytes
        )
        self._versions: Final = Versions(run, chain)
        self._waits_s: Final = tuple(waits_s)
        self._sent: dict[int, tuple[tuple[str, bytes], UpdateReply]] = {}
        self._epoch = 0
        self._looked: tuple[ModelState | None, float] = None, 0.0

    @property
    def run(self) -> RunConfiguration:
        """The training."""
        return self._run

    @property
    def clients(self) -> tuple[int, ...]:
        """The indices of those who work here."""
        return tuple(self._clients)

    # One task

    def handle(self, task: Task, index: int) -> Reply | None:
        """Do what a task asks of a client.

        Args:
            task: that came.
            index: the client's, whose queue it came from.

        Returns:
            what to answer; None if there is nothing to say, as to a task that is no longer due.

        Raises:
            ModelproofError, OSError, ApeException, Web3Exception: chain or store cannot be used for
                now (`is_passing`); the same task can be handled again.
        """
        client = self._clients[index]
        try:
            if task.model != self._run.model:
                raise ModelproofError(f"the task is for the model 0x{task.model.hex()}")
            if isinstance(task, TrainTask):
                return self._train(client, task)
            if isinstance(task, RollbackTask):
                return self._go_back(client, task)
        except ModelproofError as error:
            if is_passing(error):
                raise
            _log.warning("client %d cannot do %s: %s", index, task.task_id, error)
            return FailureReply(task.task_id, client.address, str(error))
        _log.warning("a %s task is not for a client", task.task_type)
        return None

    def believes(self, task: TrainingCompleteTask) -> bool:
        """Whether training is over, as a task says: after a reopening, an old one may still come.

        Raises:
            ModelproofError, OSError, ApeException, Web3Exception: as `handle`.
        """
        if task.model != self._run.model:
            return False
        try:
            return self._is_due(task, lambda state: _stand_of_end(task, state))
        except StillAhead:
            return False

    def _train(self, client: ClientIdentity, task: TrainTask) -> Reply | None:
        payload = task.payload
        if payload.client_id != client.index:
            raise ModelproofError(f"the task is for client {payload.client_id}")
        base = task.parent_version_id, payload.base_weights
        if not self._is_due(task, lambda state: _stand_of_round(task, state), base):
            return None
        self._begin_epoch(task.epoch)
        asked = (task.task_id, payload.base_weights)
        sent = self._sent.get(client.index)
        # asked again for what the store has lost, the same answer would never do
        if sent and sent[0] == asked and self._is_stored(client, sent[1]):
            return sent[1]
        tensors = self._versions.get(
            self._objects[client.index], *base, payload.weights_cid, payload.weights_sidecar
        )
        begun = time.perf_counter()
        result = self._trained(client, task, tensors)
        trained = time.perf_counter()
        metadata = UpdateMetadata(
            model=self._run.model,
            client=client.address,
            epoch=task.epoch,
            iteration=task.iteration,
            base=task.parent_version_id,
            base_weights=payload.base_weights,
            samples=result.samples,
            correct=result.correct,
            epsilon=result.epsilon,
        )
        reply = self._stored(client, task, metadata, result, trained - begun)
        self._sent[client.index] = asked, reply
        return reply

    def _is_stored(self, client: ClientIdentity, reply: UpdateReply) -> bool:
        return self._objects[client.index].places.store.has(Cid.parse(reply.update_cid))

    def _trained(self, client: ClientIdentity, task: TrainTask, base: Weights) -> LocalResult:
        run, local = self._run, self._run.local
        part = self._samples.of(client.index)
        seed = round_seed(run.seed, client.index, task.epoch, task.iteration)
        earlier: tuple[NoisySteps, ...] = ()
        if local.privacy is not None:
            steps = noisy_steps(local, trained_samples(len(part), local.validation_share))
            training = NoisyTraining(
                run.digest, task.epoch, task.iteration, task.payload.base_weights, steps
            )
            earlier = privacy_ledger.enter(client.ledger_path, training)
            seed = private_seed(client.noise_secret, training)
        return train_locally(
            run.architecture,
            local,
            base,
            part,
            seed=seed,
            iteration=task.iteration,
            earlier=earlier,
        )

    def _stored(
        self,
        client: ClientIdentity,
        task: TrainTask,
        metadata: UpdateMetadata,
        result: LocalResult,
        training_s: float,
    ) -> UpdateReply:
        """Write an update, sign it, and keep it for the coordinator."""
        begun = time.perf_counter()
        data = updates.dump(metadata, result.weights)
        signed = updates.sign(client.account, self._run.domain, client.index, metadata, data)
        sidecar = self._objects[client.index].put_for(data, UPDATE_FORMAT, self._coordinator)
        return UpdateReply(
            task_id=task.task_id,
            client_id=client.index,
            update_cid=str(sidecar.stored.cid),
            sidecar=sidecar.to_json().decode(),
            signed=dump_update(signed),
            training_s=training_s,
            storing_s=time.perf_counter() - begun,
            validation_ppm=result.validation_ppm,
        )

    def _go_back(self, client: ClientIdentity, task: RollbackTask) -> Reply | None:
        payload = task.payload
        target = payload.target_version_id, payload.target_weights
        if not self._is_due(task, lambda state: _stand_of_rollback(task, state), target):
            return None
        self._begin_epoch(task.epoch)
        self._versions.get(
            self._objects[client.index], *target, payload.weights_cid, payload.weights_sidecar
        )
        said = Acknowledgement(self._run.model, task.epoch, *target)
        signature = acknowledgements.sign(client.account, self._run.domain, said)
        return AcknowledgementReply(
            task_id=task.task_id,
            client_id=client.index,
            model=said.model,
            epoch=said.epoch,
            target_version_id=said.target,
            target_weights=said.weights,
            signature_r=signature.r,
            signature_vs=signature.vs,
        )

    # What is due

    def _is_due(
        self,
        task: Task,
        stand_of: Callable[[ModelState], Stand],
        about: tuple[int, bytes] | None = None,
    ) -> bool:
        """Whether a task is due; one that is ahead of the chain, as the node tells it, waits.

        Args:
            task: that came
            stand_of: how it stands, by where the model does
            about: a version, and its weights, whose registration is looked at next

        Raises:
            StillAhead: it is so after some waiting.
        """
        last, at = self._looked
        if last and time.monotonic() - at < _FRESH_S and stand_of(last) == "due":
            return True
        for wait in (*self._waits_s, None):
            state = self._chain.now(about).state
            self._looked = state, time.monotonic()
            stand = stand_of(state)
            if stand != "ahead":
                break
            if wait is None:
                raise StillAhead(
                    f"the task is for epoch {task.epoch}, iteration {task.iteration}, and the chain"
                    f" has come to epoch {state.epoch}, iteration {state.iteration} only"
                )
            time.sleep(wait)
        if stand == "over":
            _log.info("%s is no longer due", task.task_id)
        return stand == "due"

    def _begin_epoch(self, epoch: int) -> None:
        """Discard what is held from before a rollback."""
        if epoch != self._epoch:
            self._versions.discard()
            self._sent.clear()
            self._epoch = epoch


FAILURES: Final = (ModelproofError, OSError, ApeException, Web3Exception)
"""What handling a task may raise."""
_LASTING: Final = (NoKey, WrongKey, MissingRecipient, InvalidKey, InvalidCid, TransportGone)


def is_passing(error: BaseException) -> bool:
    """Whether an error is that of chain, store or broker, so that trying again may help."""
    if isinstance(error, ModelproofError):
        passing = (TransportError, StorageError, NoAnswer, ConnectionFailed)
        return isinstance(error, passing) and not isinstance(error, _LASTING)
    return isinstance(error, FAILURES)


def _stand_of_round(task: TrainTask, state: ModelState) -> Stand:
    """Whether a round's updates are what a model waits for, or will if its version passes."""
    if not state.completed and state.pending == task.parent_version_id > 0:
        next_but_one = state.epoch, state.iteration + 2
        return "due" if (task.epoch, task.iteration) == next_but_one else "over"
    if (state.epoch, state.iteration) < (task.epoch, task.iteration - 1):
        return "ahead"
    due = (task.epoch, task.iteration - 1, task.parent_version_id)
    at = (state.epoch, state.iteration, state.current)
    return "due" if at == due and not state.completed and not state.pending else "over"


def _stand_of_rollback(task: RollbackTask, state: ModelState) -> Stand:
    """Whether a model is in the epoch that a rollback began; clients may come late to it."""
    if (state.epoch, state.iteration) < (task.epoch, task.iteration):
        return "ahead"
    is_later = state.iteration > task.iteration
    is_there = is_later or state.current == task.payload.target_version_id
    return "due" if state.epoch == task.epoch and is_there and not state.completed else "over"


def _stand_of_end(task: TrainingCompleteTask, state: ModelState) -> Stand:
    """Whether a model is complete; one that was reopened is in a later epoch."""
    if state.epoch > task.epoch:
        return "over"
    return "due" if state.completed else "ahead"
