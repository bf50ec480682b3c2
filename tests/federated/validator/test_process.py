"""A validator's loop answers each task once, and one that is killed leaves nothing half done."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml.chain import publishing
from ml.chain.anvil import AnvilNode
from ml.chain.outbox.opening import close_outbox_of
from ml.chain.outbox.queue import SenderQueue
from ml.chain.records import Role
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session
from ml.federated import replies, tasks
from ml.federated.replies import FailureReply
from ml.federated.tasks import (
    DecisionTask,
    FinalMetadata,
    FinalModelInfo,
    TaskMetadata,
    TrainingCompletePayload,
    TrainingCompleteTask,
    TrainingSummary,
)
from ml.federated.transport import QueueNames, Transport, TransportError, TransportGone
from ml.federated.transport.broker import connect
from ml.federated.validator.process import serve
from ml.federated.validator.validator import Validator
from tests.federated.federation import Federation

from .test_validator import account_of, good, told, validator

KILLED = 9


@pytest.fixture
def federation(chain: Session, registry: ModelRegistry, folder: Path) -> Federation:
    return Federation.begin(chain, registry, folder)


@pytest.fixture
def transport() -> Iterator[Transport]:
    found = connect("memory://")
    yield found
    found.close()


@pytest.fixture
def names() -> QueueNames:
    """Of a training of its own: queues in memory are one process's."""
    return QueueNames(uuid.uuid4().bytes * 2)


def complete(federation: Federation) -> bytes:
    info = FinalModelInfo(
        final_model_version_id=1,
        final_accuracy=900_000,
        final_metrics={},
        final_weights_cid="bafkreia",
        training_summary=TrainingSummary(1, 3, 1.0, 1),
        metadata=FinalMetadata({}, {}, "MANUAL"),
    )
    task = TrainingCompleteTask(
        task_id="TRAINING_COMPLETE",
        model=federation.run.model,
        epoch=0,
        iteration=1,
        model_version_id=1,
        parent_version_id=0,
        metadata=TaskMetadata(0),
        payload=TrainingCompletePayload(info),
    )
    return tasks.dump(task)


def end(federation: Federation) -> None:
    """Complete the model by hand."""
    operator = federation.session.account(None, Role.OPERATOR)
    federation.registry.complete(federation.run.model, "enough", sender=operator)


def answers(transport: Transport, names: QueueNames) -> list[bytes]:
    found = []
    while delivery := transport.receive([names.coordinator], 0.2):
        found.append(delivery.body)
        delivery.acknowledge()
    return found


def test_tasks_are_answered_until_training_is_over(
    federation: Federation, transport: Transport, names: QueueNames
) -> None:
    one = validator(federation)
    task = federation.task(federation.round(good(federation)), one.address)
    queue = names.validator(one.address)
    seen: list[Any] = []
    for body in (b"junk", tasks.dump(task), tasks.dump(task), complete(federation)):
        transport.publish(queue, body)

    def tell(done: Any, answer: Any) -> None:
        seen.append((done, answer))
        if len(seen) == 2:
            end(federation)

    serve(one, transport, names, tell)
    first, second = (tasks.load(body) for body in answers(transport, names))
    assert isinstance(first, DecisionTask)
    assert isinstance(second, DecisionTask)
    assert first.payload == second.payload
    assert [done for done, _ in seen] == [task, task]
    assert len(told(federation)) == 1
    assert transport.receive([queue], 0.2) is None


def test_task_that_cannot_be_done_is_answered_with_the_reason(
    federation: Federation, transport: Transport, names: QueueNames
) -> None:
    one = validator(federation)
    version = federation.round(good(federation))
    task = federation.task(version, one.address, blockchain_hash=b"x" * 32)
    transport.publish(names.validator(one.address), tasks.dump(task))
    transport.publish(names.validator(one.address), complete(federation))
    end(federation)
    serve(one, transport, names)
    (answer,) = map(replies.load, answers(transport, names))
    assert isinstance(answer, FailureReply)
    assert "no version 1 with the weights" in answer.reason


