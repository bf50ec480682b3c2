"""The commands on versions of a federated training: `ape run replay`, and those for any version."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import click
import numpy as np
import pytest
from click.testing import CliRunner

import scripts.fetch
import scripts.history
import scripts.predict
import scripts.replay
import scripts.validate
import scripts.verify
from ml.chain.anvil import AnvilNode
from ml.chain.records import Role
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session
from ml.federated import prepared
from ml.federated.configuration import SERVICE_PATH, Preparation
from ml.federated.measuring import measure
from ml.federated.preparation import divide, files_of
from ml.federated.server_optimizers import FedAvgM
from ml.federated.splits import Iid
from ml.storage.keys import PrivateKey
from ml.training.datasets import Dataset
from tests.chain.places import network_at

from .federation import Federation, all_alike, trained
from .test_replay import nudged

Run: TypeAlias = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def registry(chain: Session) -> ModelRegistry:
    return chain.deploy(chain.account(None, Role.ADMIN))[0]


@pytest.fixture
def federation(chain: Session, registry: ModelRegistry, tmp_path: Path) -> Federation:
    """A training of a rule with memory, whose versions are archives."""
    return Federation.begin(chain, registry, tmp_path / "objects", rule=FedAvgM(0.5))


@pytest.fixture
def run(
    federation: Federation, node: AnvilNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """A command in this process, as the coordinator types it; returns what it prints as JSON."""
    key = tmp_path / "coordinator.pem"
    (coordinator,) = federation.objects.keys
    assert isinstance(coordinator, PrivateKey)
    key.write_text(coordinator.to_private_pem())
    key.chmod(0o600)
    monkeypatch.setenv("ENCRYPTION_KEY_FILE", str(key))
    monkeypatch.setenv("MODELPROOF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODELPROOF_STORE", str(federation.folder))

    def typed(cli: click.Command, *arguments: object, exit_code: int = 0) -> dict[str, Any]:
        given = [*map(str, arguments), "--json", "--network", network_at(node)]
        done = CliRunner(mix_stderr=False).invoke(cli, given)
        assert done.exit_code == exit_code, (done.stdout, done.stderr, done.exception)
        return dict(json.loads(done.stdout))

    return typed


def test_replay_says_what_became_of_every_version(federation: Federation, run: Run) -> None:
    federation.round()
    federation.judge(90)
    federation.round()
    name = federation.run.name
    told = run(scripts.replay.cli, name)
    assert told["model"] == "0x" + federation.run.model.hex()
    assert told["versions"] == [
        {"version": number, "outcome": "replayed", "reason": "", "updates": 3} for number in (1, 2)
    ]
    federation.judge(91)
    federation.round(alter=nudged)
    told = run(scripts.replay.cli, name, exit_code=1)
    assert told["error"].startswith(f"v3 of {name}, which differs: what fedavgm makes of its")
    assert [one["outcome"] for one in told["versions"]] == ["replayed", "replayed", "differs"]


def test_replay_reckons_with_the_retention_rule(federation: Federation, run: Run) -> None:
    federation.round()
    federation.judge(90)
    federation.round()
    for path in federation.object_files([federation.metadata[1].updates[0].cid]):
        path.unlink()
    name = federation.run.name
    told = run(scripts.replay.cli, name, "--retention", "drop:1")
    assert [one["outcome"] for one in told["versions"]] == ["dropped", "replayed"]
    told = run(scripts.replay.cli, name, exit_code=1)
    assert told["error"].startswith(f"v1 of {name}, which cannot be made again: the update of")
    run(scripts.replay.cli, name, "--retention", "some", exit_code=2)


def test_replay_takes_a_configuration_by_its_digest(
    federation: Federation, run: Run, tmp_path: Path
) -> None:
    federation.round()
    for path in federation.object_files([federation.run_cid]):
        path.unlink()
    run(scripts.replay.cli, federation.run.name, exit_code=1)
    path = tmp_path / "run.json"
    path.write_text(federation.run.to_json())
    told = run(scripts.replay.cli, federation.run.name, "--run", path)
    assert [one["outcome"] for one in told["versions"]] == ["replayed"]


def test_model_without_federated_versions_is_nothing_to_replay(
    federation: Federation, run: Run
) -> None:
    told = run(scripts.replay.cli, federation.run.name, exit_code=2)
    assert "nothing to replay" in told["error"]


def test_version_is_validated_fetched_verified_and_predicted_with_as_any_other(
    federation: Federation, run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "prepared"
    prepared.write(folder, files_of(federation.divided, "2026-01-31T12:00:00Z"))
    configuration, artifacts = folder / SERVICE_PATH, tmp_path / "artifacts"
    weights = trained(federation.divided, federation.run)
    version = federation.round(all_alike(weights, [0, 1, 2]))
    name, part = federation.run.name, federation.divided.validation
    there = ("--artifacts", artifacts)

    judged = run(scripts.validate.cli, name, "--prepared", configuration, *there)
    expected = measure(federation.run.architecture, federation.made[version].tensors, part)
    assert judged["validation"]["accuracy_ppm"] == expected.accuracy_ppm
    stated = federation.metadata[version].training_accuracy_ppm
    assert judged["validation"]["training_accuracy_ppm"] == stated
    assert stated > 0

    told = run(scripts.history.cli, name)
    assert [one["version"] for one in told["versions"]] == [1]
    fetched = run(scripts.fetch.cli, name, *there)
    verified = run(scripts.verify.cli, fetched["file"], "--model", name, *there)
    assert verified["verified"]
    assert Path(fetched["file"]).suffix == ".tar"

    for sample in (0, 7):
        shown = run(
            scripts.predict.cli, name, "--sample", sample, "--prepared", configuration, *there
        )
        (prediction,) = shown["predictions"]
        assert shown["truth"] == part.class_names[part.labels[sample]]
        assert prediction["class"] in federation.run.class_names
        assert np.isclose(sum(prediction["probabilities"]), 1)


def test_test_set_of_a_prepared_data_set_has_to_be_the_models(
    federation: Federation, run: Run, tmp_path: Path, iris: Dataset
) -> None:
    federation.round()
    folder, there = tmp_path / "prepared", ("--artifacts", tmp_path / "artifacts")
    other = divide(iris, Preparation(2, Iid(), holdout_from="test"))
    prepared.write(folder, files_of(other, "2026-01-31T12:00:00Z"))
    configuration = ("--prepared", folder / SERVICE_PATH)
    refused = run(scripts.validate.cli, federation.run.name, *configuration, *there, exit_code=1)
    assert f"the test set of '{other.version}' at hand has the root" in refused["error"]
    # here the validation part is the whole test part of the data set, which needs no preparation
    told = run(scripts.validate.cli, federation.run.name, *there)
    assert told["validation"]["verdict"] == "FIRST_BEST"
    arguments = (federation.run.name, "--sample", "0", *configuration, *there)
    run(scripts.predict.cli, *arguments, exit_code=1)
