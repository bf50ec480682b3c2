"""An honest training is recomputed bit for bit; whatever was altered is named, and where."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.chain import publishing
from ml.chain.records import Details, Role
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session
from ml.chain.types import Verdict
from ml.federated import updates
from ml.federated.aggregation import Aggregate
from ml.federated.objects import Objects
from ml.federated.replay import Outcome, ReplayedVersion, replay
from ml.federated.robust import AnyRule, TrimmedMean
from ml.federated.run_configuration import RunConfiguration
from ml.federated.server_optimizers import FedAdam
from ml.storage.errors import MissingRecipient
from ml.storage.keys import PrivateKey
from ml.storage.places import Places
from ml.storage.retention import RUN_FORMAT, Retention
from ml.training.round_metadata import RoundMetadata
from ml.training.stated import stated_metadata_object

from .federation import Federation, Sent, signer_of

KEEP = Retention()


@pytest.fixture(scope="module")
def registry(chain: Session) -> ModelRegistry:
    return chain.deploy(chain.account(None, Role.ADMIN))[0]


@pytest.fixture
def federation(chain: Session, registry: ModelRegistry, tmp_path: Path) -> Federation:
    return Federation.begin(chain, registry, tmp_path / "objects")


def replayed(
    federation: Federation, retention: Retention = KEEP, **changes: Any
) -> list[ReplayedVersion]:
    given = {"objects": federation.objects, **changes}
    return replay(federation.registry, federation.run.model, retention=retention, **given)


def outcomes(found: list[ReplayedVersion]) -> list[Outcome]:
    return [one.outcome for one in found]


# --- Honest ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [TrimmedMean(0), FedAdam(0.1)], ids=["plain", "with memory"])
def test_honest_training_with_a_rollback_is_the_same_again(
    chain: Session, registry: ModelRegistry, tmp_path: Path, rule: AnyRule
) -> None:
    federation = Federation.begin(chain, registry, tmp_path / "objects", rule=rule)
    for percent in (90, 91, 80, 92):
        federation.round()
        federation.judge(percent)
    federation.exclude(1)
    federation.round(meddle=lambda sent: [one for one in sent if one.update.client != 1])
    told: list[tuple[float, int]] = []
    found = replayed(federation, progress=lambda done, total: told.append((done, total)))
    assert outcomes(found) == [Outcome.REPLAYED] * 5
    assert [one.clients for one in found] == [3, 3, 3, 3, 2]
    assert federation.registry.version(federation.run.model, 4).parent == 2
    assert told == sorted(told)
    assert told[-1] == (5, 5)


def test_parents_that_are_in_memory_no_more_are_read_from_the_store(
    federation: Federation,
) -> None:
    federation.round()
    federation.judge(95)
    for _ in range(5):
        federation.round()
        assert federation.judge(80) is Verdict.SEVERE_DROP
    assert outcomes(replayed(federation)) == [Outcome.REPLAYED] * 6


def test_versions_that_no_federated_training_made_are_said_to_be(federation: Federation) -> None:
    trainer = federation.session.account(None, Role.TRAINER)
    for number, text in enumerate(("", '{"dataset":"iris"}'), start=1):
        details = Details(number - 1, number, 0)
        federation.registry.register(
            federation.run.model, number, bytes([number]) * 32, details, text, sender=trainer
        )
        validator = federation.session.account(None, Role.VALIDATOR)
        waiting = publishing.pending(federation.registry, federation.named)
        publishing.validate(federation.registry, waiting, 900_000, 0, "{}", sender=validator)
    assert outcomes(replayed(federation)) == [Outcome.ELSEWHERE] * 2


# --- Altered --------------------------------------------------------------------------------------


def nudged(made: Aggregate) -> Aggregate:
    bias = made.weights["output.bias"].copy()
    bias[0] = np.nextafter(bias[0], np.float32(9))
    return replace(made, weights={**made.weights, "output.bias": bias})


def with_update(client: int, **changes: Any) -> Callable[[RoundMetadata], RoundMetadata]:
    """Metadata that says something else of a client's update."""

    def change(metadata: RoundMetadata) -> RoundMetadata:
        listed = tuple(
            replace(one, **changes) if one.client_id == client else one for one in metadata.updates
        )
        return replace(metadata, updates=listed)

    return change


