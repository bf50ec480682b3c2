"""A worker's loop: tasks are acknowledged once they are answered, and nothing is lost between."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from ape.exceptions import ProviderError

from ml.chain.outbox.rpc import NoAnswer
from ml.federated import replies, tasks
from ml.federated.client.serving import serve
from ml.federated.client.worker import is_passing
from ml.federated.replies import AcknowledgementReply, FailureReply, Reply, UpdateReply
from ml.federated.tasks import (
    FinalMetadata,
    FinalModelInfo,
    Task,
    TaskMetadata,
    TrainingCompletePayload,
    TrainingCompleteTask,
    TrainingSummary,
)
from ml.federated.transport import QueueNames, Transport, TransportError, TransportGone
from ml.federated.transport.broker import connect
from ml.storage.errors import MissingRecipient, NoKey, StorageError, WrongContent
from ml.storage.replicas import TooFewReplicas

from .place import Place

WITHIN_S = 120


class Killed(BaseException):
    """The worker's process ended here."""


@dataclass
class Queues:
    """Queues that outlive the worker, as a broker's do: a message is there until acknowledged."""

    names: QueueNames
    waiting: dict[str, deque[bytes]] = field(default_factory=dict)
    fails: int = 0
    """How many of the next calls the broker does not answer."""
    gone_at: str = ""
    """The call from which on there is nobody who would answer."""
    dies_before_acknowledging: bool = False
    later: list[tuple[int, Task]] = field(default_factory=list)
    """For which client which task comes once nothing is left."""

    def put(self, client: int, *sent: Task | bytes) -> None:
        queue = self.waiting.setdefault(self.names.client(client), deque())
        queue.extend(each if isinstance(each, bytes) else tasks.dump(each) for each in sent)

    @property
    def answers(self) -> list[Reply]:
        return [replies.load(body) for body in self.waiting.get(self.names.coordinator, ())]

    def left(self, client: int) -> int:
        return len(self.waiting[self.names.client(client)])

    # Transport

    def publish(self, queue: str, body: bytes) -> None:
        self._try("publish")
        self.waiting.setdefault(queue, deque()).append(body)

    def receive(self, queues: Sequence[str], timeout_s: float) -> Came | None:
        self._try("receive")
        for queue in queues:
            if self.waiting.get(queue):
                return Came(self, queue, self.waiting[queue][0])
        if self.later:
            self.put(*self.later.pop())
        return None

    def close(self) -> None:
        """Nothing is open."""

    def _try(self, call: str) -> None:
        if call == self.gone_at:
            raise TransportGone("the parent process has ended")
        if self.fails:
            self.fails -= 1
            raise TransportError("the broker does not answer")


@dataclass
class Came:
    """A message that came."""

    queues: Queues
    queue: str
    body: bytes

    def acknowledge(self) -> None:
        if self.queues.dies_before_acknowledging:
            raise Killed
        assert self.queues.waiting[self.queue].popleft() == self.body

    def requeue(self) -> None:
        """It has stayed where it was."""


@pytest.fixture
def queues(beginning: Place) -> Queues:
    return Queues(QueueNames(beginning.federation.run.model))


def complete(place: Place) -> TrainingCompleteTask:
    info = FinalModelInfo(
        final_model_version_id=0,
        final_accuracy=0,
        final_metrics={},
        final_weights_cid="",
        training_summary=TrainingSummary(0, 0, 0.0, 0),
        metadata=FinalMetadata({}, {}, "it was enough"),
    )
    state = place.federation.chain.now().state
    return TrainingCompleteTask(
        task_id="over",
        model=place.federation.run.model,
        epoch=state.epoch,
        iteration=state.iteration,
        model_version_id=0,
        parent_version_id=0,
        metadata=TaskMetadata(0),
        payload=TrainingCompletePayload(info),
    )


def empty(queues: Queues, *clients: int) -> Callable[[], bool]:
    """Ends a loop once these clients' queues are empty."""
    return lambda: not any(queues.left(client) for client in clients or (0,))


def test_worker_serves_all_its_clients(beginning: Place, queues: Queues) -> None:
    for client in (0, 1, 2):
        queues.put(client, beginning.train(client))
    serve(beginning.worker(), queues, empty(queues, 0, 1, 2))
    assert sorted(beginning.admitted(each).client for each in queues.answers) == [0, 1, 2]


def test_worker_ends_when_training_is_over_for_one_client(place: Place) -> None:
    """Another worker for the same clients has got what was in the second one's queue."""
    queues = Queues(QueueNames(place.federation.run.model))
    place.complete()
    queues.put(0, complete(place), b"{}")
    serve(place.worker([0, 1]), queues)
    assert queues.left(0) == 0
    assert queues.answers == []


def test_end_that_a_reopening_followed_is_ignored(place: Place) -> None:
    queues = Queues(QueueNames(place.federation.run.model))
    place.complete()
    over = complete(place)
    place.reopen()
    queues.put(0, over)
    queues.later = [(0, place.train(0))]
    serve(place.worker([0]), queues, lambda: bool(queues.answers))
    assert [type(each) for each in queues.answers] == [UpdateReply]


def test_end_that_the_chain_does_not_know_is_ignored(beginning: Place, queues: Queues) -> None:
    queues.put(0, complete(beginning))
    queues.later = [(0, beginning.train(0))]
    serve(beginning.worker([0]), queues, lambda: bool(queues.answers))
    assert [type(each) for each in queues.answers] == [UpdateReply]


def test_message_that_is_no_task_is_ignored(beginning: Place, queues: Queues) -> None:
    queues.put(0, b"{}", beginning.train(0))
    serve(beginning.worker([0]), queues, empty(queues))
    assert [type(each) for each in queues.answers] == [UpdateReply]


