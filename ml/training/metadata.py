"""How a model came about, as one canonical JSON text beside its file.

Two trainings that are the same give the same text, but for ``environment``. The SHA-256 of the text
goes on chain with the version (``summary``), so that what a prediction relies on, the architecture
and the class names, is as hard to alter as the weights.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from . import canonical
from .architectures import Architecture
from .canonical import Digest
from .datasets import Dataset
from .environment import Environment
from .hyperparameters import LbfgsHyperparameters, SgdHyperparameters
from .metrics import Metrics

SUFFIX: Final = ".json"
OBJECT_KEY: Final = "metadata_cid"
"""Where a summary names the stored object that holds the text."""


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """Which data set it was: the roots say it exactly."""

    name: str
    class_names: tuple[str, ...]
    train_samples: int
    train_digest: Digest
    test_samples: int
    test_digest: Digest

    @staticmethod
    def of(dataset: Dataset) -> DatasetRecord:
        """Record a data set."""
        return DatasetRecord(
            dataset.name,
            dataset.class_names,
            len(dataset.train_labels),
            dataset.train_digest,
            len(dataset.test_labels),
            dataset.test_digest,
        )


@dataclass(frozen=True, slots=True)
class MeasuredMetrics:
    """Metrics on the whole training part and on the whole test part."""

    train: Metrics
    test: Metrics


@dataclass(frozen=True, slots=True)
class TrainingMetadata:
    """All that is known of how a model came about."""

    weights: Digest
    """The identity of the model that this belongs to."""
    parent: Digest | None
    """The identity of the model whose weights training started from; None for seeded ones."""
    recipe: str
    architecture: Architecture
    hyperparameters: SgdHyperparameters | LbfgsHyperparameters
    seed: int
    dataset: DatasetRecord
    metrics: MeasuredMetrics
    environment: Environment
    format: Literal["modelproof.training.v1"] = "modelproof.training.v1"

    def to_json(self) -> str:
        """Write canonical JSON: see ``canonical``."""
        return canonical.dump(self)

    @staticmethod
    def from_json(data: bytes, what: str = "the training metadata") -> TrainingMetadata:
        """Read what ``to_json`` wrote; ``what`` names the text in errors.

        Raises:
            MalformedJson: it is anything else.
            ModelproofError: it describes what cannot be, as metrics that contradict each other.
        """
        return canonical.load(TrainingMetadata, data, what)

    @property
    def dataset_name(self) -> str:
        """Of what it was trained on."""
        return self.dataset.name

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the model tells apart."""
        return self.dataset.class_names

    @property
    def training_accuracy_ppm(self) -> int:
        """Accuracy on the whole training part."""
        return self.metrics.train.accuracy_ppm

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the text, 32 bytes."""
        return hashlib.sha256(self.to_json().encode()).digest()

    def summary(self, stored_as: str | None = None) -> str:
        """Write JSON of about 170 bytes for the chain: what was trained, and the text's digest.

        ``stored_as`` is the CID of the object that holds the text, if it is in a store.
        """
        return canonical.canonical_json(
            {
                "dataset": self.dataset.name,
                "epochs": self.hyperparameters.epochs,
                "metadata_sha256": self.digest.hex(),
                "recipe": self.recipe,
                "seed": self.seed,
                **({OBJECT_KEY: stored_as} if stored_as else {}),
            }
        )


def metadata_path(model: Path) -> Path:
    """Return where the metadata of a model file is: beside it, with ``.json`` for its suffix."""
    return model.with_suffix(SUFFIX)
