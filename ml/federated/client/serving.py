"""A worker's loop: one task after the other, until training is over for all of its clients."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

import torch

from ml.federated import replies, tasks
from ml.federated.tasks import Task, TrainingCompleteTask
from ml.federated.transport import Delivery, QueueNames, Transport, TransportError
from ml.training.canonical import MalformedJson

from .worker import FAILURES, Worker, is_passing

LOOK_AGAIN_S: Final = 1.0
"""How long a message is waited for, and how long before something is tried again."""

_log = logging.getLogger(__name__)


def serve(
    worker: Worker,
    transport: Transport,
    is_over: Callable[[], bool] = lambda: False,
    again_s: float = LOOK_AGAIN_S,
) -> None:
    """Do tasks until TRAINING_COMPLETE has come for every client of a worker.

    A task is acknowledged once its answer is in the coordinator's queue: whoever dies in between
    leaves it to be done again. Torch gets one thread in this process.

    Args:
        worker: does the tasks.
        transport: where they come from.
        is_over: asked about once a second, and before each try; ends the loop.
        again_s: how long to wait before something is tried again.
    """
    torch.set_num_threads(1)
    names = QueueNames(worker.run.model)
    waiting = {names.client(index): index for index in worker.clients}
    while waiting and not is_over():
        delivery = _received(transport, list(waiting), again_s)
        if delivery is None:
            continue
        task = _read(delivery)
        if isinstance(task, TrainingCompleteTask):
            del waiting[delivery.queue]
        elif task is not None:
            while not _is_answered(worker, task, waiting[delivery.queue], transport):
                if is_over():
                    delivery.requeue()
                    return
                time.sleep(again_s)
        delivery.acknowledge()


def _is_answered(worker: Worker, task: Task, client: int, transport: Transport) -> bool:
    """Handle a task and publish the answer; False if that has to be tried again."""
    try:
        reply = worker.handle(task, client)
        if reply is not None:
            names = QueueNames(worker.run.model)
            transport.publish(names.coordinator, replies.dump(reply))
    except FAILURES as error:
        if not is_passing(error):
            raise
        _log.warning("%s is tried again: %s", task.task_id, error)
        return False
    return True


def _received(transport: Transport, queues: Sequence[str], again_s: float) -> Delivery | None:
    """The next message; None if none came, or the broker cannot be reached for now."""
    try:
        return transport.receive(queues, LOOK_AGAIN_S)
    except TransportError as error:
        _log.warning("%s", error)
        time.sleep(again_s)
        return None


def _read(delivery: Delivery) -> Task | None:
    """The task in a message; None, with a warning, if it is none."""
    try:
        return tasks.load(delivery.body)
    except MalformedJson as error:
        _log.warning("a message in %s was ignored: %s", delivery.queue, error)
        return None
