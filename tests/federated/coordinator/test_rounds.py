"""Rounds as a coordinator runs them, on a real chain and a real store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ml.chain.policy import PRESETS
from ml.chain.types import CompletionReason, Verdict
from ml.federated import tasks, version_files
from ml.federated.coordinator.gathering import TooFewClients
from ml.federated.coordinator.judging import NobodyValidates
from ml.federated.coordinator.news import (
    ClientExcluded,
    ClientFailed,
    RoundDiagnosed,
    RoundGivenUp,
    RoundOver,
    UpdateCame,
    UpdateTurnedDown,
    WentBack,
)
from ml.federated.plain import PlainTask, PlainTraining
from ml.federated.run_configuration import DiagnosisSettings
from ml.federated.server_optimizers import FedAvgM
from ml.federated.tasks import TrainTask
from ml.federated.transport import QueueNames

from .world import DIVIDED, World, flipped, not_finite

Make = Callable[..., World]
UNLIMITED = PRESETS["unlimited"]
STRICT = replace(UNLIMITED, max_drop=20_000, tolerance=5_000)


def plain_weights(world: World, rounds: int) -> bytes:
    """The identity of what rounds without provenance make."""
    run = world.run
    task = PlainTask(
        run.architecture,
        run.local,
        run.rule,
        run.seed,
        run.fraction,
        DIVIDED.clients,
        DIVIDED.validation,
    )
    with PlainTraining(task) as training:
        for _ in range(rounds):
            training.advance(training.updates())
        return version_files.dump(training.weights, training.state, run.rule).weights


def weights_of(world: World, version: int) -> bytes:
    known = world.context().journal.round_of(version)
    assert known
    return known[1].weights


def test_rounds_make_the_same_weights_as_without_provenance(make_world: Make) -> None:
    world = make_world()
    model = world.coordinator().run(3)
    assert (model.state.current, model.state.latest, model.state.iteration) == (3, 3, 3)
    assert weights_of(world, 3) == plain_weights(world, 3)


def test_version_names_its_updates_their_clients_and_its_object(make_world: Make) -> None:
    world = make_world()
    world.coordinator().run(1)
    record = world.chain.registration(1, weights_of(world, 1))
    details = record.details
    assert (details.contributors, details.iteration, details.epoch) == (0b1111, 1, 0)
    assert any(details.updates)
    assert any(details.object)
    assert any(details.content)
    assert '"run_sha256":"' + world.run.digest.hex() in record.metadata


def test_rule_with_a_memory_goes_on_from_that_of_the_version(make_world: Make) -> None:
    world = make_world(rule=FedAvgM(0.9))
    world.coordinator().run(1)
    world.coordinator().run(1)  # which has to read the memory from the store
    assert weights_of(world, 2) == plain_weights(world, 2)


def test_share_of_the_clients_takes_part_in_each_round(make_world: Make) -> None:
    world = make_world(fraction=0.5)
    world.coordinator().run(4)
    rounds = world.told(RoundOver)
    assert [len(each.clients) for each in rounds] == [2, 2, 2, 2]
    assert len({each.clients for each in rounds}) > 1


def test_round_goes_on_without_a_client_that_fails(make_world: Make) -> None:
    world = make_world()
    world.clients[1].fails = True
    world.coordinator().run(1)
    assert world.told(ClientFailed) == [ClientFailed("client 1", "no data")]
    assert world.told(RoundOver)[0].clients == (0, 2, 3)


def test_another_client_is_asked_where_too_few_can_train(make_world: Make) -> None:
    world = make_world(fraction=0.5)
    coordinator = world.coordinator()
    for client in world.clients:
        client.fails = True
    with pytest.raises(TooFewClients, match="needs 2 updates and 0 clients can train"):
        coordinator.run(1)
    assert all(client.asked for client in world.clients)


def test_round_is_aggregated_at_its_deadline_without_those_who_are_silent(
    make_world: Make,
) -> None:
    world = make_world(deadline_s=60)
    world.clients[0].answers = False

    def pass_time(call: str) -> None:
        world.now += 31 if call == "receive" and len(world.told(UpdateCame)) == 3 else 0

    world.transport.before = pass_time
    world.coordinator().run(1)
    assert world.told(RoundOver)[0].clients == (1, 2, 3)


def test_update_that_is_not_finite_is_refused_and_the_round_goes_on_without_its_client(
    make_world: Make,
) -> None:
    world = make_world()
    world.clients[2].alter = not_finite
    world.coordinator().run(1)
    assert [(each.client, each.refusal) for each in world.told(UpdateTurnedDown)] == [
        (2, "non-finite")
    ]
    assert world.told(RoundOver)[0].clients == (0, 1, 3)
    assert world.context().journal.refusals()[0][:4] == (0, 1, 2, "non-finite")


def test_severe_drop_goes_back_and_all_clients_acknowledge(make_world: Make) -> None:
    world = make_world(STRICT)
    coordinator = world.coordinator()
    coordinator.run(3)
    for client in world.clients:
        client.alter = flipped
    model = coordinator.run(1)
    assert world.told(RoundOver)[-1].verdict is Verdict.SEVERE_DROP
    assert (model.state.epoch, model.state.latest) == (1, 4)
    (back,) = world.told(WentBack)
    assert (back.target, back.acknowledged, back.silent) == (model.state.current, (0, 1, 2, 3), ())
    for client in world.clients:
        client.alter = lambda base, trained: trained
    assert coordinator.run(1).state.latest == 5
    assert world.told(RoundOver)[-1].base == model.state.current


def test_client_that_stays_silent_after_a_rollback_takes_no_part_until_it_acknowledges(
    make_world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(STRICT, deadline_s=1)
    coordinator = world.coordinator()
    coordinator.run(3)
    for client in world.clients:
        client.alter = flipped
    world.clients[3].acknowledges = False
    coordinator.run(1)
    assert world.told(WentBack)[0].silent == (3,)
    for client in world.clients:
        client.alter = lambda base, trained: trained
    coordinator.run(1)
    assert world.told(RoundOver)[-1].clients == (0, 1, 2)
    client = world.clients[3]
    late = world.acknowledgement(client, client.told[-1])
    from ml.federated import replies

    queue = QueueNames(world.model).coordinator
    world.transport.queues[queue].append(replies.dump(late))
    coordinator.run(1)
    coordinator.run(1)
    assert world.told(RoundOver)[-1].clients == (0, 1, 2, 3)


def test_acknowledgement_that_another_signed_does_not_count(make_world: Make) -> None:
    world = make_world(STRICT, deadline_s=1)
    coordinator = world.coordinator()
    coordinator.run(3)
    for client in world.clients:
        client.alter = flipped
    world.clients[3].acknowledges_as = world.clients[0].account
    coordinator.run(1)
    assert world.told(WentBack)[0].silent == (3,)


def test_poisoner_and_nobody_else_is_excluded_after_a_rollback(make_world: Make) -> None:
    world = make_world(STRICT, diagnosis=DiagnosisSettings(exclude=True))
    coordinator = world.coordinator()
    coordinator.run(5)
    world.clients[2].alter = flipped
    model = coordinator.run(1)
    assert [each.client for each in world.told(ClientExcluded)] == [2]
    assert model.active_clients == 0b1011
    coordinator.run(1)
    assert world.told(RoundOver)[-1].clients == (0, 1, 3)


def test_diagnosis_names_the_culprit_and_excludes_nobody_unless_told_to(make_world: Make) -> None:
    world = make_world(STRICT)
    coordinator = world.coordinator()
    coordinator.run(5)
    world.clients[2].alter = flipped
    model = coordinator.run(1)
    (told,) = world.told(RoundDiagnosed)
    assert [each.client for each in told.diagnosis.culprits] == [2]
    assert model.active_clients == 0b1111


def test_each_round_since_the_best_is_looked_into_where_patience_was_exhausted(
    make_world: Make,
) -> None:
    world = make_world(replace(UNLIMITED, patience=2))
    coordinator = world.coordinator()
    coordinator.run(3)
    for client in world.clients[:2]:
        client.alter = flipped
    while not world.told(WentBack):
        coordinator.run(1)
    rounds = world.told(RoundOver)
    assert rounds[-1].verdict is Verdict.PATIENCE_EXHAUSTED
    since = [each.iteration for each in rounds if each.version > world.told(WentBack)[0].target]
    assert len(since) >= 2
    assert [each.iteration for each in world.told(RoundDiagnosed)] == since[::-1]


def test_rollback_by_hand_in_the_middle_of_a_round_gives_the_round_up(make_world: Make) -> None:
    world = make_world()
    coordinator = world.coordinator()
    coordinator.run(3)

    def roll_back(call: str) -> None:
        if call == "publish":
            world.transport.before = lambda _: None
            world.registry.rollback(world.model, 1, "a bad feeling", sender=world.operator)

    world.transport.before = roll_back
    model = coordinator.run(1)
    assert len(world.told(RoundGivenUp)) == 1
    (back,) = world.told(WentBack)
    assert (back.target, back.reason) == (1, "a bad feeling")
    assert world.told(RoundOver)[-1].base == 1
    assert model.state.epoch == 1


def test_completion_by_hand_in_the_middle_of_a_round_ends_the_training(make_world: Make) -> None:
    world = make_world()
    coordinator = world.coordinator()
    coordinator.run(1)

    def complete(call: str) -> None:
        if call == "publish":
            world.transport.before = lambda _: None
            world.registry.complete(world.model, "enough", sender=world.operator)

    world.transport.before = complete
    assert coordinator.run().state.completed is CompletionReason.MANUAL


def test_client_excluded_before_the_registration_is_left_out_of_the_version(
    make_world: Make,
) -> None:
    world = make_world()

    def exclude(call: str) -> None:
        if call == "receive" and len(world.told(UpdateCame)) == 3:
            world.transport.before = lambda _: None
            first = world.told(UpdateCame)[0].client
            world.registry.exclude_client(world.model, first, "left", sender=world.operator)

    world.transport.before = exclude
    model = world.coordinator().run(1)
    (over,) = world.told(RoundOver)
    assert len(over.clients) == 3
    assert sum(1 << client for client in over.clients) == model.active_clients


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (replace(UNLIMITED, max_iterations=2), CompletionReason.MAX_ITERATIONS),
        (replace(UNLIMITED, target_accuracy=300_000), CompletionReason.TARGET_REACHED),
    ],
)
def test_training_ends_by_its_policy(
    make_world: Make, policy: object, reason: CompletionReason
) -> None:
    assert make_world(policy).coordinator().run(20).state.completed is reason


def test_round_waits_for_no_validator_that_cannot_measure(make_world: Make) -> None:
    world = make_world()
    coordinator = world.coordinator()
    world.validator._objects = type(world.validator._objects)(world.places, [])
    with pytest.raises(NobodyValidates, match="v1 waits, and 0 of the 1 validators"):
        coordinator.run(1)


def test_tasks_are_written_down_in_the_only_order_that_works(make_world: Make) -> None:
    world = make_world()
    world.coordinator().run(1)
    rows = world.context().journal._rows("SELECT task_type FROM tasks ORDER BY rowid")
    assert [name for (name,) in rows] == [
        *["TRAIN"] * 4,
        "AGGREGATE",
        "STORAGE_WRITE",
        "BLOCKCHAIN_WRITE",
        "VALIDATE",
    ]


def test_task_names_the_base_by_cid_and_identity(make_world: Make) -> None:
    world = make_world()
    world.coordinator().run(2)
    first, second = world.clients[0].asked
    assert isinstance(first, TrainTask)
    assert first.payload.weights_cid is None
    assert second.payload.weights_cid is not None
    assert second.payload.base_weights == weights_of(world, 1)
    assert tasks.load(tasks.dump(second)) == second
