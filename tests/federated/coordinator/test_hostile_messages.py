"""What anybody who reaches the coordinator's queue can put there, and what comes of it: nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ml.federated import replies
from ml.federated.coordinator.news import MessageIgnored, RoundOver, UpdateTurnedDown
from ml.federated.replies import FailureReply, UpdateReply
from ml.federated.transport import QueueNames
from ml.training.canonical import MalformedJson

from .world import World

Make = Callable[..., World]


def put(world: World, body: bytes) -> None:
    """Put a message into the coordinator's queue before it looks there."""
    world.transport.queues[QueueNames(world.model).coordinator].appendleft(body)


def first_update(world: World) -> UpdateReply:
    """What client 0 answers in the first round, which nobody has seen."""
    other = world.coordinator()
    seen: list[UpdateReply] = []
    client, answer = world.clients[0], world.update

    def keep(*arguments: Any, **named: Any) -> UpdateReply:
        seen.append(answer(*arguments, **named))
        return seen[-1]

    world.update = keep
    other.run(1)
    world.update = answer
    return next(each for each in seen if each.client_id == client.index)


GARBAGE = UpdateReply("task", 2**32 - 1, "nonsense", "{}", "garbage", 0.0, 0.0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        replies.dump(GARBAGE),
        replies.dump(FailureReply("task", "0x12", "I am nobody")),
    ],
)
def test_message_that_makes_no_sense_is_dealt_with_once(make_world: Make, body: bytes) -> None:
    world = make_world()
    put(world, body)
    assert world.coordinator().run(1).state.latest == 1
    assert not world.transport.queues[QueueNames(world.model).coordinator]


def test_number_beyond_those_of_the_chain_is_no_reply() -> None:
    text = replies.dump(GARBAGE).replace(b"4294967295", str(2**70).encode())
    with pytest.raises(MalformedJson, match="the UPDATE reply cannot be used"):
        replies.load(text)


def test_signed_update_that_names_no_object_blames_nobody(make_world: Make) -> None:
    """Whoever copies what a client signed cannot have it kept out of the round."""
    world = make_world()
    answer = world.update

    def copied(*arguments: Any, **named: Any) -> UpdateReply:
        reply = answer(*arguments, **named)
        if not world.told(UpdateTurnedDown):
            world.transport.queues[QueueNames(world.model).coordinator].append(
                replies.dump(replace(reply, update_cid="nonsense"))
            )
        return reply

    world.update = copied
    world.coordinator().run(1)
    refused = world.told(UpdateTurnedDown)
    assert {each.refusal for each in refused} == {"unavailable"}
    assert world.told(RoundOver)[0].clients == (0, 1, 2, 3)


def test_update_of_an_earlier_round_is_refused_and_nobody_waited_for_less(
    make_world: Make,
) -> None:
    world = make_world()
    old = first_update(world)
    put(world, replies.dump(old))
    world.coordinator().run(1)
    assert world.told(UpdateTurnedDown)[-1].refusal == "replayed"
    assert world.told(RoundOver)[-1].clients == (0, 1, 2, 3)


def test_acknowledgement_of_no_rollback_changes_nothing(make_world: Make) -> None:
    world = make_world()
    forged = replies.AcknowledgementReply(
        "task", 0, world.model, 7, 1, b"w" * 32, b"r" * 32, b"v" * 32
    )
    put(world, replies.dump(forged))
    world.coordinator().run(1)
    assert "an acknowledgement is not taken" in world.told(MessageIgnored)[0].reason
    assert world.context().journal.acknowledged(7) == set()
