"""The metadata says how a model came about, and cannot be altered unnoticed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ml.errors import ModelproofError, NotVerified
from ml.training.canonical import MalformedJson
from ml.training.metadata import TrainingMetadata, metadata_path
from ml.training.train import TrainedModel
from ml.training.version_metadata import read_metadata


@pytest.fixture(params=["iris_dense", "iris_sklearn", "digits_cnn"])
def model(request: pytest.FixtureRequest) -> TrainedModel:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, TrainedModel)
    return found


def test_metadata_survives_being_written_and_read(model: TrainedModel, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text(model.metadata.to_json(), encoding="utf-8")
    assert read_metadata(path) == model.metadata


def test_digest_is_the_sha256_of_the_text(model: TrainedModel) -> None:
    text = model.metadata.to_json()
    assert model.metadata.digest == hashlib.sha256(text.encode()).digest()


def test_summary_names_the_digest_and_stays_below_200_bytes(model: TrainedModel) -> None:
    summary = model.metadata.summary()
    assert json.loads(summary)["metadata_sha256"] == model.metadata.digest.hex()
    assert len(summary) < 200


def test_metadata_holds_what_a_rebuild_needs(iris_dense: TrainedModel) -> None:
    record = json.loads(iris_dense.metadata.to_json())
    assert record["architecture"]["hidden"] == [16, 16, 16]
    assert record["dataset"]["test_digest"].startswith("0x0c342381")
    assert record["hyperparameters"]["learning_rate"] == 0.1
    assert record["seed"] == 1
    assert record["environment"]["libraries"].keys() == {
        "joblib", "numpy", "safetensors", "scikit-learn", "torch",
    }  # fmt: skip
    assert record["environment"]["threads"] == 1
    assert record["metrics"]["train"]["samples"] == 120


def test_file_with_another_digest_is_refused(iris_dense: TrainedModel, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    text = iris_dense.metadata.to_json().replace('"setosa","versicolor"', '"versicolor","setosa"')
    path.write_text(text, encoding="utf-8")
    with pytest.raises(NotVerified, match=r"model\.json is not the one on record"):
        read_metadata(path, iris_dense.metadata.digest)


def test_file_with_the_right_digest_is_read(iris_dense: TrainedModel, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text(iris_dense.metadata.to_json(), encoding="utf-8")
    assert read_metadata(path, iris_dense.metadata.digest) == iris_dense.metadata


def test_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelproofError, match=r"gone\.json cannot be read.*beside the model"):
        read_metadata(tmp_path / "gone.json")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("modelproof.training.v1", "modelproof.training.v2", "at format: "),
        ('"optimizer":"sgd"', '"optimizer":"adam"', "hyperparameters"),
        ('"name":"dense"', '"name":"transformer"', "at architecture.name: "),
        ('"seed":1,', "", "at seed: "),
    ],
)
def test_metadata_of_another_format_is_refused(
    iris_dense: TrainedModel, old: str, new: str, reason: str
) -> None:
    text = iris_dense.metadata.to_json()
    assert old in text
    with pytest.raises(MalformedJson, match=reason):
        TrainingMetadata.from_json(text.replace(old, new).encode())


def test_metrics_that_contradict_each_other_are_refused(iris_dense: TrainedModel) -> None:
    stated = f'"accuracy_ppm":{iris_dense.metadata.metrics.test.accuracy_ppm}'
    text = iris_dense.metadata.to_json().replace(stated, '"accuracy_ppm":1000000', 1)
    with pytest.raises(ModelproofError, match="contradict"):
        TrainingMetadata.from_json(text.encode())


def test_metadata_lies_beside_the_model() -> None:
    assert metadata_path(Path("a/v1.safetensors")) == Path("a/v1.json")
