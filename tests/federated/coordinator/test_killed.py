"""A coordinator that is killed at any step goes on from its journal, to the same versions.

A step is a message that is sent, waited for or acknowledged, a write to the journal, an object that
is stored, or a transaction, of which a kill comes right before and right after. Nothing of a killed
coordinator is used again but what is in the journal, the store, the queues and the chain.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

from ml.chain import events
from ml.chain.session import Session
from ml.chain.types import CompletionReason
from ml.federated import tasks
from ml.federated.aggregation import Weights
from ml.federated.coordinator import completion, database
from ml.federated.coordinator.context import Context
from ml.federated.coordinator.coordinator import Coordinator
from ml.federated.tasks import FinalModelInfo
from tests.chain.outbox.agreement import disagreements

from .world import DIVIDED, DROPPING, EXCLUDING, Client, Killed, Message, World, flipped

Make: TypeAlias = Callable[..., World]

ROUNDS = 3
POISONED = 2
"""The round that is rolled back."""
POLICY = replace(DROPPING, max_iterations=ROUNDS)
EVENTS = [
    "ModelCreated",
    *["ClientEnrolled"] * 4,
    *["VersionRegistered", "VersionValidated"] * 2,
    "RolledBackAutomatically",
    "ClientExcluded",
    "VersionRegistered",
    "VersionValidated",
    "ModelCompleted",
]
EVERY = 6
"""Into so many parts the steps are divided that a coordinator is killed at, one by one."""
WRITES = ("BEGIN", "COMMIT", "DELETE", "INSERT", "UPDATE")
SENT = ("register", "exclude_client")
STORED = ("put", "keep_sidecars")


class Fuse:
    """Counts steps, and ends the coordinator at one of them."""

    def __init__(self) -> None:
        self.left = 0
        """Steps until it ends; never if 0."""
        self.steps = 0

    def step(self) -> None:
        self.steps += 1
        self.left -= 1
        if self.left == 0:
            raise Killed

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with a step before it and one after."""

        def stepping(*arguments: Any, **named: Any) -> Any:
            self.step()
            result = function(*arguments, **named)
            self.step()
            return result

        return stepping

    def lay(self, world: World, patch: pytest.MonkeyPatch) -> None:
        """Count the steps of a world's coordinators."""
        fuse = self

        class Watched(sqlite3.Connection):
            def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
                if statement.startswith(WRITES):
                    fuse.step()
                return super().execute(statement, *values)

            def executemany(self, statement: str, *values: Any) -> sqlite3.Cursor:
                fuse.step()
                return super().executemany(statement, *values)

        def connect(*arguments: Any, **named: Any) -> sqlite3.Connection:
            return sqlite3.connect(*arguments, factory=Watched, **named)

        patch.setattr(database, "sqlite3", SimpleNamespace(connect=connect, Error=sqlite3.Error))
        patch.setattr(Message, "acknowledge", self.around(Message.acknowledge))
        for name in SENT:
            patch.setattr(world.registry, name, self.around(getattr(world.registry, name)))
        world.transport.before = lambda _: self.step()


MakeStory: TypeAlias = Callable[[], tuple[World, Fuse]]


@pytest.fixture
def make_story(make_world: Make, monkeypatch: pytest.MonkeyPatch) -> MakeStory:
    """A training of three rounds, the second of which is rolled back for one client's update."""

    def make() -> tuple[World, Fuse]:
        monkeypatch.undo()
        world, fuse = make_world(POLICY, **EXCLUDING), Fuse()
        world.overlaps = True
        world.clients[2].alter = spoiling(world.clients[2])
        fuse.lay(world, monkeypatch)
        return world, fuse

    return make


def spoiling(client: Client) -> Callable[[Weights, Weights], Weights]:
    def alter(base: Weights, trained: Weights) -> Weights:
        is_due = client.asked[-1].iteration == POISONED
        return flipped(base, trained) if is_due else trained

    return alter


