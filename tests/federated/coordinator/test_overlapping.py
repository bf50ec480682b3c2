"""Rounds that begin while the version before them is validated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ml.chain.policy import PRESETS
from ml.federated.coordinator.coordinator import Coordinator
from ml.federated.coordinator.journal import RunJournalError
from ml.federated.coordinator.news import News, RoundBegan, RoundGivenUp, RoundOver
from ml.federated.run_configuration import LocalTraining, Privacy
from ml.federated.sampling import RoundKey

from .test_rounds import plain_weights, weights_of
from .world import World, flipped

Make = Callable[..., World]
STRICT = replace(PRESETS["unlimited"], max_drop=20_000, tolerance=5_000)


def begun_and_over(news: list[News]) -> list[tuple[str, int]]:
    """What rounds began and were over, in order, with their iterations."""
    return [
        ("began" if isinstance(each, RoundBegan) else "over", each.iteration)
        for each in news
        if isinstance(each, RoundBegan | RoundOver)
    ]


def test_clients_train_from_a_version_while_it_is_validated(make_world: Make) -> None:
    world = make_world()
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


def test_no_round_begins_before_the_one_that_ends_training_is_judged(make_world: Make) -> None:
    world = make_world(replace(PRESETS["unlimited"], max_iterations=2))
    world.coordinator().run()
    assert begun_and_over(world.news)[-2:] == [("over", 1), ("over", 2)]
    assert [len(client.asked) for client in world.clients] == [2] * 4


def test_round_from_a_version_that_failed_is_forgotten(make_world: Make) -> None:
    world = make_world(STRICT)
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


@pytest.mark.parametrize("reason", ["switched off", "privacy"])
def test_rounds_follow_each_other_where_they_must(make_world: Make, reason: str) -> None:
    local = LocalTraining(epochs=1, batch_size=10, learning_rate=0.1)
    if reason == "privacy":
        local = replace(local, privacy=Privacy(1.0, 1.0, 1e-5))
    world = make_world(local=local)
    context = replace(world.context(), overlaps=reason == "privacy")
    Coordinator(context).run(2)
    assert begun_and_over(world.news) == [("began", 1), ("over", 1), ("began", 2), ("over", 2)]
