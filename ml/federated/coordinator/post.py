"""A coordinator's messages: tasks go out, replies come in, and each is dealt with once."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ml.federated import replies, tasks
from ml.federated.replies import Reply
from ml.federated.tasks import DecisionTask, Task, TaskMetadata
from ml.federated.transport import Delivery, QueueNames, Transport
from ml.training.canonical import MalformedJson

from .journal import RunJournal
from .news import MessageIgnored, Tell


@dataclass(frozen=True, eq=False, slots=True)
class Received:
    """A message, which comes again until it is acknowledged."""

    message: Reply | DecisionTask
    delivery: Delivery

    @property
    def data(self) -> bytes:
        """As it came."""
        return self.delivery.body


class Post:
    """The coordinator's end of a training's queues."""

    def __init__(
        self, transport: Transport, names: QueueNames, journal: RunJournal, tell: Tell
    ) -> None:
        """Nothing is sent or received yet."""
        self._transport: Final = transport
        self.names: Final = names
        self._journal: Final = journal
        self._tell: Final = tell

    def send(self, queue: str, task: Task) -> None:
        """Write a task down, and put it into a queue.

        Raises:
            TransportError: the broker did not take it.
        """
        body = tasks.dump(task)
        self._journal.note(task.task_id, task.task_type, body)
        self._transport.publish(queue, body)

    def send_all(self, todo: Iterable[tuple[str, Task]]) -> None:
        """Write tasks down, then put each into its queue; errors as `send`."""
        bodies = [(queue, task, tasks.dump(task)) for queue, task in todo]
        self._journal.note_all((task.task_id, task.task_type, body) for _, task, body in bodies)
        for queue, _, body in bodies:
            self._transport.publish(queue, body)

    def note(self, task: Task) -> None:
        """Write down a task that the coordinator does itself."""
        self._journal.note(task.task_id, task.task_type, tasks.dump(task))

    def next(self, timeout_s: float) -> Received | None:
        """The next message; one that cannot be read is gone for good.

        Raises:
            TransportError: the broker cannot be reached.
        """
        delivery = self._transport.receive([self.names.coordinator], timeout_s)
        if delivery is None:
            return None
        try:
            return Received(_read(delivery.body), delivery)
        except MalformedJson as error:
            self._tell(MessageIgnored(str(error)))
            delivery.acknowledge()
            return None


def metadata_now() -> TaskMetadata:
    """What a task that is made now says of itself."""
    return TaskMetadata(created_at=int(time.time()))


def _read(data: bytes) -> Reply | DecisionTask:
    if b'"reply_type"' in data:
        return replies.load(data)
    task = tasks.load(data)
    if not isinstance(task, DecisionTask):
        raise MalformedJson(f"a {task.task_type} task is not for the coordinator")
    return task
