"""A worker does what is due by the chain, on its clients' samples alone, and the same each time."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest

from ml.errors import ModelproofError
from ml.federated import acknowledgements, updates
from ml.federated.acknowledgements import Acknowledgement
from ml.federated.client import local_training, privacy_ledger
from ml.federated.client.holding import Samples
from ml.federated.client.local_training import round_seed, train_locally
from ml.federated.replies import AcknowledgementReply, FailureReply, Reply, UpdateReply
from ml.federated.run_configuration import LocalTraining, Privacy
from ml.federated.server_optimizers import FedAvgM
from ml.federated.tasks import AggregatePayload, AggregateTask, TaskMetadata
from ml.storage.cid import Cid
from ml.storage.errors import UnknownObject

from .place import HIGH, LOW, Place


def failure(reply: Reply | None) -> str:
    assert isinstance(reply, FailureReply), reply
    return reply.reason


def digest(place: Place, reply: Reply | None) -> bytes:
    return updates.digest_of(place.fetched(reply))


def epsilon(place: Place, reply: Reply | None) -> float | None:
    """What an update says that its client's privacy was spent."""
    return updates.load(place.fetched(reply), "an update").metadata.epsilon


# --- TRAIN ----------------------------------------------------------------------------------------


def test_update_is_what_the_coordinator_takes(beginning: Place) -> None:
    worker = beginning.worker()
    for client in (0, 1, 2):
        reply = worker.handle(beginning.train(client), client)
        assert isinstance(reply, UpdateReply)
        update = beginning.admitted(reply)
        assert (update.client, reply.task_id) == (client, beginning.train(client).task_id)
        assert update.samples == len(beginning.federation.divided.clients[client])
        assert reply.training_s > 0
        assert reply.storing_s > 0
        assert epsilon(beginning, reply) is None


def test_update_follows_from_run_client_round_base_and_samples(beginning: Place) -> None:
    run, divided = beginning.federation.run, beginning.federation.divided
    expected = train_locally(
        run.architecture,
        run.local,
        beginning.federation.base(0)[0].tensors,
        divided.clients[1],
        seed=round_seed(run.seed, 1, 0, 1),
        iteration=1,
    )
    sent = beginning.admitted(beginning.worker().handle(beginning.train(1), 1))
    for name, tensor in expected.weights.items():
        assert sent.weights[name].tobytes() == tensor.tobytes()
    metadata = updates.load(
        beginning.fetched(beginning.worker().handle(beginning.train(1), 1)), "it"
    ).metadata
    assert metadata.correct == expected.correct


def test_same_task_gives_the_same_update_whoever_does_it(beginning: Place) -> None:
    worker = beginning.worker()
    worker.handle(beginning.train(0), 0)
    first = worker.handle(beginning.train(1), 1)
    again = worker.handle(beginning.train(1), 1)
    alone = beginning.worker([1]).handle(beginning.train(1), 1)
    assert again == first  # not stored once more
    assert digest(beginning, alone) == digest(beginning, first)


def test_update_that_the_store_has_lost_is_made_again(beginning: Place) -> None:
    worker, task = beginning.worker(), beginning.train(0)
    first = worker.handle(task, 0)
    assert isinstance(first, UpdateReply)
    assert worker.handle(task, 0) is first
    worker._objects[0].delete(Cid.parse(first.update_cid))
    again = worker.handle(task, 0)
    assert beginning.fetched(again)
    assert isinstance(again, UpdateReply)
    assert again.signed == first.signed


def test_round_starts_from_the_version_on_chain(gone_back: Place) -> None:
    update = gone_back.admitted(gone_back.worker().handle(gone_back.train(2), 2))
    base = gone_back.federation.made[1].tensors
    moved = max(float(np.abs(w - base[n]).max()) for n, w in update.weights.items())
    assert 0 < moved < 0.5


def test_version_is_fetched_once_for_all_clients(gone_back: Place, tmp_path: Path) -> None:
    store = tmp_path / "objects"
    shutil.copytree(gone_back.federation.folder, store)
    worker = gone_back.worker(store=store)
    assert isinstance(worker.handle(gone_back.train(0), 0), UpdateReply)
    shutil.rmtree(store)
    assert isinstance(worker.handle(gone_back.train(1), 1), UpdateReply)


