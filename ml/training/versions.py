"""Versions of a model that was trained here: continuing, registering, measuring, loading them.

Where the chain, the files and the training meet. Nothing is loaded before it has the identity that
the chain has for it, and the metadata, which says how to load it, has the digest that the version
commits to.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ml.artifact import strict_json
from ml.artifact.strict_json import StrictJsonError
from ml.chain import models, verification
from ml.chain.events import Registered
from ml.chain.models import NamedModel
from ml.chain.publishing import Pending, Turn, Validation, next_turn, register, validate
from ml.chain.records import Model, Receipt
from ml.chain.registry import ModelRegistry
from ml.chain.types import ModelKind
from ml.chain.verification import Identified, Requirement
from ml.errors import ModelproofError, NotVerified
from ml.storage.model_files import ModelFiles, StoredVersion

from . import checkpoint
from .classifiers import Classifier, evaluate_on_test
from .datasets import Dataset, load_dataset
from .metadata import TrainingMetadata, read_metadata
from .metrics import Metrics

if TYPE_CHECKING:
    from ape.api import AccountAPI

    from .train import TrainedModel


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A version's model in memory, made of the very bytes that were verified."""

    stored: StoredVersion
    metadata: TrainingMetadata
    classifier: Classifier


def load_registered(files: ModelFiles, record: Registered, name: str) -> LoadedVersion:
    """Load a version's model from its files here, by what its registration says.

    Args:
        files: where the files are
        record: the registration, which has been checked against the version's commitment
        name: of the model, for messages

    Raises:
        NotVerified: a file is not the registered one.
        ModelproofError: a file is missing, or the version was not trained by this project.
    """
    digest = _metadata_digest(record, name)
    refused: list[ModelproofError] = []
    for stored in files.find_all(record.weights, record.version):
        try:
            metadata = read_metadata(stored.metadata, digest)
            classifier = checkpoint.load(stored.artifact, record.weights, metadata.architecture)
        except ModelproofError as error:  # a file of this name, and of another version or damaged
            refused.append(error)
            continue
        return LoadedVersion(stored, metadata, classifier)
    if refused:
        raise next((error for error in refused if isinstance(error, NotVerified)), refused[0])
    raise ModelproofError(
        f"the file of v{record.version} of {name} is not below {files.root}/:"
        f" `ape run restore {name}` puts it back from a backup."
    )


def current(registry: ModelRegistry, model: NamedModel) -> Identified | None:
    """The current version of a model, None if it has none.

    Raises:
        NotVerified: what the node says of it is not what the version commits to.
    """
    number = registry.model(model.id).state.current
    return numbered(registry, model, number) if number else None


def numbered(registry: ModelRegistry, model: NamedModel, number: int) -> Identified:
    """The version of a model with this number.

    Raises:
        NotVerified: what the node says of it is not what the version commits to.
        ContractRefused: there is none.
    """
    return verification.by_number(registry, model.id, number)


def load_good(
    registry: ModelRegistry,
    model: NamedModel,
    files: ModelFiles,
    number: int | None,
    requirement: Requirement,
) -> tuple[Identified, LoadedVersion]:
    """Load a version if it is good enough: the current one if no number is given.

    Raises:
        NotVerified: the version, or its file, is not what it has to be.
        ModelproofError: there is no such version, or its file is missing.
    """
    found = numbered(registry, model, number) if number else current(registry, model)
    if found is None:
        raise NotVerified(f"{model.name} has no current version: nothing to load.")
    if not found.meets(requirement):
        raise NotVerified(
            f"{model.name} is not loaded, since {requirement} is required: {found.standing()}"
        )
    return found, load_registered(files, found.registered, model.name)


@dataclass(frozen=True, slots=True)
class Start:
    """Where the training of a model's next version begins."""

    turn: Turn
    parent: LoadedVersion | None
    """The version that the weights come from, None for seeded ones."""
    source: str = "seeded weights"
    """What they are, for messages."""


def start(
    registry: ModelRegistry,
    model: NamedModel,
    files: ModelFiles,
    *,
    parent: int | None = None,
    fresh: bool = False,
) -> Start:
    """Take the model's next turn, and load the version that it goes on from.

    Where a fork has nothing to go on from yet, that is the version of the other model that it
    starts from.

    Args:
        registry: where the model is
        model: whose version it will be
        files: where the files of its versions are
        parent: the version to go on from, if it is not the current one; only an open model takes
            another
        fresh: begin with seeded weights all the same; in an open model the parent is none then

    Raises:
        NotVerified: the file to go on from is not the one on record.
        ModelproofError: training is over, a version waits, the file to go on from is gone, or it is
            not the current one of a strict model.
    """
    known = registry.model(model.id)
    current = known.state.current
    if known.kind is ModelKind.OPEN and parent is None:
        parent = 0 if fresh else current
    if known.kind is ModelKind.STRICT and parent not in (None, current):
        raise ModelproofError(
            f"{model.name} is one line of versions, and v{parent} is not its current one"
            f" (v{current}): roll back to it first, or fork it."
        )
    turn = next_turn(registry, model, parent)
    if fresh:
        return Start(turn, None)
    if turn.details.parent:
        source, version = model, turn.details.parent
    elif known.origin is not None:
        source, version = models.by_id(registry, known.origin.model), known.origin.version
    else:
        return Start(turn, None)
    record = numbered(registry, source, version).registered
    loaded = load_registered(files, record, source.name)
    return Start(turn, loaded, f"v{version} of {source.name}")


