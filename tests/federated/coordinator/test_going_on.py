"""What a training goes on from: too few clients, lost objects, another's version, a dead client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ml.chain.policy import PRESETS
from ml.chain.records import Details
from ml.chain.types import CompletionReason
from ml.errors import ModelproofError
from ml.federated.coordinator import completion
from ml.federated.coordinator.gathering import TooFewClients
from ml.federated.coordinator.news import AskedAgain, MessageIgnored, RoundOver, WentBack
from ml.storage.cid import Cid

from .world import DIVIDED, Killed, World, flipped

Make = Callable[..., World]
STRICT = replace(PRESETS["unlimited"], max_drop=20_000)


def test_clients_that_were_mended_are_asked_again(make_world: Make) -> None:
    world = make_world()
    for client in world.clients[1:]:
        client.fails = True
    with pytest.raises(TooFewClients):
        world.coordinator().run(1)
    for client in world.clients[1:3]:
        client.fails = False
    world.coordinator().run(1)
    assert world.told(RoundOver)[-1].clients == (0, 1, 2)


def test_client_that_is_excluded_is_waited_for_no_longer(make_world: Make) -> None:
    world = make_world()  # without a deadline
    world.clients[3].answers = False

    world.once(lambda: world.clients[3].asked, lambda: world.exclude(3))
    world.coordinator().run(1)
    assert world.told(RoundOver)[0].clients == (0, 1, 2)


def test_rollback_waits_no_longer_for_a_client_that_is_excluded(make_world: Make) -> None:
    world = make_world(STRICT)
    coordinator = world.coordinator()
    coordinator.run(2)
    for client in world.clients:
        client.alter = flipped
    world.clients[3].acknowledges = False

    world.once(lambda: world.clients[3].told, lambda: world.exclude(3))
    coordinator.run(1)
    assert world.told(WentBack)[0].acknowledged == (0, 1, 2)


def test_completion_by_hand_ends_the_wait_for_acknowledgements(make_world: Make) -> None:
    world = make_world(STRICT)
    coordinator = world.coordinator()
    coordinator.run(2)
    for client in world.clients:
        client.alter, client.acknowledges = flipped, False

    world.once(
        lambda: world.clients[0].told,
        lambda: world.registry.complete(world.model, "enough", sender=world.operator),
    )
    assert coordinator.run().state.completed is CompletionReason.MANUAL


def test_clients_that_are_all_silent_are_waited_for_and_reminded(make_world: Make) -> None:
    world = make_world(STRICT, deadline_s=1)
    coordinator = world.coordinator()
    coordinator.run(2)
    for client in world.clients:
        client.alter, client.acknowledges = flipped, False
    coordinator.run(1)
    assert world.told(WentBack)[0].silent == (0, 1, 2, 3)
    for client in world.clients:
        client.alter, client.acknowledges = (lambda base, trained: trained), True
        client.told.clear()

    def pass_time(_: str) -> None:
        world.now += 0.1

    world.transport.before = pass_time
    world.coordinator().run(1)  # started again, it reminds them
    assert all(client.told for client in world.clients)
    assert len(world.told(RoundOver)[-1].clients) >= world.run.min_updates
    assert world.told(AskedAgain)


def killed_after_two_updates(make_world: Make) -> World:
    """A training whose first round a coordinator began that was killed."""
    world = make_world()

    def kill(call: str) -> None:
        if call == "receive" and len(world.context().journal.taken(world.first_round)) == 2:
            raise Killed

    world.transport.before = kill
    with pytest.raises(Killed):
        world.coordinator().run(1)
    world.transport.before = lambda _: None
    return world


def test_lost_update_is_asked_for_again(make_world: Make) -> None:
    world = killed_after_two_updates(make_world)
    (lost, _) = world.context().journal.taken(world.first_round)
    world.places.store.delete(Cid.parse(lost.cid))
    world.coordinator().run(1)
    assert f"the update of client {lost.client} is lost" in world.told(MessageIgnored)[0].reason
    assert world.told(RoundOver)[0].clients == (0, 1, 2, 3)


def test_clients_whose_updates_came_before_a_kill_are_not_asked_again(make_world: Make) -> None:
    world = killed_after_two_updates(make_world)
    came = {one.client for one in world.context().journal.taken(world.first_round)}
    asked = {client.index: len(client.asked) for client in world.clients}
    world.coordinator().run(1)
    again = {each.index for each in world.clients if len(each.asked) > asked[each.index]}
    assert not again & came
    assert not any("is lost" in each.reason for each in world.told(MessageIgnored))
    for taken in world.context().journal.taken(world.first_round):
        assert world.places.sidecars.read(Cid.parse(taken.cid))  # for whoever replays the round


def test_lost_update_stops_no_diagnosis_of_others_and_no_training(make_world: Make) -> None:
    world = make_world(STRICT)
    coordinator = world.coordinator()
    coordinator.run(2)
    for client in world.clients:
        client.alter = flipped

    def lose() -> None:
        known = world.context().journal.round_of(3)
        assert known
        for taken in world.context().journal.taken(known[0]):
            world.places.store.delete(Cid.parse(taken.cid))

    world.once(lambda: world.chain.now().state.pending, lose)
    assert coordinator.run(1).state.epoch == 1
    assert any("cannot be looked into" in each.reason for each in world.told(MessageIgnored))


def test_version_that_somebody_else_registered_is_not_taken_for_ours(make_world: Make) -> None:
    """Made here and not registered, when another takes its number."""
    world = make_world()
    register = type(world.registry).register

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(world.registry), "register", killed)
        with pytest.raises(Killed):
            world.coordinator().run(1)
    register(
        world.registry, world.model, 1, b"x" * 32, Details(0, 1, 0), "{}", sender=world.trainer
    )
    with pytest.raises(ModelproofError, match=r"v1 of .* waits, and was not made by this run"):
        world.coordinator().run(1)
    world.registry.discard(world.model, 1, "not ours", sender=world.operator)
    assert world.coordinator().run(1).state.current == 2


def test_clients_excluded_after_the_round_was_made_open_it_again(make_world: Make) -> None:
    world = make_world(fraction=0.5)
    register = type(world.registry).register
    first: list[int] = []

    def exclude(*arguments: Any, **named: Any) -> object:
        if not first:
            first.extend(one.client for one in world.context().journal.taken(world.first_round))
            for client in first:
                world.exclude(client)
        return register(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(world.registry), "register", exclude)
        world.coordinator().run(1)
    assert len(first) == 2
    assert not set(first) & set(world.told(RoundOver)[0].clients)


def test_final_report_after_a_reopening_is_of_the_new_final_version(make_world: Make) -> None:
    world = make_world()
    coordinator = world.coordinator()
    coordinator.run(1)
    world.registry.complete(world.model, "enough", sender=world.operator)
    context = world.context()
    first = completion.finish(context, coordinator.run(), lambda: DIVIDED.holdout)
    world.registry.reopen(world.model, "more", sender=world.admin)
    coordinator.run(2)
    world.registry.complete(world.model, "enough", sender=world.operator)
    again = completion.finish(context, coordinator.run(), lambda: DIVIDED.holdout)
    assert first.final_model_version_id == 1
    assert again.final_model_version_id == world.chain.now().state.current > 1
