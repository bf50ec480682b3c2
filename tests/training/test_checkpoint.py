"""A saved model is the model that was trained, and nothing else is loaded in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ml.artifact import read_manifest
from ml.errors import ModelproofError, NotVerified
from ml.training import checkpoint
from ml.training.classifiers import evaluate_on_test
from ml.training.datasets import Dataset
from ml.training.torch_model import TorchClassifier
from ml.training.train import TrainedModel
from ml.training.version_metadata import read_metadata

EVERY_MODEL = pytest.mark.parametrize("name", ["iris_dense", "iris_sklearn", "digits_cnn"])


@pytest.fixture
def model(request: pytest.FixtureRequest, name: str) -> Any:
    return request.getfixturevalue(name)


def saved(model: TrainedModel, folder: Path) -> Path:
    path = folder / f"model{model.classifier.suffix}"
    checkpoint.save(model, path)
    return path


@EVERY_MODEL
def test_identity_of_the_file_is_that_of_the_model_in_memory(
    model: TrainedModel, tmp_path: Path
) -> None:
    assert read_manifest(saved(model, tmp_path)).weights == model.manifest.weights == model.weights


@EVERY_MODEL
def test_same_model_is_saved_as_the_same_bytes(model: TrainedModel, tmp_path: Path) -> None:
    first, second = saved(model, tmp_path / "a"), saved(model, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


@EVERY_MODEL
def test_loaded_model_has_the_same_identity(model: TrainedModel, tmp_path: Path) -> None:
    path = saved(model, tmp_path)
    loaded = checkpoint.load(path, model.weights, model.metadata.architecture)
    assert loaded.manifest().weights == model.weights


@EVERY_MODEL
def test_metadata_is_saved_beside_the_model(model: TrainedModel, tmp_path: Path) -> None:
    path = tmp_path / f"v1{model.classifier.suffix}"
    metadata = checkpoint.save(model, path)
    assert {*tmp_path.iterdir()} == {metadata, path}
    assert read_metadata(metadata) == model.metadata


def test_loaded_model_measures_the_same(
    digits_cnn: TrainedModel, digits: Dataset, tmp_path: Path
) -> None:
    path = saved(digits_cnn, tmp_path)
    loaded = checkpoint.load(path, digits_cnn.weights, digits_cnn.metadata.architecture)
    assert evaluate_on_test(loaded, digits) == digits_cnn.metadata.metrics.test


def test_file_is_one_that_safetensors_reads(digits_cnn: TrainedModel, tmp_path: Path) -> None:
    tensors = load_file(saved(digits_cnn, tmp_path))
    assert isinstance(digits_cnn.classifier, TorchClassifier)
    expected = digits_cnn.classifier.state_dict()
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


@EVERY_MODEL
def test_flipped_bit_is_refused(model: TrainedModel, tmp_path: Path) -> None:
    path = saved(model, tmp_path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(NotVerified):
        checkpoint.load(path, model.weights, model.metadata.architecture)


def test_model_of_another_architecture_is_refused_by_tensor(
    iris_dense: TrainedModel, digits_cnn: TrainedModel, tmp_path: Path
) -> None:
    path = saved(iris_dense, tmp_path)
    with pytest.raises(ModelproofError, match=r"'conv1.bias' should be .* and is absent"):
        checkpoint.load(path, iris_dense.weights, digits_cnn.metadata.architecture)


def test_tensor_of_another_shape_is_refused(
    iris_dense: TrainedModel, digits: Dataset, tmp_path: Path
) -> None:
    from ml.training.recipes import find_recipe

    path = saved(iris_dense, tmp_path)
    with pytest.raises(ModelproofError, match=r"'dense1.bias' should be .*\[64\] and is .*\[16\]"):
        checkpoint.load(path, iris_dense.weights, find_recipe("digits", "dense").architecture)


def test_weights_that_are_nan_are_refused_when_measured(
    iris_dense: TrainedModel, iris: Dataset
) -> None:
    from ml.training.torch_model import restore_torch

    assert isinstance(iris_dense.classifier, TorchClassifier)
    state = iris_dense.classifier.state_dict()
    state["dense2.weight"][3, 3] = float("nan")
    broken = restore_torch(iris_dense.metadata.architecture, state)
    with pytest.raises(ModelproofError, match="outputs are NaN"):
        evaluate_on_test(broken, iris)


def test_samples_of_another_shape_are_refused(iris_dense: TrainedModel, digits: Dataset) -> None:
    with pytest.raises(ModelproofError, match="choose the data set that it was trained on"):
        evaluate_on_test(iris_dense.classifier, digits)


@pytest.mark.parametrize("name", ["model.joblib", "model.pt", "model"])
def test_other_suffix_is_refused(iris_dense: TrainedModel, tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelproofError, match=r"saved as \.safetensors, not as"):
        checkpoint.save(iris_dense, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_place_that_cannot_be_written_is_refused(iris_dense: TrainedModel, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ModelproofError, match="cannot be written to"):
        checkpoint.save(iris_dense, tmp_path / "file" / "model.safetensors")


def test_changing_the_copied_weights_leaves_the_model_alone(iris_dense: TrainedModel) -> None:
    assert isinstance(iris_dense.classifier, TorchClassifier)
    iris_dense.classifier.state_dict()["output.bias"].zero_()
    assert iris_dense.classifier.manifest().weights == iris_dense.weights


def test_probabilities_add_up_to_one(digits_cnn: TrainedModel, digits: Dataset) -> None:
    scores = digits_cnn.classifier.log_probabilities(digits.test_inputs)
    assert np.allclose(np.exp(scores).sum(axis=1), 1, atol=1e-12)
