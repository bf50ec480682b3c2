"""What an operator does by hand while a coordinator is at work."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ml.chain.types import Verdict
from ml.federated.coordinator.judging import NobodyValidates
from ml.federated.coordinator.news import RoundOver, WentBack
from ml.federated.objects import Objects

from .world import DROPPING, EXCLUDING, World, flipped


def test_culprit_that_was_reinstated_is_not_excluded_for_the_same_round_again(
    make_world: Callable[..., World],
) -> None:
    world = make_world(DROPPING, **EXCLUDING)
    coordinator = world.coordinator()
    coordinator.run(1)
    world.clients[2].alter = flipped
    assert coordinator.run(1).active_clients == 0b1011
    world.clients[2].alter = lambda base, trained: trained
    world.registry.reinstate_client(world.model, 2, "mended", sender=world.operator)
    again = world.coordinator()
    assert again.run(1).active_clients == 0b1111
    assert again.run(1).active_clients == 0b1111
    assert world.told(RoundOver)[-1].clients == (0, 1, 2, 3)


def test_version_that_is_discarded_while_its_validator_measures_ends_its_round_only(
    make_world: Callable[..., World],
) -> None:
    """The validator then says that it cannot judge it, which nobody has to do any more."""
    world = make_world()
    coordinator = world.coordinator()
    coordinator.run(2)

    world.once(
        lambda: world.chain.now().state.pending,
        lambda: world.registry.rollback(world.model, 1, "a bad feeling", sender=world.operator),
    )
    coordinator.run(1)
    assert world.told(RoundOver)[-1].verdict is Verdict.NONE
    assert world.told(WentBack)[0].acknowledged == (0, 1, 2, 3)
    assert coordinator.run(1).state.current == 4


def test_validator_that_was_mended_is_asked_again(make_world: Callable[..., World]) -> None:
    """What it said before does not come again to whoever goes on."""
    world = make_world()
    validator = world.validator
    objects = validator._objects
    validator._objects = Objects(world.places, [])  # type: ignore[misc]
    with pytest.raises(NobodyValidates):
        world.coordinator().run(1)
    validator._objects = objects  # type: ignore[misc]
    assert world.coordinator().run(1).state.current == 1