def test_base_of_a_rule_with_memory_is_its_model(place: Place) -> None:
    place = place.changed(rule=FedAvgM(0.5))
    place.federation.round()
    place.federation.judge(LOW)
    place.admitted(place.worker().handle(place.train(0), 0))


@pytest.mark.parametrize(
    "changes",
    [{"epoch": 0}, {"iteration": 2}, {"parent_version_id": 0}, {"parent_version_id": 2}],
    ids=str,
)
def test_task_that_is_no_longer_due_is_not_answered(
    gone_back: Place, changes: dict[str, Any]
) -> None:
    due = gone_back.train(0)
    assert (due.epoch, due.iteration, due.parent_version_id) == (1, 3, 1)
    assert gone_back.worker().handle(gone_back.train(0, **changes), 0) is None


def test_round_whose_version_is_being_judged_is_over(place: Place) -> None:
    task = place.train(0)
    place.federation.round()
    assert place.worker().handle(task, 0) is None


def test_round_that_follows_from_the_version_that_is_being_judged_is_due(place: Place) -> None:
    version = place.federation.round()
    ahead = place.train_from(0, version)
    assert (ahead.iteration, ahead.parent_version_id) == (2, 1)
    early = place.worker().handle(ahead, 0)
    place.federation.judge(LOW)
    assert place.worker().handle(place.train(0), 0) == replace(
        early, training_s=ANY, storing_s=ANY, update_cid=ANY, sidecar=ANY
    )


@pytest.mark.parametrize("changes", [{"epoch": 1}, {"iteration": 1}, {"iteration": 3}], ids=str)
def test_round_that_does_not_follow_from_the_version_that_is_being_judged_is_over(
    place: Place, changes: dict[str, Any]
) -> None:
    ahead = place.train_from(0, place.federation.round(), **changes)
    assert place.worker().handle(ahead, 0) is None


def test_task_ahead_of_the_chain_fails_in_the_end(beginning: Place) -> None:
    reply = beginning.worker().handle(beginning.train(0, iteration=2), 0)
    assert "has come to epoch 0, iteration 0 only" in failure(reply)


def test_task_ahead_of_the_chain_is_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's node is a version behind the coordinator's when the task comes."""

    def later(_: float) -> None:
        place.federation.round()
        place.federation.judge(LOW)
        monkeypatch.undo()

    worker = place.worker(waits_s=(0.1, 0.1))
    ahead = place.train(0, iteration=2, parent_version_id=1)
    monkeypatch.setattr("ml.federated.client.worker.time.sleep", later)
    # it was due when it was looked at again: what is wrong with it is something else
    assert "the chain has no version 1 with the weights" in failure(worker.handle(ahead, 0))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"base_weights": b"w" * 32}, "the chain has no version 1 with the weights"),
        ({"weights_cid": None}, "does not say where v1 is stored"),
        ({"weights_sidecar": "{}"}, "sidecar"),
        ({"client_id": 1}, "the task is for client 1"),
        ({"model": b"n" * 32}, "the task is for the model 0x6e6e"),
    ],
    ids=["weights", "cid", "sidecar", "client", "model"],
)
def test_task_that_is_not_to_be_trusted_fails(
    gone_back: Place, changes: dict[str, Any], reason: str
) -> None:
    assert reason in failure(gone_back.worker().handle(gone_back.train(0, **changes), 0))


def test_first_weights_that_are_not_the_runs_fail(beginning: Place) -> None:
    reply = beginning.worker().handle(beginning.train(0, base_weights=b"w" * 32), 0)
    assert "the first weights of this training are" in failure(reply)


def test_other_weights_than_those_on_chain_fail(gone_back: Place) -> None:
    """The object is whole and for this client, but it is another version's."""
    other = gone_back.changed()
    other.federation.cids = {1: other.federation.cids[2]}
    assert "v1 was registered with another" in failure(other.worker().handle(other.train(0), 0))


