"""The tasks that ask clients to train: each with the version to start from, for that client."""

from __future__ import annotations

from collections.abc import Iterable

from ml.federated.sampling import RoundKey
from ml.federated.tasks import TrainPayload, TrainTask, task_id
from ml.storage.keys import PublicKey

from .bases import Base
from .context import Context
from .post import metadata_now


def ask_to_train(
    context: Context, key: RoundKey, base: Base, clients: Iterable[int], deadline: int | None
) -> None:
    """Send TRAIN to clients.

    Args:
        context: the training
        key: the round
        base: the version that clients start from
        clients: their indices
        deadline: until when updates are taken, in seconds since 1970

    Raises:
        TransportError: the broker did not take a task.
        StorageError: the version's sidecar cannot be opened.
    """
    address = context.objects.addressing(base.cid) if base.cid else None
    names, run = context.post.names, context.run

    def task(client: int) -> TrainTask:
        recipient = PublicKey.from_raw(run.by_index[client].recipient)
        return TrainTask(
            task_id=training_id(context, key, base, client),
            model=run.model,
            epoch=key.epoch,
            iteration=key.iteration,
            model_version_id=0,
            parent_version_id=base.version,
            metadata=metadata_now(),
            payload=TrainPayload(
                client_id=client,
                weights_cid=str(base.cid) if base.cid else None,
                weights_sidecar=address(recipient).to_json().decode() if address else None,
                base_weights=base.weights,
                deadline=deadline,
            ),
        )

    context.post.send_all((names.client(each), task(each)) for each in clients)


def training_id(context: Context, key: RoundKey, base: Base, client: int) -> str:
    """The id of the task that asks a client to train in a round."""
    return task_id("TRAIN", context.run.model, *key.values, base.version, client)
