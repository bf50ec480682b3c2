"""Training is a function of its arguments: the same ones give the same model, anywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ml.errors import ModelproofError
from ml.training import checkpoint
from ml.training.datasets import Dataset
from ml.training.hyperparameters import SgdHyperparameters
from ml.training.loop import StepDone, TrainingDiverged
from ml.training.recipes import find_recipe
from ml.training.train import TrainedModel, train

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from ml.training.datasets import load_dataset
from ml.training.recipes import find_recipe
from ml.training.train import train
dataset, architecture, seed = sys.argv[1:]
recipe = find_recipe(dataset, architecture)
print(train(recipe, load_dataset(dataset), seed=int(seed), epochs=2).metadata.to_json())
"""


def start(*arguments: str, hash_seed: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        env={"PATH": "", "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("architecture", [pytest.param("cnn", marks=pytest.mark.long), "sklearn"])
def test_two_processes_train_the_same_model(architecture: str) -> None:
    runs = [start("digits", architecture, "7", hash_seed=seed) for seed in ("1", "2")]
    first, second = (run.communicate(timeout=120)[0] for run in runs)
    assert json.loads(first)["weights"].startswith("0x")
    assert first == second


def test_same_arguments_give_the_same_model(iris: Dataset, iris_dense: TrainedModel) -> None:
    again = train(find_recipe("iris", "dense"), iris, seed=1)
    assert replace(again.metadata, environment=iris_dense.metadata.environment) == (
        iris_dense.metadata
    )


def test_other_seed_gives_another_model(iris: Dataset, iris_dense: TrainedModel) -> None:
    assert train(find_recipe("iris", "dense"), iris, seed=2).weights != iris_dense.weights


def test_global_state_of_torch_has_no_influence(iris: Dataset, iris_dense: TrainedModel) -> None:
    torch.manual_seed(123)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert train(find_recipe("iris", "dense"), iris, seed=1).weights == iris_dense.weights
    finally:
        torch.set_num_threads(threads)


def test_training_goes_on_from_a_parent(iris: Dataset) -> None:
    recipe = find_recipe("iris", "logistic")
    first = train(recipe, iris, epochs=2)
    second = train(recipe, iris, epochs=2, seed=1, parent=first.classifier)
    assert second.metadata.metrics.train.loss < first.metadata.metrics.train.loss


def test_parent_is_named_in_the_metadata(iris: Dataset, iris_dense: TrainedModel) -> None:
    child = train(find_recipe("iris", "dense"), iris, epochs=1, parent=iris_dense.classifier)
    assert (child.metadata.parent, iris_dense.metadata.parent) == (iris_dense.weights, None)


def test_parent_is_left_as_it_was(iris: Dataset, iris_dense: TrainedModel) -> None:
    train(find_recipe("iris", "dense"), iris, epochs=1, parent=iris_dense.classifier)
    assert iris_dense.classifier.manifest().weights == iris_dense.weights


def test_parent_from_a_file_is_as_good_as_one_in_memory(
    digits: Dataset, digits_cnn: TrainedModel, tmp_path: Path
) -> None:
    recipe = find_recipe("digits", "cnn")
    checkpoint.save(digits_cnn, tmp_path / "v1.safetensors")
    loaded = checkpoint.load(tmp_path / "v1.safetensors", digits_cnn.weights, recipe.architecture)
    assert train(recipe, digits, epochs=1, parent=loaded).weights == (
        train(recipe, digits, epochs=1, parent=digits_cnn.classifier).weights
    )


def test_parent_of_another_architecture_is_refused(
    digits: Dataset, iris_dense: TrainedModel
) -> None:
    with pytest.raises(ModelproofError, match="another architecture"):
        train(find_recipe("digits", "dense"), digits, parent=iris_dense.classifier)


def test_data_set_of_another_shape_is_refused(iris: Dataset) -> None:
    with pytest.raises(ModelproofError, match=r"'digits-cnn' takes inputs .* \(4,\) and 3"):
        train(find_recipe("digits", "cnn"), iris)


@pytest.mark.parametrize(
    "arguments",
    [{"seed": -1}, {"seed": 2**63}, {"epochs": 0}, {"threads": 0}],
    ids=str,
)
def test_argument_out_of_range_is_refused(iris: Dataset, arguments: dict[str, Any]) -> None:
    with pytest.raises(ModelproofError, match="not"):
        train(find_recipe("iris", "dense"), iris, **arguments)


def test_diverging_training_gives_one_sentence_and_no_model(iris: Dataset) -> None:
    recipe = find_recipe("iris", "dense")
    wild = replace(recipe, hyperparameters=SgdHyperparameters(30, 16, learning_rate=1e6))
    with pytest.raises(TrainingDiverged, match=r"^training stopped because .*lower the learning"):
        train(wild, iris)


def test_progress_is_told_of_each_step(iris: Dataset) -> None:
    steps: list[StepDone] = []
    train(find_recipe("iris", "logistic"), iris, epochs=3, progress=steps.append)
    assert [s.step for s in steps] == list(range(1, 25))