def test_weights_for_another_clients_key_fail(gone_back: Place) -> None:
    sidecar = gone_back.train(1).payload.weights_sidecar
    reply = gone_back.worker().handle(gone_back.train(0, weights_sidecar=sidecar), 0)
    assert "was encrypted for" in failure(reply)


def test_object_that_is_not_there_yet_can_be_tried_again(gone_back: Place, tmp_path: Path) -> None:
    store = tmp_path / "objects"
    task, worker = gone_back.train(0), gone_back.worker(store=store)
    with pytest.raises(UnknownObject):
        worker.handle(task, 0)
    shutil.copytree(gone_back.federation.folder, store, dirs_exist_ok=True)
    assert isinstance(worker.handle(task, 0), UpdateReply)


def test_diverged_training_fails(beginning: Place) -> None:
    local = LocalTraining(epochs=50, batch_size=1, learning_rate=1e38)
    place = beginning.changed(local=local)
    reply = place.worker().handle(place.train(0), 0)
    assert isinstance(reply, FailureReply)
    assert "lower the learning rate" in reply.reason
    assert reply.sender == place.identities[0].address


def test_damaged_samples_fail(beginning: Place, tmp_path: Path) -> None:
    place = replace(beginning, data=tmp_path / "data")
    shutil.copytree(beginning.data, place.data)
    path = place.data / "train" / "client_0.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "not the file that was prepared" in failure(place.worker().handle(place.train(0), 0))
    assert isinstance(place.worker().handle(place.train(1), 1), UpdateReply)


def test_samples_that_the_client_is_not_enrolled_with_fail(beginning: Place) -> None:
    """The files are whole, but the client joined with others."""
    first, *others = beginning.federation.run.clients
    elsewhere = replace(first, dataset_root=others[0].dataset_root)
    place = beginning.changed(clients=(elsewhere, *others))
    assert "is enrolled with 0x" in failure(place.worker().handle(place.train(0), 0))


def test_task_for_somebody_else_is_not_answered(beginning: Place) -> None:
    task = AggregateTask(
        task_id="a",
        model=beginning.federation.run.model,
        epoch=0,
        iteration=1,
        model_version_id=0,
        parent_version_id=0,
        metadata=TaskMetadata(0),
        payload=AggregatePayload(()),
    )
    assert beginning.worker().handle(task, 0) is None


# --- Samples --------------------------------------------------------------------------------------


def test_only_the_clients_own_files_are_opened(beginning: Place) -> None:
    opened: list[str] = []
    watching = [True]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if watching[0] and event == "open" and isinstance(arguments[0], str):
            opened.append(arguments[0])

    worker = beginning.worker([1])
    sys.addaudithook(hook)
    try:
        assert isinstance(worker.handle(beginning.train(1), 1), UpdateReply)
    finally:
        watching[0] = False
    of_data = {Path(path).name for path in opened if path.startswith(str(beginning.data))}
    assert of_data == {"client_1.safetensors", "client_1_config.json"}


def test_samples_that_were_used_longest_ago_are_let_go(beginning: Place) -> None:
    run = beginning.federation.run
    paths = {client: beginning.configuration(client) for client in (0, 1, 2)}
    one = beginning.federation.divided.clients[0]
    samples = Samples(run, paths, limit_bytes=int(2.5 * (one.inputs.nbytes + one.labels.nbytes)))
    first, second = samples.of(0), samples.of(1)
    assert samples.of(0) is first
    samples.of(2)
    assert samples.of(0) is first
    assert samples.of(1) is not second


# --- ROLLBACK -------------------------------------------------------------------------------------


def go_back(place: Place) -> None:
    for percent in (HIGH, LOW):
        place.federation.round()
        place.federation.judge(percent)
    assert place.federation.chain.now().state.epoch == 1


def check_acknowledged(place: Place, reply: Reply | None, client: int) -> None:
    assert isinstance(reply, AcknowledgementReply), reply
    state = place.federation.chain.now().state
    said = Acknowledgement(
        place.federation.run.model,
        state.epoch,
        state.current,
        place.federation.base(state.current)[1],
    )
    domain, address = place.federation.run.domain, place.identities[client].address
    acknowledgements.check(domain, said, reply.signature, address)
    assert (reply.client_id, reply.target_version_id) == (client, state.current)


