"""A client that was excluded and then reinstated by hand takes part again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ml.chain.policy import PRESETS
from ml.federated.coordinator.news import RoundOver
from ml.federated.run_configuration import DiagnosisSettings, LocalTraining

from .world import World, flipped


def test_culprit_that_was_reinstated_is_not_excluded_for_the_same_round_again(
    make_world: Callable[..., World],
) -> None:
    world = make_world(
        replace(PRESETS["unlimited"], max_drop=20_000),
        local=LocalTraining(epochs=3, batch_size=10, learning_rate=0.1),
        diagnosis=DiagnosisSettings(exclude=True),
    )
    coordinator = world.coordinator()
    coordinator.run(1)
    world.clients[2].alter = flipped
    assert coordinator.run(1).active_clients == 0b1011
    world.clients[2].alter = lambda base, trained: trained
    world.registry.reinstate_client(world.model, 2, "mended", sender=world.operator)
    model = world.coordinator().run(1)
    assert model.active_clients == 0b1111
    assert world.told(RoundOver)[-1].clients == (0, 1, 2, 3)
