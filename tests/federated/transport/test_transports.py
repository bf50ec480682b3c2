"""What every transport does alike: within a process, through a parent's pipe, and over RabbitMQ."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from ml.federated.tasks import MAX_TASK_BYTES
from ml.federated.transport import Delivery, Transport, TransportError
from ml.federated.transport.broker import connect
from ml.federated.transport.child import ParentTransport, Relay

WAIT_S = 60.0
"""Longer than anything takes; what is waited for ends it."""
NOTHING_S = 0.3
"""Long enough for a message that should not come, and short enough to wait for."""

Opener = Callable[[], Transport]


@pytest.fixture(params=["memory", "relay", "rabbitmq"])
def opened(request: pytest.FixtureRequest) -> Iterator[Opener]:
    """Opens connections to one and the same broker, which are closed at the end."""
    url = "memory://"
    if request.param == "rabbitmq":
        url = request.getfixturevalue("rabbitmq").url
    with ExitStack() as stack:

        def open_one() -> Transport:
            transport = connect(url)
            if request.param == "relay":
                return stack.enter_context(relayed(transport))
            return stack.enter_context(closing(transport))

        yield open_one


@contextmanager
def relayed(transport: Transport) -> Iterator[Transport]:
    """What a child has of its parent's connection, both in this process."""
    child, parent = socket.socketpair()

    def serve() -> None:
        with closing(transport), parent:
            Relay(parent, transport).run()

    thread = threading.Thread(target=serve)
    thread.start()
    with closing(ParentTransport(child)) as relay:
        yield relay
    thread.join()


@pytest.fixture
def queue() -> str:
    """A queue that no other test has."""
    return f"test.{uuid.uuid4().hex}"


def received(transport: Transport, *queues: str) -> Delivery:
    delivery = transport.receive(queues, WAIT_S)
    assert delivery is not None
    return delivery


def test_message_comes_byte_for_byte(opened: Opener, queue: str) -> None:
    bodies = [b"", bytes(range(256)), "Größe".encode(), b"\xce" * MAX_TASK_BYTES]
    sender, receiver = opened(), opened()
    for body in bodies:
        sender.publish(queue, body)
    for body in bodies:
        delivery = received(receiver, queue)
        assert (delivery.queue, delivery.body) == (queue, body)
        delivery.acknowledge()


def test_message_that_is_too_large_is_refused(opened: Opener, queue: str) -> None:
    transport = opened()
    with pytest.raises(TransportError, match=rf"{MAX_TASK_BYTES + 1} bytes, more than"):
        transport.publish(queue, bytes(MAX_TASK_BYTES + 1))
    assert transport.receive([queue], NOTHING_S) is None


def test_waiting_receiver_is_woken_by_the_message(opened: Opener, queue: str) -> None:
    sender, receiver = opened(), opened()
    assert receiver.receive([queue], 0) is None
    thread = threading.Timer(NOTHING_S, sender.publish, (queue, b"now"))
    thread.start()
    assert received(receiver, queue).body == b"now"
    thread.join()


def test_nothing_is_received_where_nothing_was_sent(opened: Opener, queue: str) -> None:
    sender, receiver = opened(), opened()
    sender.publish(f"{queue}.other", b"not for it")
    assert receiver.receive([queue], NOTHING_S) is None


def test_acknowledged_message_does_not_come_again(opened: Opener, queue: str) -> None:
    first = opened()
    first.publish(queue, b"once")
    delivery = received(first, queue)
    delivery.acknowledge()
    delivery.acknowledge()
    first.close()
    assert opened().receive([queue], NOTHING_S) is None


def test_unacknowledged_message_comes_again_after_close(opened: Opener, queue: str) -> None:
    first = opened()
    first.publish(queue, b"left behind")
    delivery = received(first, queue)
    first.close()
    delivery.acknowledge()  # too late, and no error
    again = received(opened(), queue)
    assert again.body == b"left behind"


def test_requeued_message_comes_again(opened: Opener, queue: str) -> None:
    transport = opened()
    transport.publish(queue, b"later")
    received(transport, queue).requeue()
    again = received(transport, queue)
    assert again.body == b"later"
    again.acknowledge()
    assert transport.receive([queue], NOTHING_S) is None


def test_busy_receiver_leaves_the_next_messages_to_another(opened: Opener, queue: str) -> None:
    busy, free = opened(), opened()
    assert busy.receive([queue], 0) is None
    free.publish(queue, b"0")
    first = received(busy, queue)
    assert free.receive([queue], 0) is None
    for number in (b"1", b"2", b"3"):
        free.publish(queue, number)
    for number in (b"1", b"2", b"3"):
        delivery = received(free, queue)
        assert delivery.body == number
        delivery.acknowledge()
    first.acknowledge()


def test_second_message_waits_until_the_first_is_dealt_with(opened: Opener, queue: str) -> None:
    transport = opened()
    transport.publish(queue, b"first")
    transport.publish(queue, b"second")
    first = received(transport, queue)
    assert transport.receive([queue], NOTHING_S) is None
    first.acknowledge()
    assert received(transport, queue).body == b"second"


def test_only_the_queues_of_the_last_call_are_received_from(opened: Opener, queue: str) -> None:
    names = [f"{queue}.{index}" for index in range(3)]
    transport = opened()
    assert transport.receive(names, 0) is None
    for name in names:
        transport.publish(name, name.encode())
    assert received(transport, names[1]).body == names[1].encode()


def test_message_that_came_for_a_queue_given_up_goes_to_another(opened: Opener, queue: str) -> None:
    first, second = opened(), opened()
    assert first.receive([queue], 0) is None
    second.publish(queue, b"already on its way to the first")
    assert first.receive([f"{queue}.other"], 0) is None
    assert received(second, queue).body == b"already on its way to the first"


def test_one_receiver_serves_a_thousand_queues(opened: Opener, queue: str) -> None:
    names = [f"{queue}.{index}" for index in range(1_000)]
    sender, receiver = opened(), opened()
    assert receiver.receive(names, 0) is None
    wanted = {names[0], names[500], names[999]}
    for name in wanted:
        sender.publish(name, name.encode())
    found = set()
    for _ in wanted:
        delivery = received(receiver, *names)
        assert delivery.body == delivery.queue.encode()
        found.add(delivery.queue)
        delivery.acknowledge()
    assert found == wanted


def test_messages_of_many_senders_come_to_many_receivers_once(opened: Opener, queue: str) -> None:
    messages = {f"{sender}.{number}".encode() for sender in range(4) for number in range(25)}
    senders, receivers = [opened() for _ in range(4)], [opened() for _ in range(3)]
    found: list[bytes] = []

    def send(index: int) -> None:
        for number in range(25):
            senders[index].publish(queue, f"{index}.{number}".encode())

    def take(index: int) -> None:
        while (delivery := receivers[index].receive([queue], WAIT_S)) is not None:
            delivery.acknowledge()
            if delivery.body == b"end":
                receivers[index].close()  # or a broker sends it the next one, for nobody to take
                return
            found.append(delivery.body)

    threads = [threading.Thread(target=send, args=(index,)) for index in range(4)]
    takers = [threading.Thread(target=take, args=(index,)) for index in range(3)]
    for thread in takers + threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in takers:
        senders[0].publish(queue, b"end")
    for thread in takers:
        thread.join()
    assert sorted(found) == sorted(messages)


def test_closed_transport_says_that_it_is_closed(opened: Opener, queue: str) -> None:
    transport = opened()
    transport.close()
    transport.close()
    with pytest.raises(TransportError, match="closed"):
        transport.publish(queue, b"too late")
