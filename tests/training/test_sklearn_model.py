"""A joblib file runs no code: not before its hash matched, and not after either."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from ml.artifact import read_manifest
from ml.errors import ModelproofError, NotVerified
from ml.training import checkpoint
from ml.training.datasets import Dataset
from ml.training.recipes import find_recipe
from ml.training.sklearn_model import restore_sklearn
from ml.training.train import TrainedModel, train

IRIS = find_recipe("iris", "sklearn").architecture


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.marker),))


def dumped(value: object) -> bytes:
    stream = io.BytesIO()
    joblib.dump(value, stream)
    return stream.getvalue()


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "executed"


@pytest.fixture
def malicious(tmp_path: Path, marker: Path) -> Path:
    path = tmp_path / "model.joblib"
    path.write_bytes(dumped(Payload(marker)))
    return path


def test_payload_is_a_real_one(malicious: Path, marker: Path) -> None:
    joblib.load(malicious)
    assert marker.is_dir()


def test_payload_does_not_run_where_the_hash_differs(
    malicious: Path, marker: Path, iris_sklearn: TrainedModel
) -> None:
    with pytest.raises(NotVerified, match="not the expected model"):
        checkpoint.load(malicious, iris_sklearn.weights, IRIS)
    assert not marker.exists()


def test_payload_does_not_run_where_it_was_registered_itself(malicious: Path, marker: Path) -> None:
    with pytest.raises(ModelproofError, match=r"asks for posix\.mkdir.*not loaded"):
        checkpoint.load(malicious, read_manifest(malicious).weights, IRIS)
    assert not marker.exists()


def test_payload_in_an_array_of_objects_does_not_run(marker: Path) -> None:
    data = dumped(np.array([Payload(marker)], dtype=object))
    with pytest.raises(ModelproofError, match="array of objects"):
        restore_sklearn(IRIS, data)
    assert not marker.exists()


def test_payload_inside_a_pipeline_does_not_run(marker: Path, iris_sklearn: TrainedModel) -> None:
    pipeline = joblib.load(io.BytesIO(iris_sklearn.classifier.serialize()))
    pipeline.memory = Payload(marker)
    with pytest.raises(ModelproofError, match="not loaded"):
        restore_sklearn(IRIS, dumped(pipeline))
    assert not marker.exists()


def fitted(scaler: Any, samples: Dataset) -> Pipeline:
    pipeline = Pipeline([("scaler", scaler), ("logistic", LogisticRegression())])
    return pipeline.fit(samples.train_inputs.reshape(-1, 4), samples.train_labels)


def test_pipeline_as_ours_is_loaded(iris: Dataset) -> None:
    pipeline = fitted(StandardScaler(), iris)
    loaded = restore_sklearn(IRIS, dumped(pipeline))
    assert np.array_equal(loaded.pipeline.predict_proba(iris.test_inputs.astype(float)),
                          pipeline.predict_proba(iris.test_inputs.astype(float)))  # fmt: skip


def test_other_estimator_is_refused_by_name(iris: Dataset) -> None:
    with pytest.raises(ModelproofError, match="MinMaxScaler"):
        restore_sklearn(IRIS, dumped(fitted(MinMaxScaler(), iris)))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"a": 1}, "holds a dict"),
        (LogisticRegression(), "holds a LogisticRegression and not a scaler"),
        (Pipeline([("a", StandardScaler()), ("b", LogisticRegression())]), r"shape \(0,\)"),
    ],
)
def test_other_object_is_refused(value: object, reason: str) -> None:
    with pytest.raises(ModelproofError, match=reason):
        restore_sklearn(IRIS, dumped(value))


def test_model_for_other_inputs_is_refused(iris_sklearn: TrainedModel) -> None:
    digits = find_recipe("digits", "sklearn").architecture
    with pytest.raises(ModelproofError, match=r"shape \(3, 4\), not \(10, 64\)"):
        restore_sklearn(digits, iris_sklearn.classifier.serialize())


def test_every_truncation_is_refused(iris_sklearn: TrainedModel) -> None:
    data = iris_sklearn.classifier.serialize()
    for length in range(0, len(data), 50):
        with pytest.raises(ModelproofError):
            restore_sklearn(IRIS, data[:length])


def test_plain_pickle_is_read_by_the_same_rules(marker: Path) -> None:
    with pytest.raises(ModelproofError, match="not loaded"):
        restore_sklearn(IRIS, pickle.dumps(Payload(marker)))
    assert not marker.exists()


def test_training_goes_on_from_the_coefficients_of_the_parent(iris: Dataset) -> None:
    recipe = find_recipe("iris", "sklearn")
    first = train(recipe, iris, epochs=3)
    second = train(recipe, iris, epochs=3, parent=first.classifier)
    assert second.metadata.metrics.train.loss < first.metadata.metrics.train.loss


def test_parent_from_a_file_is_as_good_as_one_in_memory(iris: Dataset, tmp_path: Path) -> None:
    recipe = find_recipe("iris", "sklearn")
    first = train(recipe, iris, epochs=3)
    checkpoint.save(first, tmp_path / "v1.joblib")
    loaded = checkpoint.load(tmp_path / "v1.joblib", first.weights, recipe.architecture)
    again = train(recipe, iris, epochs=3, parent=loaded)
    assert again.weights == train(recipe, iris, epochs=3, parent=first.classifier).weights


def test_training_part_without_a_class_is_refused(iris: Dataset) -> None:
    from dataclasses import replace

    kept = iris.train_labels != 2
    part = replace(iris, train_inputs=iris.train_inputs[kept], train_labels=iris.train_labels[kept])
    with pytest.raises(ModelproofError, match="samples of all 3 classes"):
        train(find_recipe("iris", "sklearn"), part)