def forged(sent: list[Sent]) -> list[Sent]:
    """The update of client 1 with a signature that another client made."""
    one = sent[1]
    content = updates.load(one.data, "it")
    stranger = replace(content.metadata, client=signer_of(2).address)
    signature = updates.sign(signer_of(2), one.file.domain, 1, stranger, one.data).signature
    return [sent[0], replace(one, file=replace(one.file, signature=signature)), sent[2]]


def scaled(sent: list[Sent]) -> list[Sent]:
    """What client 2 sent, and something else in the aggregate."""
    other = {name: 2 * tensor for name, tensor in sent[2].update.weights.items()}
    return [*sent[:2], replace(sent[2], update=replace(sent[2].update, weights=other))]


def differing(changes: dict[str, Any], reason: str, name: str, *, long: bool = False) -> Any:
    return pytest.param(changes, reason, id=name, marks=[pytest.mark.long] if long else [])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        differing({"alter": nudged}, "what fedavg makes of its 3 updates", "aggregate"),
        differing({"meddle": scaled}, "what fedavg makes of its 3 updates", "weights of one"),
        differing({"meddle": forged}, r"of client 1 is refused \(unsigned\)", "signature"),
        differing({"contributors": 0b011}, "were named as its contributors", "contributors"),
        differing(
            {"stated": lambda made: replace(made, updates=made.updates[:2])},
            "the root over its updates",
            "update left out",
        ),
        differing({"stated": with_update(1, samples=32)}, "the root", "samples", long=True),
        differing({"stated": with_update(1, correct=29)}, "told apart rightly", "correct"),
        differing(
            {"stated": lambda made: replace(made, parent_weights=b"x" * 32)},
            "the parent's weights in its metadata",
            "parent",
        ),
        differing(
            {"stated": lambda made: replace(made, weights=b"x" * 32)},
            "the weights in its metadata",
            "weights",
            long=True,
        ),
        differing(
            {"stated": lambda made: replace(made, rule="median")}, "the rule", "rule", long=True
        ),
        differing(
            {"stated": lambda made: replace(made, run=b"x" * 32)},
            "is not its run's configuration",
            "run",
        ),
        differing({"stated": with_update(1, cid="bafkreia")}, "is not the CID", "cid", long=True),
    ],
)
def test_version_that_was_altered_is_named_with_what(
    federation: Federation, changes: dict[str, Any], reason: str
) -> None:
    federation.round()
    federation.judge(90)
    federation.round(**changes)
    federation.judge(91)
    federation.round()
    honest, altered, after = replayed(federation)
    assert (honest.outcome, after.outcome) == (Outcome.REPLAYED, Outcome.REPLAYED)
    assert (altered.version, altered.outcome) == (2, Outcome.DIFFERS)
    assert not altered.outcome.is_good
    assert re.search(reason, altered.reason)


def test_update_of_an_excluded_client_is_named(federation: Federation) -> None:
    federation.round()
    federation.judge(90)
    federation.exclude(1)
    federation.round(contributors=0b101)  # the contract would refuse it with its own bitmap
    *_, found = replayed(federation)
    assert found.outcome is Outcome.DIFFERS
    assert "client 1, whose update is in it, was not active" in found.reason


def test_update_of_a_client_that_is_not_enrolled_with_these_samples_is_named(
    chain: Session, registry: ModelRegistry, tmp_path: Path
) -> None:
    federation = Federation.begin(chain, registry, tmp_path / "objects")
    clients = federation.run.clients
    other = replace(clients[1], dataset_root=b"x" * 32)
    run_again(federation, clients=(clients[0], other, clients[2]))
    federation.round()
    (found,) = replayed(federation)
    assert found.outcome is Outcome.DIFFERS
    assert "client 1 of its run has another address, or other samples" in found.reason


def run_again(federation: Federation, **changes: Any) -> None:
    """Go on with another configuration."""
    federation.run = replace(federation.run, **changes)
    text = federation.run.to_json().encode()
    kept = federation.objects.put(text, RUN_FORMAT, federation.objects.keys)
    federation.run_cid = str(kept.stored.cid)


def test_version_of_another_models_run_or_of_too_few_updates_is_named(
    federation: Federation,
) -> None:
    run_again(federation, min_updates=3)
    federation.round(meddle=lambda sent: sent[:2])
    federation.judge(90)
    run_again(federation, test_set=federation.run.holdout)
    federation.round()
    few, other = replayed(federation)
    assert (few.outcome, other.outcome) == (Outcome.DIFFERS, Outcome.DIFFERS)
    assert "made of 2 updates, and its run asks for 3" in few.reason
    assert "its run is of another model, or of another validation part" in other.reason