def test_task_that_is_no_longer_due_is_gone_without_an_answer(gone_back: Place) -> None:
    queues = Queues(QueueNames(gone_back.federation.run.model))
    queues.put(0, gone_back.train(0, iteration=2))
    serve(gone_back.worker([0]), queues, empty(queues))
    assert queues.answers == []


@pytest.mark.parametrize("call", ["receive", "publish"])
def test_worker_ends_with_the_process_whose_queues_these_are(
    beginning: Place, queues: Queues, call: str
) -> None:
    queues.put(0, beginning.train(0))
    queues.gone_at = call
    with pytest.raises(TransportGone):
        serve(beginning.worker([0]), queues, again_s=0)
    assert queues.left(0) == 1


def test_failure_is_answered(beginning: Place, queues: Queues) -> None:
    queues.put(0, beginning.train(0, base_weights=b"w" * 32))
    serve(beginning.worker([0]), queues, empty(queues))
    assert [type(each) for each in queues.answers] == [FailureReply]


@pytest.mark.parametrize("at", ["storing", "publishing", "acknowledging"])
def test_killed_worker_leaves_the_task_and_the_next_one_sends_the_same(
    beginning: Place, queues: Queues, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    queues.put(0, beginning.train(0))
    with monkeypatch.context() as patch:
        if at == "storing":
            patch.setattr("ml.federated.objects.Objects.put_for", killed)
        if at == "publishing":
            patch.setattr(queues, "publish", killed)
        queues.dies_before_acknowledging = at == "acknowledging"
        with pytest.raises(Killed):
            serve(beginning.worker([0]), queues)
    assert queues.left(0) == 1
    queues.dies_before_acknowledging = False
    serve(beginning.worker([0]), queues, empty(queues))
    sent = {beginning.fetched(answer) for answer in queues.answers}
    assert len(queues.answers) == (2 if at == "acknowledging" else 1)
    assert len(sent) == 1


def test_broker_that_does_not_answer_is_tried_again(beginning: Place, queues: Queues) -> None:
    queues.put(0, beginning.train(0))
    queues.fails = 3
    serve(beginning.worker([0]), queues, empty(queues), again_s=0.01)
    assert [type(each) for each in queues.answers] == [UpdateReply]


@pytest.mark.parametrize(
    "error",
    [
        StorageError("the store has no room"),
        NoAnswer("the node does not answer"),
        ConnectionResetError("the node is gone"),
        ProviderError("the node is gone"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_passes_is_tried_again_and_not_answered(
    beginning: Place, queues: Queues, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    worker, faults = beginning.worker([0]), [error, error]
    handle = worker.handle

    def failing(task: Task, client: int) -> Reply | None:
        if faults:
            raise faults.pop()
        return handle(task, client)

    monkeypatch.setattr(worker, "handle", failing)
    queues.put(0, beginning.train(0))
    serve(worker, queues, empty(queues), again_s=0.01)
    assert [type(each) for each in queues.answers] == [UpdateReply]


def test_worker_that_is_stopped_while_it_tries_leaves_the_task(
    beginning: Place, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, stopped = beginning.worker([0]), threading.Event()

    def failing(*_: object) -> None:
        stopped.set()
        raise StorageError("the store has no room")

    monkeypatch.setattr(worker, "handle", failing)
    queues.put(0, beginning.train(0))
    serve(worker, queues, stopped.is_set, again_s=0.01)
    assert queues.left(0) == 1
    assert queues.answers == []


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (TooFewReplicas("one of two stores answers"), True),
        (TransportError("gone"), True),
        (OSError("gone"), True),
        (NoKey("there is no key"), False),
        (MissingRecipient("it was encrypted for others"), False),
        (WrongContent("a", "b"), False),
        (ValueError("a mistake of ours"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_what_may_pass_is_taken_to_pass(error: Exception, passes: bool) -> None:
    assert is_passing(error) is passes


def test_mistake_in_the_code_ends_the_worker(
    beginning: Place, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object) -> None:
        raise ValueError("a mistake of ours")

    worker = beginning.worker([0])
    monkeypatch.setattr(worker, "handle", mistaken)
    queues.put(0, beginning.train(0))
    with pytest.raises(ValueError, match="a mistake of ours"):
        serve(worker, queues)
    assert queues.left(0) == 1


def test_worker_serves_over_a_real_transport(
    gone_back: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, names = gone_back, QueueNames(gone_back.federation.run.model)
    transport = connect("memory://")
    try:
        for client in (0, 1):
            transport.publish(names.client(client), tasks.dump(place.rollback(client)))
            transport.publish(names.client(client), tasks.dump(place.train(client)))
        handled: list[int] = []
        worker = place.worker([0, 1])
        handle = worker.handle

        def counted(task: Task, client: int) -> Reply | None:
            handled.append(client)
            return handle(task, client)

        monkeypatch.setattr(worker, "handle", counted)
        serve(worker, transport, lambda: len(handled) == 4)
        answers = received(transport, names.coordinator, 4)
    finally:
        transport.close()
    kinds = sorted(type(answer).__name__ for answer in answers)
    assert kinds == 2 * [AcknowledgementReply.__name__] + 2 * [UpdateReply.__name__]


def received(transport: Transport, queue: str, count: int) -> list[Any]:
    found = []
    for _ in range(count):
        delivery = transport.receive([queue], WITHIN_S)
        assert delivery is not None
        found.append(replies.load(delivery.body))
        delivery.acknowledge()
    return found
