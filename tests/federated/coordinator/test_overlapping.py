"""Rounds that begin while the version before them is validated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ml.chain.policy import PRESETS
from ml.errors import NotVerified
from ml.federated.coordinator.coordinator import Coordinator
from ml.federated.coordinator.journal import RunJournalError
from ml.federated.coordinator.news import (
    News,
    RoundBegan,
    RoundGivenUp,
    RoundOver,
    UpdateTurnedDown,
)
from ml.federated.coordinator.taken import read_taken
from ml.federated.run_configuration import LocalTraining, Privacy
from ml.federated.sampling import RoundKey
from ml.storage.retention import UPDATE_FORMAT
from ml.storage.sidecar import Sidecar

from .test_rounds import plain_weights, weights_of
from .world import Killed, World, flipped

Make = Callable[..., World]
STRICT = replace(PRESETS["unlimited"], max_drop=20_000, tolerance=5_000)
PLACE = "objects"


@pytest.fixture
def make_overlapping(make_world: Make) -> Make:
    def make(*arguments: Any, **changes: Any) -> World:
        world = make_world(*arguments, **changes)
        world.overlaps = True
        return world

    return make


def updates_stored(world: World) -> set[str]:
    """The objects of updates, by their sidecars."""
    found = [Sidecar.parse(path.read_bytes()) for path in (world.folder / PLACE).glob("*.json")]
    return {str(one.stored.cid) for one in found if one.payload.format == UPDATE_FORMAT}


def updates_taken(world: World) -> set[str]:
    """Those that the journal has."""
    kept = world.context().journal
    keys = [RoundKey(each.epoch, each.iteration) for each in kept.reports()]
    return {taken.cid for key in keys for taken in kept.taken(key)}


def begun_and_over(news: list[News]) -> list[tuple[str, int]]:
    """What rounds began and were over, in order, with their iterations."""
    return [
        ("began" if isinstance(each, RoundBegan) else "over", each.iteration)
        for each in news
        if isinstance(each, RoundBegan | RoundOver)
    ]


def test_clients_train_from_a_version_while_it_is_validated(make_overlapping: Make) -> None:
    world = make_overlapping()
    world.coordinator().run(3)
    assert begun_and_over(world.news) == [
        ("began", 1),
        ("began", 2),
        ("over", 1),
        ("began", 3),
        ("over", 2),
        ("over", 3),  # it is the last that was asked for
    ]
    assert [len(client.asked) for client in world.clients] == [3] * 4
    assert weights_of(world, 3) == plain_weights(world, 3)


def test_no_round_begins_before_the_one_that_ends_training_is_judged(
    make_overlapping: Make,
) -> None:
    world = make_overlapping(replace(PRESETS["unlimited"], max_iterations=2))
    world.coordinator().run()
    assert begun_and_over(world.news)[-2:] == [("over", 1), ("over", 2)]
    assert [len(client.asked) for client in world.clients] == [2] * 4


def test_round_from_a_version_that_failed_is_forgotten(make_overlapping: Make) -> None:
    world = make_overlapping(STRICT)
    world.coordinator().run(1)
    for client in world.clients:
        client.alter = flipped
    context = world.context()
    model = Coordinator(context).run(2)
    assert model.state.epoch == 2
    early = RoundKey(0, 3)
    assert [(one.epoch, one.iteration) for one in world.told(RoundGivenUp)] == [early.values]
    with pytest.raises(RunJournalError, match="was not begun here"):
        context.journal.begun(early)
    assert context.journal.taken(early) == []
    assert updates_stored(world) == updates_taken(world)


def test_round_that_began_when_training_ended_leaves_nothing(make_overlapping: Make) -> None:
    world = make_overlapping(replace(PRESETS["unlimited"], target_accuracy=1))
    context = world.context()
    assert Coordinator(context).run().state.completed
    assert [(one.epoch, one.iteration) for one in world.told(RoundGivenUp)] == [(0, 2)]
    assert context.journal.rounds() == 1
    assert updates_stored(world) == updates_taken(world)


def test_early_round_is_forgotten_whose_base_failed_while_nobody_was_there(
    make_overlapping: Make,
) -> None:
    world = make_overlapping(STRICT)
    world.coordinator().run(1)
    for client in world.clients:
        client.alter = flipped
    dying = world.context()

    def die(call: str) -> None:
        early = dying.journal.taken(RoundKey(0, 3))
        if call == "receive" and len(early) == len(world.clients):
            raise Killed

    world.transport.before = die
    with pytest.raises(Killed):
        Coordinator(dying).run(2)
    dying.keeping.shutdown()
    dying.journal.close()
    world.transport.before = lambda _: None
    context = world.context()
    assert Coordinator(context).run(1).state.epoch > 0
    assert RoundKey(0, 3) not in context.journal.unmade(99)
    assert context.journal.rounds() == len(context.journal.reports())
    assert updates_stored(world) == updates_taken(world)


def test_early_round_has_its_deadline_from_when_it_is_due(make_overlapping: Make) -> None:
    world = make_overlapping(deadline_s=60)
    context = world.context()

    def validate_slowly(call: str) -> None:
        if call == "receive" and world.chain.now().state.pending:
            world.now += 45  # every few of which would be more than a round has

    world.transport.before = validate_slowly
    Coordinator(context).run(3)
    assert [len(each.clients) for each in world.told(RoundOver)] == [4, 4, 4]
    assert not world.told(UpdateTurnedDown)
    last = context.journal.begun(RoundKey(0, 3))
    assert last.deadline is not None
    assert last.deadline > world.now


def test_client_that_is_excluded_during_an_early_round_sends_in_vain(
    make_overlapping: Make,
) -> None:
    world = make_overlapping()

    world.once(lambda: world.chain.now().state.pending, lambda: world.exclude(2))
    world.coordinator().run(2)
    assert [each.clients for each in world.told(RoundOver)] == [(0, 1, 2, 3), (0, 1, 3)]


@pytest.mark.parametrize("reason", ["not asked for", "privacy"])
def test_rounds_follow_each_other_where_they_must(make_world: Make, reason: str) -> None:
    local = LocalTraining(epochs=1, batch_size=10, learning_rate=0.1)
    if reason == "privacy":
        local = replace(local, privacy=Privacy(1.0, 1.0, 1e-5))
    world = make_world(local=local)
    world.overlaps = reason == "privacy"
    world.coordinator().run(2)
    assert begun_and_over(world.news) == [("began", 1), ("over", 1), ("began", 2), ("over", 2)]


def test_update_from_other_weights_of_the_same_number_is_lost(make_world: Make) -> None:
    """As after a reorganisation, when the version that a round began from was made again."""
    world = make_world()
    world.coordinator().run(1)
    context = world.context()
    (taken, *_) = context.journal.taken(world.first_round)
    base = context.bases.of(0)
    assert read_taken(context, taken, base).taken == taken
    with pytest.raises(NotVerified, match="started from other weights than v0's"):
        read_taken(context, taken, replace(base, weights=b"x" * 32))
