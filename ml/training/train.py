"""Training from a recipe to a measured model with its metadata: what scripts call."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ml.artifact import Manifest
from ml.errors import ModelproofError

from .classifiers import Classifier, evaluate_on_test, evaluate_on_train
from .environment import describe_environment
from .hyperparameters import Hyperparameters, SgdHyperparameters, with_epochs
from .metadata import DatasetRecord, MeasuredMetrics, TrainingMetadata

if TYPE_CHECKING:
    from .datasets import Dataset
    from .loop import Progress
    from .recipes import Recipe

_SEED_LIMIT = 2**63


@dataclass(frozen=True)
class TrainedModel:
    """A model, and how it came about."""

    classifier: Classifier
    metadata: TrainingMetadata

    @cached_property
    def manifest(self) -> Manifest:
        """Its identity, entry by entry."""
        return self.classifier.manifest()

    @property
    def weights(self) -> bytes:
        """Its identity, 32 bytes."""
        return self.metadata.weights


def train(
    recipe: Recipe,
    dataset: Dataset,
    *,
    seed: int = 0,
    epochs: int | None = None,
    parent: Classifier | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> TrainedModel:
    """Train a model by a recipe and measure it on both parts of the data set.

    Equal arguments give equal weights and equal metadata, where the environment is equal.

    Args:
        recipe: what to train and how.
        dataset: on what; it may be another of the same kind than the recipe's own.
        seed: of everything random, from 0 to 2**63 - 1.
        epochs: instead of the recipe's.
        parent: start from the weights of this model, which is left as it is, and not from seeded
            ones; its weights must have been verified.
        threads: that train; another number may give other weights.
        progress: told of each step; scikit-learn reports none.

    Raises:
        TrainingDiverged: the loss or a weight became NaN or infinite.
        ModelproofError: an argument is out of range, or the parts do not fit together.
    """
    if not 0 <= seed < _SEED_LIMIT:
        raise ModelproofError(f"a seed is from 0 to 2**63 - 1, not {seed}")
    if threads < 1:
        raise ModelproofError(f"training takes at least 1 thread, not {threads}")
    _check_fit(recipe, dataset, parent)
    hyperparameters = with_epochs(recipe.hyperparameters, epochs)
    classifier = _fit(recipe, hyperparameters, dataset, seed, parent, threads, progress)
    metrics = MeasuredMetrics(
        train=evaluate_on_train(classifier, dataset), test=evaluate_on_test(classifier, dataset)
    )
    metadata = TrainingMetadata(
        weights=classifier.manifest().weights,
        parent=parent.manifest().weights if parent else None,
        recipe=recipe.name,
        architecture=recipe.architecture,
        hyperparameters=hyperparameters,
        seed=seed,
        dataset=DatasetRecord.of(dataset),
        metrics=metrics,
        environment=describe_environment(threads),
    )
    return TrainedModel(classifier, metadata)


def _fit(
    recipe: Recipe,
    hyperparameters: Hyperparameters,
    dataset: Dataset,
    seed: int,
    parent: Classifier | None,
    threads: int,
    progress: Progress | None,
) -> Classifier:
    """Train with the library that the hyperparameters are for."""
    architecture = recipe.architecture
    if isinstance(hyperparameters, SgdHyperparameters):
        from .torch_model import TorchClassifier, train_torch

        start = parent if isinstance(parent, TorchClassifier) else None
        return train_torch(architecture, hyperparameters, dataset, seed, start, threads, progress)
    from .sklearn_model import SklearnClassifier, train_sklearn

    fitted = parent if isinstance(parent, SklearnClassifier) else None
    return train_sklearn(architecture, hyperparameters, dataset, fitted, threads)


def _check_fit(recipe: Recipe, dataset: Dataset, parent: Classifier | None) -> None:
    """Check that recipe, data set and parent are of one kind."""
    architecture = recipe.architecture
    if (dataset.input_shape, len(dataset.class_names)) != (
        architecture.input_shape,
        architecture.classes,
    ):
        raise ModelproofError(
            f"recipe {recipe.name!r} takes inputs of shape {architecture.input_shape} and"
            f" {architecture.classes} classes, but data set {dataset.name!r} has"
            f" {dataset.input_shape} and {len(dataset.class_names)}"
        )
    if parent is not None and parent.architecture != architecture:
        raise ModelproofError(
            f"training cannot go on from this model: recipe {recipe.name!r} trains another"
            " architecture; choose the recipe that the model was trained by"
        )
