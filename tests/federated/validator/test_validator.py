"""A validator says on chain what it measured of what is on record, once, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ape.api import AccountAPI

from ml.chain import events, quorum
from ml.chain.policy import PRESETS
from ml.chain.publishing import Pending
from ml.chain.records import Role
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session
from ml.chain.signed_before import SignedBefore
from ml.chain.signed_files import parse_evaluation
from ml.chain.types import Status, Verdict
from ml.errors import ModelproofError, NotVerified
from ml.federated import version_files
from ml.federated.aggregation import FedAvg, ServerState, Weights
from ml.federated.measuring import measure
from ml.federated.objects import Objects
from ml.federated.replies import EvaluationReply, FailureReply
from ml.federated.server_optimizers import FedAvgM
from ml.federated.tasks import DecisionTask
from ml.federated.validator.validator import Validator
from ml.storage.access import make_sidecar
from ml.storage.cid import Cid
from ml.storage.encryption import Encryption
from ml.storage.keys import PrivateKey, PublicKey
from ml.storage.naming import Stored
from ml.storage.places import Places
from ml.storage.sidecar import Payload, Sidecar
from tests.federated.federation import VALIDATORS, Federation, all_alike, trained

THESIS = PRESETS["thesis"]


@pytest.fixture
def federation(chain: Session, registry: ModelRegistry, folder: Path) -> Federation:
    return Federation.begin(chain, registry, folder, rule=FedAvg())


def account_of(chain: Session, index: int = VALIDATORS[0]) -> AccountAPI:
    return chain.account(f"test:{index}", Role.NONE)


def validator(federation: Federation, index: int = VALIDATORS[0], **changes: Any) -> Validator:
    account = account_of(federation.session, index)
    key = federation.keys.get(str(account.address), PrivateKey.generate())
    given = {
        "run": federation.run,
        "chain": federation.chain,
        "objects": Objects(Places([str(federation.folder)]), [key]),
        "part": federation.divided.validation,
        "account": account,
        "signed_before": SignedBefore(federation.folder.with_name(f"signatures-{index}")),
        "waits_s": (0.01, 0.01),
    }
    return Validator(**{**given, **changes})


def good(federation: Federation) -> dict[int, Weights]:
    weights = trained(federation.divided, federation.run)
    return all_alike(weights, [0, 1, 2])


def bad(federation: Federation) -> dict[int, Weights]:
    weights = trained(federation.divided, federation.run)
    return all_alike({name: -tensor for name, tensor in weights.items()}, [0, 1, 2])


def told(federation: Federation) -> list[events.Validated]:
    return events.validated(events.read(federation.registry, model=federation.run.model))


def test_version_is_measured_on_the_validation_part_and_passes(federation: Federation) -> None:
    one = validator(federation)
    version = federation.round(good(federation))
    task = federation.task(version, one.address)
    answer = one.handle(task)
    expected = measure(
        federation.run.architecture,
        federation.made[version].tensors,
        federation.divided.validation,
    )
    (said,) = told(federation)
    assert expected.accuracy_ppm > 900_000
    assert (said.accuracy, said.metrics) == (expected.accuracy_ppm, expected.summary())
    assert said.training_accuracy == 90 * 1_000_000 // (34 + 33 + 32)
    assert said.verdict is Verdict.FIRST_BEST
    assert isinstance(answer, DecisionTask)
    found = answer.payload.validation_result
    assert (found.passed, found.accuracy_ppm) == (True, expected.accuracy_ppm)
    assert found.metrics["loss"] == pytest.approx(expected.loss, abs=1e-5)
    assert found.validator_ids == (one.address,)
    assert found.test_dataset_hash == federation.divided.validation.root


def test_version_of_a_rule_with_memory_is_measured(
    chain: Session, registry: ModelRegistry, folder: Path
) -> None:
    federation = Federation.begin(chain, registry, folder, rule=FedAvgM(0.5))
    one = validator(federation)
    for _ in range(2):
        answer = one.handle(federation.task(federation.round(good(federation)), one.address))
        assert isinstance(answer, DecisionTask)
        assert answer.payload.validation_result.passed


def test_severe_drop_rolls_back(federation: Federation) -> None:
    one = validator(federation)
    first = federation.round(good(federation))
    one.handle(federation.task(first, one.address))
    second = federation.round(bad(federation))
    answer = one.handle(federation.task(second, one.address))
    assert isinstance(answer, DecisionTask)
    assert not answer.payload.validation_result.passed
    assert told(federation)[-1].verdict is Verdict.SEVERE_DROP
    assert federation.registry.model(federation.run.model).state.current == first


def test_repetition_is_answered_from_the_chain_and_sends_nothing(federation: Federation) -> None:
    one = validator(federation)
    task = federation.task(federation.round(good(federation)), one.address)
    first = one.handle(task)
    nonce = account_of(federation.session).nonce
    for again in (one, validator(federation)):
        answer = again.handle(task)
        assert isinstance(answer, DecisionTask)
        assert isinstance(first, DecisionTask)
        assert answer.payload == first.payload
        assert answer.task_id == first.task_id
    assert account_of(federation.session).nonce == nonce
    assert len(told(federation)) == 1


def test_validator_asks_for_no_more_of_the_history_than_the_version(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = validator(federation)
    task = federation.task(federation.round(good(federation)), one.address)
    asked: list[Any] = []
    query = ModelRegistry._query

    def noting(registry: ModelRegistry, topics: Any, *blocks: Any) -> Any:
        asked.append(list(topics))
        return query(registry, topics, *blocks)

    monkeypatch.setattr(ModelRegistry, "_query", noting)
    assert isinstance(one.handle(task), DecisionTask)
    assert asked
    for _, model, *subject in asked:
        assert model == "0x" + federation.run.model.hex()
        assert any(subject)


def test_version_that_was_discarded_is_said_to_be(federation: Federation) -> None:
    one = validator(federation)
    version = federation.round(good(federation))
    operator = federation.session.account(None, Role.OPERATOR)
    federation.registry.discard(federation.run.model, version, "no", sender=operator)
    answer = one.handle(federation.task(version, one.address))
    assert isinstance(answer, FailureReply)
    assert "was discarded" in answer.reason


# --- Versions that are not what was registered ----------------------------------------------------


def other_file(federation: Federation) -> bytes:
    made = version_files.first_weights(federation.run)
    return version_files.dump(made, ServerState(), federation.run.rule).data


@pytest.mark.parametrize("kind", ["other weights", "no model"])
def test_object_on_record_that_holds_something_else_is_refused_on_chain(
    federation: Federation, kind: str
) -> None:
    one = validator(federation)
    data = other_file(federation) if kind == "other weights" else b"no model"
    version = federation.round(good(federation), stored=lambda _: data)
    answer = one.handle(federation.task(version, one.address))
    (said,) = told(federation)
    assert said.verdict is Verdict.REJECTED
    reason = json.loads(said.metrics)["refused"]
    assert ("is not the expected version" if kind == "other weights" else "not a valid") in reason
    assert isinstance(answer, DecisionTask)
    assert not answer.payload.validation_result.passed


def test_model_whose_outputs_are_not_finite_is_refused_on_chain(federation: Federation) -> None:
    one = validator(federation)
    huge = np.finfo(np.float32).max
    weights = {
        "output.bias": np.zeros(3, np.float32),
        "output.weight": np.array([[huge, -huge, huge, -huge]] * 3, np.float32),
    }
    version = federation.round(all_alike(weights, [0]))
    one.handle(federation.task(version, one.address))
    (said,) = told(federation)
    assert said.verdict is Verdict.REJECTED
    assert "outputs are NaN" in json.loads(said.metrics)["refused"]


def damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def test_damaged_or_missing_object_is_nothing_to_judge_by(federation: Federation) -> None:
    one = validator(federation)
    version = federation.round(good(federation))
    task = federation.task(version, one.address)
    place = federation.folder / federation.cids[version]
    whole = place.read_bytes()
    damaged(place)
    answer = one.handle(task)
    assert isinstance(answer, FailureReply)
    assert "damaged" in answer.reason
    place.unlink()
    answer = one.handle(task)
    assert isinstance(answer, FailureReply)
    assert "there is no object" in answer.reason
    assert (answer.task_id, answer.sender) == (task.task_id, one.address)
    assert federation.registry.version(federation.run.model, version).status is Status.PENDING
    place.write_bytes(whole)
    assert isinstance(one.handle(task), DecisionTask)


def forged(federation: Federation, version: int, recipient: str, data: bytes) -> Sidecar:
    """An object of somebody's own in the place of the version's, and a sidecar that opens it."""
    cid = Cid.parse(federation.cids[version])
    real = federation.objects.sidecar_for(cid, PublicKey.from_raw(federation.keys[recipient].raw))
    encryption = Encryption()
    sealed = b"".join(map(bytes, encryption.encrypt([data])))
    place = federation.folder / str(cid)
    place.chmod(0o600)
    place.write_bytes(sealed)
    stored = Stored(cid, real.stored.sha256, len(sealed))
    to = [PublicKey.from_raw(federation.keys[recipient].raw)]
    return make_sidecar(stored, encryption.header, encryption.key, Payload("safetensors"), to)


def test_forged_object_with_a_sidecar_that_opens_it_costs_no_rollback(
    federation: Federation,
) -> None:
    one = validator(federation)
    version = federation.round(good(federation))
    sidecar = forged(federation, version, one.address, other_file(federation))
    text = sidecar.to_json().decode()
    answer = one.handle(federation.task(version, one.address, weights_sidecar=text))
    assert isinstance(answer, FailureReply)
    assert federation.registry.version(federation.run.model, version).status is Status.PENDING


def test_task_for_other_weights_another_object_or_another_key_is_not_done(
    federation: Federation,
) -> None:
    one = validator(federation)
    first = federation.round(good(federation))
    one.handle(federation.task(first, one.address))
    second = federation.round(bad(federation))
    task = federation.task(second, one.address)
    earlier = federation.task(first, one.address).payload
    stranger = str(account_of(federation.session, VALIDATORS[1]).address)
    for payload, reason in (
        (replace(task.payload, blockchain_hash=b"x" * 32), "no version 2 with the weights"),
        (
            replace(
                task.payload,
                ipfs_cid=earlier.ipfs_cid,
                weights_sidecar=earlier.weights_sidecar,
            ),
            "was registered with another",
        ),
        (federation.task(second, stranger).payload, "encrypted for"),
        (replace(task.payload, weights_sidecar="{}"), "sidecar"),
        (replace(task.payload, training_accuracy_ppm=2_000_000), "out of range"),
    ):
        answer = one.handle(replace(task, payload=payload))
        assert isinstance(answer, FailureReply)
        assert reason in answer.reason
    answer = one.handle(replace(task, model=b"x" * 32))
    assert isinstance(answer, FailureReply)
    assert len(told(federation)) == 1


# --- At start -------------------------------------------------------------------------------------


def test_validator_with_another_part_does_not_begin(federation: Federation) -> None:
    with pytest.raises(NotVerified, match="the model was created for"):
        validator(federation, part=federation.divided.holdout)
    other = replace(federation.run, test_set=federation.divided.holdout.root)
    with pytest.raises(NotVerified, match="the run is"):
        validator(federation, run=other)


def test_validator_without_role_membership_or_key_does_not_begin(federation: Federation) -> None:
    with pytest.raises(ModelproofError, match="does not hold VALIDATOR"):
        validator(federation, VALIDATORS[1])
    with pytest.raises(ModelproofError, match="is none of the validators"):
        validator(federation, 9)
    objects = Objects(Places([str(federation.folder)]), [PrivateKey.generate()])
    with pytest.raises(ModelproofError, match="another X25519 key"):
        validator(federation, objects=objects)


# --- Several validators ---------------------------------------------------------------------------


def test_two_validators_of_a_quorum_sign_the_same(
    chain: Session, registry: ModelRegistry, folder: Path
) -> None:
    federation = Federation.begin(chain, registry, folder, replace(THESIS, quorum=2))
    admin = chain.account(None, Role.ADMIN)
    second = account_of(chain, VALIDATORS[1])
    registry.grant_role(federation.run.model, Role.VALIDATOR, second.address, sender=admin)
    panel = [validator(federation, index) for index in VALIDATORS[:2]]
    version = federation.round(good(federation))
    files = {}
    for one in panel:
        answer = one.handle(federation.task(version, one.address))
        assert isinstance(answer, EvaluationReply)
        assert one.handle(federation.task(version, one.address)) == answer
        files[Path(one.address)] = parse_evaluation(answer.signed.encode(), "it")
    assert not told(federation)
    record = federation.chain.registration(version, federation.metadata[version].weights)
    waiting = Pending(registry.model(federation.run.model), record)
    signed = quorum.gather(registry, waiting, files, quorum.current_time(registry))
    quorum.submit(registry, waiting, signed, sender=chain.account(None, Role.TRAINER))
    answer = panel[0].handle(federation.task(version, panel[0].address))
    assert isinstance(answer, DecisionTask)
    found = answer.payload.validation_result
    assert found.passed
    assert {*found.validator_ids} == {one.address for one in panel}