@contextmanager
def process(world: World, fuse: Fuse) -> Iterator[Context]:
    """What a process has that is a coordinator; at its end its files are closed."""
    context = world.context()
    objects: Any = context.objects
    for name in STORED:
        setattr(objects, name, fuse.around(getattr(objects, name)))
    try:
        yield context
    finally:
        context.journal.close()


def live(world: World, fuse: Fuse, steps: int) -> FinalModelInfo | None:
    """Be a coordinator for so many steps; returns the final report if training is over with it."""
    fuse.left = steps
    try:
        with process(world, fuse) as context:
            model = Coordinator(context).run()
            assert model.state.completed is CompletionReason.MAX_ITERATIONS
            return completion.finish(context, model, lambda: DIVIDED.holdout)
    except Killed:
        return None


def story(world: World, final: FinalModelInfo) -> dict[str, Any]:
    """What is on record at the end, and in the journal, but for what is random or of the clock."""
    told = events.read(world.registry, model=world.model)
    fuse = Fuse()
    with process(world, fuse) as context:
        kept = context.journal
        reports = [
            (each.iteration, each.version, each.base, each.clients, each.accuracy_ppm, each.verdict)
            for each in kept.reports()
        ]
        rounds = [(each.epoch, each.iteration) for each in kept.reports()]
        diagnoses = [kept.diagnoses(version) for version in range(1, ROUNDS + 1)]
        return {
            "events": [event.name for event in told],
            "weights": [one.weights for one in events.registered(told)],
            "active": context.chain.now().active_clients,
            "reports": reports,
            "diagnoses": diagnoses,
            "final": (final.final_model_version_id, final.final_accuracy),
            "rounds": final.training_summary.total_rounds,
            "acknowledged": kept.acknowledged(1),
            "tasks": Counter(
                task.task_type
                for (body,) in kept._rows("SELECT body FROM tasks")
                # for a round whose base failed, clients are asked only if there is the time
                if (task := tasks.load(body)).task_type != "TRAIN"
                or (task.epoch, task.iteration) in rounds
            ),
        }


def test_coordinator_that_is_killed_again_and_again_ends_where_an_undisturbed_one_does(
    make_story: MakeStory, chain: Session
) -> None:
    """Each time it comes one step farther than the time before, from where it was begun again."""
    undisturbed, steps = whole(make_story)
    world, fuse = make_story()
    final, lives = None, 0
    while final is None:
        lives += 1
        final = live(world, fuse, lives)
    assert lives > ROUNDS
    assert sum(range(lives)) > steps
    assert story(world, final) == undisturbed
    assert not disagreements(chain.outbox, world.registry)


@pytest.mark.long
@pytest.mark.parametrize("first", range(1, EVERY + 1))
def test_coordinator_that_is_killed_at_any_step_ends_where_an_undisturbed_one_does(
    make_story: MakeStory, chain: Session, first: int
) -> None:
    undisturbed, steps = whole(make_story)
    for step in range(first, steps, EVERY):
        world, fuse = make_story()
        assert not live(world, fuse, step)
        final = live(world, fuse, 0)
        assert final
        assert story(world, final) == undisturbed, f"killed at step {step}"
    assert not disagreements(chain.outbox, world.registry)


def whole(make_story: MakeStory) -> tuple[dict[str, Any], int]:
    """How an undisturbed training ends, and how many steps it takes."""
    world, fuse = make_story()
    final = live(world, fuse, 0)
    assert final
    steps = fuse.steps
    found = story(world, final)
    assert found["events"] == EVENTS
    assert found["acknowledged"] == {0, 1, 3}
    # for the round after it before the poisoned version failed, and never again
    asked = [(task.epoch, task.iteration) for task in world.clients[2].asked]
    assert asked == [(0, 1), (0, POISONED), (0, POISONED + 1)]
    return found, steps
