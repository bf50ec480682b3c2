"""A worker's loop: one task after the other, until training is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import torch

from ml.federated import replies, tasks
from ml.federated.tasks import Task, TrainingCompleteTask
from ml.federated.transport import Delivery, QueueNames, Transport, patience
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
    """Do tasks until training is over, as one TRAINING_COMPLETE says and the chain confirms.

    What is in the clients' queues then is dealt with still; another worker may have got the rest,
    since several may work for the same clients.

    A task is acknowledged once its answer is in the coordinator's queue: whoever dies in between
    leaves it to be done again. Torch gets one thread in this process.

    Args:
        worker: does the tasks.
        transport: where they come from.
        is_over: asked about once a second, and before each try; ends the loop.
        again_s: how long to wait before something is tried again.

    Raises:
        TransportGone: the process whose queues these are has ended.
    """
    torch.set_num_threads(1)
    names = QueueNames(worker.run.model)
    queues = {names.client(index): index for index in worker.clients}
    is_complete = False
    while not is_over():
        delivery = patience.receive(transport, list(queues), LOOK_AGAIN_S, again_s)
        if delivery is None:
            if is_complete:
                return
            continue
        task = _read(delivery)
        if task is not None:
            done = partial(_do, worker, task, queues[delivery.queue], transport)
            while (ended := _tried(task, done)) is None:
                if is_over():
                    delivery.requeue()
                    return
                time.sleep(again_s)
            is_complete = is_complete or ended
        delivery.acknowledge()


def _do(worker: Worker, task: Task, client: int, transport: Transport) -> bool:
    """Do a task and publish the answer; returns whether training is over with it."""
    if isinstance(task, TrainingCompleteTask):
        return worker.believes(task)
    reply = worker.handle(task, client)
    if reply is not None:
        names = QueueNames(worker.run.model)
        transport.publish(names.coordinator, replies.dump(reply))
    return False


def _tried(task: Task, do: Callable[[], bool]) -> bool | None:
    """Do what may fail for a while; None if it did."""
    try:
        return do()
    except FAILURES as error:
        if not is_passing(error):
            raise
        _log.warning("%s is tried again: %s", task.task_id, error)
        return None


def _read(delivery: Delivery) -> Task | None:
    """The task in a message; None, with a warning, if it is none."""
    try:
        return tasks.load(delivery.body)
    except MalformedJson as error:
        _log.warning("a message in %s was ignored: %s", delivery.queue, error)
        return None
