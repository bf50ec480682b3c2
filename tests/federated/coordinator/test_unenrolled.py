"""Clients too many for the chain: excluded and taken back while a coordinator is at work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from ml.federated import run_configuration
from ml.federated.coordinator.news import ClientExcluded, RoundOver, UpdateTurnedDown
from tests.e2e.shell import ROOT

from .world import DROPPING, EXCLUDING, World, flipped

Make = Callable[..., World]
BY_HAND = """
import sys
from pathlib import Path
from ml.federated.coordinator.journal import RunJournal

journal = RunJournal(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]))
assert eval(sys.argv[3])
"""


@pytest.fixture(autouse=True)
def _four_clients_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_configuration, "MAX_ON_CHAIN", 3)


def by_hand(world: World, call: str) -> None:
    """Have another process call a method of the run's journal."""
    path, run = world.folder / "journal.sqlite", world.run.digest.hex()
    command = [sys.executable, "-c", BY_HAND, str(path), run, f"journal.{call}"]
    subprocess.run(command, cwd=ROOT, check=True)


def test_running_coordinator_sees_what_another_process_excludes_and_reinstates(
    make_world: Make,
) -> None:
    world = make_world()
    coordinator = world.coordinator()
    coordinator.run(1)
    world.clients[2].answers = False

    world.once(
        lambda: any(len(one.asked) == 2 for one in world.clients),
        lambda: by_hand(world, "exclude(2, 'silent', 'operator', 2)"),
    )
    coordinator.run(2)
    by_hand(world, "reinstate(2, 'mended', 'operator')")
    world.clients[2].answers = True
    coordinator.run(1)
    rest, everybody = (0, 1, 3), (0, 1, 2, 3)
    rounds = [one.clients for one in world.told(RoundOver)]
    assert rounds == [everybody, rest, rest, everybody]
    assert len(world.clients[2].asked) == 3


def test_culprit_that_was_reinstated_is_not_excluded_for_the_same_round_again(
    make_world: Make,
) -> None:
    world = make_world(DROPPING, **EXCLUDING)
    coordinator = world.coordinator()
    coordinator.run(1)
    world.clients[2].alter = flipped
    coordinator.run(1)
    journal = world.context().journal
    assert journal.excluded() == {2}
    reason, who = journal.standings()[2]
    assert (reason[:3], who) == ("v2:", str(world.operator.address))
    world.clients[2].alter = lambda base, trained: trained
    by_hand(world, "reinstate(2, 'mended', 'operator')")
    world.coordinator().run(2)  # in the first, it comes back after the rollback
    assert len(world.told(ClientExcluded)) == 1
    assert world.told(RoundOver)[-1].clients == (0, 1, 2, 3)


def test_client_that_is_excluded_during_an_early_round_sends_in_vain(make_world: Make) -> None:
    world = make_world()
    world.overlaps = True
    world.once(
        lambda: world.chain.now().state.pending,
        lambda: by_hand(world, "exclude(2, 'sends noise', 'operator', 2)"),
    )
    world.coordinator().run(2)
    assert [(one.client, one.reason) for one in world.told(UpdateTurnedDown)] == [
        (2, "it is excluded")
    ]
    assert [each.clients for each in world.told(RoundOver)] == [(0, 1, 2, 3), (0, 1, 3)]