def test_validation_with_another_training_accuracy_is_named(federation: Federation) -> None:
    version = federation.round()
    metadata = federation.metadata[version]
    federation.metadata[version] = with_update(0, correct=1)(metadata)
    federation.judge(90)
    (found,) = replayed(federation)
    assert found.outcome is Outcome.DIFFERS
    assert "training accuracy" in found.reason


# --- Gone and damaged -----------------------------------------------------------------------------


def delete(federation: Federation, *cids: str) -> None:
    for path in federation.object_files(cids):
        path.unlink()


def cids_of(federation: Federation, version: int) -> list[str]:
    return [one.cid for one in federation.metadata[version].updates]


def test_dropped_updates_are_told_from_lost_ones(federation: Federation) -> None:
    for percent in (90, 91, 92):
        federation.round()
        federation.judge(percent)
    delete(federation, cids_of(federation, 1)[1])
    found = replayed(federation, Retention(2))
    assert outcomes(found) == [Outcome.DROPPED, Outcome.REPLAYED, Outcome.REPLAYED]
    assert "the update of client 1" in found[0].reason
    assert all(one.outcome.is_good for one in found)
    for kept in (Retention(3), KEEP):
        assert outcomes(replayed(federation, kept))[0] is Outcome.MISSING
    assert not Outcome.MISSING.is_good


def test_forged_signature_is_named_though_the_update_was_dropped(federation: Federation) -> None:
    federation.round(meddle=forged)
    federation.judge(90)
    federation.round()
    delete(federation, *cids_of(federation, 1))
    found = replayed(federation, Retention(1))
    assert found[0].outcome is Outcome.DIFFERS
    assert "unsigned" in found[0].reason


def test_swapped_sidecar_and_damaged_update_are_named(federation: Federation) -> None:
    federation.round()
    federation.judge(90)
    federation.round()
    one, other, _ = cids_of(federation, 1)
    object_of, sidecar_of = federation.object_files([one])
    theirs = federation.object_files([other])[1]
    whole, sidecar = object_of.read_bytes(), sidecar_of.read_bytes()
    shutil.copyfile(theirs, sidecar_of)
    found = replayed(federation)
    assert outcomes(found) == [Outcome.DIFFERS, Outcome.REPLAYED]
    assert "the update of client 0 cannot be used" in found[0].reason
    assert "sidecar" in found[0].reason
    sidecar_of.write_bytes(sidecar)
    object_of.chmod(0o600)
    object_of.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert outcomes(replayed(federation)) == [Outcome.DIFFERS, Outcome.REPLAYED]
    object_of.write_bytes(whole)
    assert outcomes(replayed(federation)) == [Outcome.REPLAYED] * 2


def test_configuration_that_the_stores_lack_may_be_given(federation: Federation) -> None:
    federation.round()
    delete(federation, federation.run_cid)
    (found,) = replayed(federation)
    assert found.outcome is Outcome.MISSING
    assert "the configuration of its run" in found.reason
    (found,) = replayed(federation, run=federation.run)
    assert found.outcome is Outcome.REPLAYED
    other: RunConfiguration = replace(federation.run, seed=9)
    (found,) = replayed(federation, run=other)
    assert found.outcome is Outcome.MISSING


def test_key_that_opens_nothing_is_no_difference(federation: Federation) -> None:
    federation.round()
    objects = Objects(Places([str(federation.folder)]), [PrivateKey.generate()])
    with pytest.raises(MissingRecipient):
        replayed(federation, objects=objects)


def test_lost_metadata_or_parent_is_missing_and_not_elsewhere(federation: Federation) -> None:
    federation.round(alter=nudged)
    federation.judge(90)
    federation.round()
    record = federation.chain.registration(1, federation.metadata[1].weights)
    delete(federation, str(stated_metadata_object(record)), federation.cids[1])
    for retention in (KEEP, Retention(1)):  # which is about updates alone
        found = replayed(federation, retention)
        assert outcomes(found) == [Outcome.MISSING, Outcome.MISSING]
    assert "its metadata" in found[0].reason
    assert "v1, which it was made from," in found[1].reason
