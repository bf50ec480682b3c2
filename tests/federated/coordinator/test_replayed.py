"""What a coordinator has made, with rollbacks and exclusions, is made again by replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ml.chain.policy import PRESETS
from ml.federated.coordinator.news import ClientExcluded
from ml.federated.objects import Objects
from ml.federated.replay import Outcome, replay
from ml.federated.run_configuration import DiagnosisSettings
from ml.federated.server_optimizers import FedAvgM
from ml.storage.retention import Retention

from .world import World, flipped

STRICT = replace(PRESETS["unlimited"], max_drop=20_000, tolerance=5_000)


def test_training_with_a_rollback_and_an_exclusion_is_the_same_again(
    make_world: Callable[..., World],
) -> None:
    world = make_world(
        STRICT, rule=FedAvgM(0.1), fraction=0.9, diagnosis=DiagnosisSettings(exclude=True)
    )
    world.coordinator().run(2)
    world.clients[2].alter = flipped
    for _ in range(8):
        world.coordinator().run(1)
        if world.told(ClientExcluded):
            break
    model = world.coordinator().run(1)
    assert [one.client for one in world.told(ClientExcluded)] == [2]
    assert model.state.epoch > 0
    objects = Objects(world.places, [world.coordinator_key])
    found = replay(world.registry, world.model, objects, retention=Retention())
    assert [(one.outcome, one.reason) for one in found] == [
        (Outcome.REPLAYED, "") for _ in range(model.state.latest)
    ]
    assert found[0].clients == 3
    assert found[-1].clients == 2  # of the three that are left
