"""A validator's loop: one task after the other, until training is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from ml.chain.outbox.locks import StillHeld
from ml.chain.outbox.queue import NotMined
from ml.chain.outbox.rpc import NoAnswer
from ml.chain.session import ConnectionFailed
from ml.federated import replies, tasks
from ml.federated.tasks import DecisionTask, TrainingCompleteTask, ValidateTask
from ml.federated.transport import (
    QueueNames,
    Transport,
    TransportError,
    TransportGone,
    patience,
)
from ml.training.canonical import MalformedJson

from .validator import Answer, Validator

_LOOK_AGAIN_S: Final = 1.0
PASSING: Final = (TransportError, NoAnswer, NotMined, StillHeld, ConnectionFailed)
"""What is over when the node, or the broker, answers again."""

_log = logging.getLogger(__name__)


def serve(
    validator: Validator,
    transport: Transport,
    names: QueueNames,
    tell: Callable[[ValidateTask, Answer], None] = lambda _task, _answer: None,
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Answer tasks until TRAINING_COMPLETE comes.

    A task is acknowledged once its answer is in the coordinator's queue: who dies in between does
    it again, and sends nothing twice.

    Args:
        validator: who answers
        transport: where tasks come from
        names: of the training's queues
        tell: told of each task that was answered
        is_over: asked about once a second; ends the loop

    A node or a broker that cannot be used for now is waited for.

    Raises:
        TransportGone: the process that relays messages has ended.
    """
    queue = names.validator(validator.address)
    while not is_over():
        delivery = patience.receive(transport, [queue], _LOOK_AGAIN_S, _LOOK_AGAIN_S)
        if delivery is None:
            continue
        task = _read(delivery.body)
        answered = False
        while not answered:
            try:
                if isinstance(task, TrainingCompleteTask) and validator.believes(task):
                    delivery.acknowledge()
                    return
                if isinstance(task, ValidateTask):
                    answer = validator.handle(task)
                    transport.publish(names.coordinator, written(answer))
                    tell(task, answer)
                answered = True
            except TransportGone:
                raise
            except PASSING as error:
                _log.warning("%s; trying again", error)
                time.sleep(_LOOK_AGAIN_S)
                if is_over():
                    delivery.requeue()
                    return
        delivery.acknowledge()


def _read(data: bytes) -> ValidateTask | TrainingCompleteTask | None:
    """The task in a message; None, with a warning, if it is nothing for a validator."""
    try:
        task = tasks.load(data)
    except MalformedJson as error:
        _log.warning("a message was ignored: %s", error)
        return None
    if isinstance(task, ValidateTask | TrainingCompleteTask):
        return task
    _log.warning("a %s task is not for a validator", task.task_type)
    return None


def written(answer: Answer) -> bytes:
    """A validator's answer as the message that it goes out in."""
    return tasks.dump(answer) if isinstance(answer, DecisionTask) else replies.dump(answer)