def test_task_whose_answer_does_not_arrive_comes_again(
    federation: Federation, transport: Transport, names: QueueNames
) -> None:
    one = validator(federation)
    task = federation.task(federation.round(good(federation)), one.address)
    queue = names.validator(one.address)
    transport.publish(queue, tasks.dump(task))

    class Failing:
        """A broker that goes away before it takes the answer."""

        receive = staticmethod(transport.receive)
        close = staticmethod(transport.close)

        def publish(self, queue: str, body: bytes) -> None:
            raise TransportGone("gone")

    with pytest.raises(TransportGone):
        serve(one, Failing(), names)
    transport.close()
    again = connect("memory://")
    again.publish(queue, complete(federation))
    end(federation)
    try:
        serve(one, again, names)
        (answer,) = map(tasks.load, answers(again, names))
    finally:
        again.close()
    assert isinstance(answer, DecisionTask)
    assert len(told(federation)) == 1


def test_end_that_the_chain_does_not_know_of_is_not_believed(
    federation: Federation, transport: Transport, names: QueueNames
) -> None:
    one = validator(federation)
    task = federation.task(federation.round(good(federation)), one.address)
    for body in (complete(federation), tasks.dump(task), complete(federation)):
        transport.publish(names.validator(one.address), body)
    seen: list[Any] = []

    def tell(done: Any, answer: Any) -> None:
        seen.append(answer)
        end(federation)

    serve(one, transport, names, tell)
    assert len(seen) == 1


def test_broker_that_is_away_for_a_while_is_waited_for(
    federation: Federation, transport: Transport, names: QueueNames
) -> None:
    one = validator(federation)
    task = federation.task(federation.round(good(federation)), one.address)
    transport.publish(names.validator(one.address), tasks.dump(task))
    transport.publish(names.validator(one.address), complete(federation))
    failures = [TransportError("away for a while")]

    class Away:
        """A broker that does not take the first answer."""

        receive = staticmethod(transport.receive)
        close = staticmethod(transport.close)

        def publish(self, queue: str, body: bytes) -> None:
            if failures:
                raise failures.pop()
            transport.publish(queue, body)

    serve(one, Away(), names, lambda _task, _answer: end(federation))
    (answer,) = map(tasks.load, answers(transport, names))
    assert isinstance(answer, DecisionTask)
    assert len(told(federation)) == 1


# --- Killed ---------------------------------------------------------------------------------------


def killed_by(place: Any, name: str, work: Callable[[], object]) -> None:
    """Do something in a child that is killed where it calls this."""
    child = os.fork()
    if child == 0:
        try:
            setattr(place, name, lambda *_, **__: os.kill(os.getpid(), KILLED))
            work()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -KILLED


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (publishing, "validate"),
        (SenderQueue, "wait"),
        (Validator, "_decided"),
    ],
    ids=["before it sends", "once it has sent", "before it answers"],
)
def test_validator_killed_at_any_step_says_it_once(
    federation: Federation, place: Any, name: str
) -> None:
    one = validator(federation)
    task = federation.task(federation.round(good(federation)), one.address)
    close_outbox_of(federation.session.provider, reported=True)
    before = account_of(federation.session).nonce
    killed_by(place, name, lambda: one.handle(task))
    answer = one.handle(task)
    assert isinstance(answer, DecisionTask)
    assert answer.payload.validation_result.passed
    assert len(told(federation)) == 1
    assert account_of(federation.session).nonce == before + 1


def test_validation_that_a_killed_validator_sent_and_no_block_has_is_not_sent_again(
    federation: Federation, node: AnvilNode
) -> None:
    one = validator(federation)
    task = federation.task(federation.round(good(federation)), one.address)
    close_outbox_of(federation.session.provider, reported=True)
    before = account_of(federation.session).nonce
    node.rpc("evm_setAutomine", False)
    mining = threading.Timer(1.0, lambda: node.rpc("evm_mine"))
    try:
        killed_by(SenderQueue, "wait", lambda: one.handle(task))
        assert int(node.rpc("txpool_status")["pending"], 16) == 1
        assert not told(federation)
        mining.start()
        answer = one.handle(task)
    finally:
        mining.cancel()
        node.rpc("evm_setAutomine", True)
    assert isinstance(answer, DecisionTask)
    assert len(told(federation)) == 1
    assert account_of(federation.session).nonce == before + 1