def register_trained(
    registry: ModelRegistry,
    model: NamedModel,
    files: ModelFiles,
    begun: Start,
    trained: TrainedModel,
    *,
    sender: AccountAPI,
) -> tuple[StoredVersion, Receipt]:
    """Save a trained model as the version of the turn that it was trained in, and register it.

    The files are written first: a crash leaves files that no version names, never a version
    without files.

    Raises:
        ContractRefused: the turn has passed, as by a rollback since; or the sender may not.
        ModelproofError: the model was not trained from the version of its turn.
    """
    parent = begun.parent.metadata.weights if begun.parent else None
    if trained.metadata.parent != parent:
        raise ModelproofError(f"this model was not trained from {begun.source}.")
    metadata = trained.metadata.summary()
    version = begun.turn.version
    stored = files.place(model.name, version, trained.weights, trained.classifier.suffix)
    checkpoint.save(trained, stored.artifact)
    files.keep_manifest(stored, trained.manifest)
    receipt = register(registry, model, begun.turn, trained.weights, metadata, sender=sender)
    return stored, receipt


@dataclass(frozen=True, slots=True)
class Evaluated:
    """How a version that waits did on the committed test set."""

    metrics: Metrics
    training_accuracy_ppm: int
    """As its metadata states it."""


def evaluate_waiting(
    model: NamedModel, files: ModelFiles, waiting: Pending, dataset: Dataset
) -> Evaluated:
    """Verify and load a version that waits, and measure it on the committed test set.

    Raises:
        NotVerified: its file, its metadata or the test set is not the one on record.
        ModelproofError: it was not trained by this project.
    """
    check_test_set(waiting.model, dataset)
    loaded = load_registered(files, waiting.registered, model.name)
    metrics = evaluate_on_test(loaded.classifier, dataset)
    return Evaluated(metrics, loaded.metadata.metrics.train.accuracy_ppm)


def validate_trained(
    registry: ModelRegistry,
    model: NamedModel,
    files: ModelFiles,
    waiting: Pending,
    dataset: Dataset,
    *,
    accepted: bool = True,
    sender: AccountAPI,
) -> Validation:
    """Measure a version that waits as `evaluate_waiting`, and validate it.

    Raises:
        NotVerified: its file, its metadata or the test set is not the one on record.
        ContractRefused: the sender may not validate.
        ModelproofError: it was not trained by this project.
    """
    evaluated = evaluate_waiting(model, files, waiting, dataset)
    return validate(
        registry,
        waiting,
        evaluated.metrics.accuracy_ppm,
        evaluated.training_accuracy_ppm,
        evaluated.metrics.summary(),
        accepted=accepted,
        sender=sender,
    )


def dataset_of(waiting: Pending, name: str, folder: Path | None = None) -> Dataset:
    """The data set that a waiting version says it was trained on.

    Args:
        waiting: the version
        name: of the model, for messages
        folder: where MNIST's files are, None for the package

    Raises:
        ModelproofError: it does not say, or there is no such data set.
    """
    _metadata_digest(waiting.registered, name)
    stated = strict_json.loads(waiting.registered.metadata.encode(), fractions=True)
    return load_dataset(str(stated.get("dataset")) if isinstance(stated, dict) else "", folder)


def check_test_set(model: Model, dataset: Dataset) -> None:
    """Check that a data set's test part is the one that the model was created for.

    Raises:
        NotVerified: it is another.
    """
    if dataset.test_digest != model.test_set:
        raise NotVerified(
            f"the test set of {dataset.name!r} at hand has the root 0x{dataset.test_digest.hex()},"
            f" and the model was created for 0x{model.test_set.hex()}: get that one."
        )


def stated_metadata_digest(record: Registered) -> bytes | None:
    """The SHA-256 that a registration states of its training metadata, None if it states none."""
    try:
        stated = strict_json.loads(record.metadata.encode(), fractions=True)
        digest = bytes.fromhex(stated["metadata_sha256"]) if isinstance(stated, dict) else b""
    except (StrictJsonError, KeyError, TypeError, ValueError):
        return None
    return digest if len(digest) == 32 else None


def _metadata_digest(record: Registered, name: str) -> bytes:
    digest = stated_metadata_digest(record)
    if digest is None:
        raise ModelproofError(
            f"v{record.version} of {name} was not trained by this project, so it cannot be loaded"
            " here: measure it where it runs, and hand its metrics to `ape run validate --metrics`."
        )
    return digest