def test_rollback_is_acknowledged_with_a_signature(gone_back: Place) -> None:
    worker = gone_back.worker()
    for client in (0, 1, 2):
        reply = worker.handle(gone_back.rollback(client), client)
        check_acknowledged(gone_back, reply, client)
        assert worker.handle(gone_back.rollback(client), client) == reply


def test_rollback_to_the_first_weights_is_acknowledged(beginning: Place) -> None:
    task = beginning.rollback(0)
    check_acknowledged(beginning, beginning.worker().handle(task, 0), 0)


def test_what_was_held_is_discarded(place: Place) -> None:
    place.federation.round()
    place.federation.judge(HIGH)
    place.federation.round()
    worker = place.worker()
    place.federation.judge(HIGH + 1)
    assert isinstance(worker.handle(place.train(0), 0), UpdateReply)
    place.federation.round()
    place.federation.judge(LOW)
    task = place.rollback(0)
    assert task.payload.target_version_id == 2
    shutil.rmtree(place.federation.folder)
    with pytest.raises(UnknownObject):  # v2 was in memory
        worker.handle(task, 0)


def test_rollback_that_another_followed_is_not_answered(place: Place) -> None:
    go_back(place)
    task = place.rollback(0)
    place.federation.round()
    place.federation.judge(LOW)
    assert place.federation.chain.now().state.epoch == 2
    assert place.worker().handle(task, 0) is None


def test_client_that_comes_late_acknowledges_too(place: Place) -> None:
    go_back(place)
    task = place.rollback(0)
    place.federation.round()
    place.federation.judge(HIGH)
    assert isinstance(place.worker().handle(task, 0), AcknowledgementReply)


def test_target_that_the_chain_did_not_go_back_to_is_not_acknowledged(gone_back: Place) -> None:
    forged = gone_back.rollback(0, target_version_id=2)
    assert gone_back.worker().handle(forged, 0) is None
    weights = gone_back.rollback(0, target_weights=gone_back.federation.base(2)[1])
    assert "the chain has no version 1 with" in failure(gone_back.worker().handle(weights, 0))


# --- Privacy --------------------------------------------------------------------------------------


def test_privacy_is_counted_once_for_each_training(place: Place) -> None:
    privacy = Privacy(noise_multiplier=1.0, max_grad_norm=1.0, delta=1e-5)
    place = place.changed(local=LocalTraining(1, 10, 0.1, privacy=privacy))
    first, again = (place.worker().handle(place.train(0), 0) for _ in range(2))
    assert isinstance(first, UpdateReply)
    assert isinstance(again, UpdateReply)
    spent = epsilon(place, first)
    assert spent is not None
    assert epsilon(place, again) == spent
    assert digest(place, first) == digest(place, again)
    place.federation.round()
    place.federation.judge(LOW)
    second = place.worker().handle(place.train(0), 0)
    assert isinstance(second, UpdateReply)
    then = epsilon(place, second)
    assert then is not None
    assert then > spent
    assert len(privacy_ledger.read(place.identities[0].ledger_path)) == 2


def test_privacy_is_counted_before_training_begins(
    beginning: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    privacy = Privacy(noise_multiplier=1.0, max_grad_norm=1.0, delta=1e-5)
    place = beginning.changed(local=LocalTraining(1, 10, 0.1, privacy=privacy))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(local_training, "_kernel", killed)
    with pytest.raises(KeyboardInterrupt):
        place.worker().handle(place.train(0), 0)
    assert len(privacy_ledger.read(place.identities[0].ledger_path)) == 1


# --- Who works here -------------------------------------------------------------------------------


def test_client_of_another_training_is_refused(beginning: Place) -> None:
    first, second, third = beginning.federation.run.clients
    with pytest.raises(ModelproofError, match="there is no client 2 in the training"):
        beginning.changed(clients=(first, second)).worker()
    with pytest.raises(ModelproofError, match="put that one back"):
        beginning.changed(clients=(first, second, replace(third, recipient=b"k" * 32))).worker()
