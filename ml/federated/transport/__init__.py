"""How messages get from one process to another; weights never do.

A queue is durable and has a name. A message is delivered at least once: until it is acknowledged it
belongs to nobody for good, and whoever dies with it leaves it to the next. So everybody who handles
messages does the same for a message that comes twice as for one that comes once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ml.errors import ModelproofError
from ml.federated.tasks import MAX_TASK_BYTES


class TransportError(ModelproofError):
    """The broker cannot be reached, or does not take a message."""


class TransportGone(TransportError):
    """The queues cannot be used any more, however long one waits: who served them has ended."""


class Delivery(Protocol):
    """A message that came, and has not been acknowledged."""

    @property
    def queue(self) -> str:
        """The queue that it came from."""

    @property
    def body(self) -> bytes:
        """The message."""

    def acknowledge(self) -> None:
        """Say that it is dealt with: it will not come again.

        A message whose connection was lost since comes again all the same, and that is no error.
        """

    def requeue(self) -> None:
        """Put it back: it comes again, here or elsewhere."""


class Transport(Protocol):
    """A connection to queues; for one thread at a time."""

    def publish(self, queue: str, body: bytes) -> None:
        """Put a message into a queue, which is made if there is none.

        When this returns, the broker has it, and would still have it if it was restarted.

        Raises:
            TransportError: it has more than MAX_TASK_BYTES, or the broker did not take it in time.
        """

    def receive(self, queues: Sequence[str], timeout_s: float) -> Delivery | None:
        """Wait for a message of one of these queues, which are made if there are none.

        A connection that is lost is made again. Between two calls with the same queues, no message
        of them is held back but at most one that comes first next time.

        As long as a message that came is neither acknowledged nor put back, no other comes.

        Returns:
            None if none came in time.

        Raises:
            TransportError: the broker cannot be reached.
        """

    def close(self) -> None:
        """Give up the connection; what was delivered and not acknowledged comes again."""


def check_size(queue: str, body: bytes) -> None:
    """Refuse to publish what no receiver would read.

    Raises:
        TransportError: the message has more than MAX_TASK_BYTES.
    """
    if len(body) > MAX_TASK_BYTES:
        raise TransportError(
            f"a message for {queue} has {len(body)} bytes, more than {MAX_TASK_BYTES}"
        )


@dataclass(frozen=True, slots=True)
class QueueNames:
    """The names of a training's queues; two trainings have none in common."""

    model: bytes
    """The model's id."""

    def client(self, index: int) -> str:
        """Where a client's tasks are: TRAIN, ROLLBACK and TRAINING_COMPLETE."""
        return f"{self._prefix}.client.{index}"

    def validator(self, address: str) -> str:
        """Where a validator's tasks are: VALIDATE and TRAINING_COMPLETE."""
        return f"{self._prefix}.validator.{address.lower()}"

    @property
    def coordinator(self) -> str:
        """Where replies go, and DECISION."""
        return f"{self._prefix}.coordinator"

    @property
    def _prefix(self) -> str:
        return f"modelproof.{self.model.hex()[:16]}"
