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
from ml.chain import models, verification
from ml.chain.events import Registered
from ml.chain.models import NamedModel
from ml.chain.publishing import Pending, Turn, Validation, next_turn, register, validate
from ml.chain.records import Model, Receipt
from ml.chain.registry import ModelRegistry
from ml.chain.types import ModelKind
from ml.chain.verification import Identified, Requirement
from ml.errors import ModelproofError, NotVerified
from ml.storage.cid import Cid
from ml.storage.model_files import ModelFiles, StoredVersion
from ml.storage.version_store import KeptVersion

from . import checkpoint
from .archive import Archive, Fetch
from .classifiers import Classifier, evaluate
from .datasets import Dataset, LabelledSamples, load_dataset
from .metrics import Metrics
from .stated import metadata_digest
from .version_metadata import VersionMetadata, read_metadata

if TYPE_CHECKING:
    from ape.api import AccountAPI

    from .train import TrainedModel


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A version's model in memory, made of the very bytes that were verified."""

    stored: StoredVersion
    metadata: VersionMetadata
    classifier: Classifier


def load_registered(
    files: ModelFiles, record: Registered, name: str, fetch: Fetch | None = None
) -> LoadedVersion:
    """Load a version's model from its files here, by what its registration says.

    Args:
        files: where the files are
        record: the registration, which has been checked against the version's commitment
        name: of the model, for messages
        fetch: gets files that are missing; what is here and is not right, it leaves alone

    Raises:
        NotVerified: a file is not the registered one.
        ModelproofError: a file is missing, or the version was not trained by this project.
    """
    digest = metadata_digest(record, name)
    refused: list[ModelproofError] = []
    for stored in files.find_all(record.weights, record.version):
        try:
            return _load(stored, record.weights, digest)
        except ModelproofError as error:  # a file of this name, and of another version or damaged
            refused.append(error)
    wrong = next((error for error in refused if isinstance(error, NotVerified)), None)
    if fetch and not wrong:
        return _load(fetch(record), record.weights, digest)
    if refused:
        raise wrong or refused[0]
    raise ModelproofError(
        f"the file of v{record.version} of {name} is not below {files.root}/:"
        f" `ape run restore {name}` puts it back from a backup, `ape run fetch {name}"
        f" {record.version}` from a store."
    )


def _load(stored: StoredVersion, weights: bytes, metadata_sha256: bytes) -> LoadedVersion:
    metadata = read_metadata(stored.metadata, metadata_sha256)
    classifier = checkpoint.load(stored.artifact, weights, metadata.architecture)
    return LoadedVersion(stored, metadata, classifier)


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
    fetch: Fetch | None = None,
) -> tuple[Identified, LoadedVersion]:
    """Load a version if it is good enough: the current one if no number is given.

    ``fetch`` gets its files if they are not here.

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
    return found, load_registered(files, found.registered, model.name, fetch)


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
    fetch: Fetch | None = None,
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
        fetch: gets the files to go on from if they are not here

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
    loaded = load_registered(files, record, source.name, fetch)
    return Start(turn, loaded, f"v{version} of {source.name}")


@dataclass(frozen=True, slots=True)
class RegisteredHere:
    """A version that was trained here and is registered: its files, and its object if any."""

    stored: StoredVersion
    object: Cid | None
    receipt: Receipt


def register_trained(
    registry: ModelRegistry,
    model: NamedModel,
    files: ModelFiles,
    begun: Start,
    trained: TrainedModel,
    *,
    archive: Archive | None = None,
    sender: AccountAPI,
) -> RegisteredHere:
    """Save a trained model as the version of the turn that it was trained in, and register it.

    The files are written first, and stored: a crash leaves files that no version names, never a
    version without files.

    Args:
        registry: where the model is
        model: whose version it will be
        files: where its files go
        begun: what was begun with
        trained: what came of it
        archive: where it is stored too, if anywhere; the version then names its objects
        sender: holds TRAINER

    Raises:
        ContractRefused: the turn has passed, as by a rollback since; or the sender may not.
        ModelproofError: the model was not trained from the version of its turn, or cannot be
            stored.
    """
    parent = begun.parent.metadata.weights if begun.parent else None
    if trained.metadata.parent != parent:
        raise ModelproofError(f"this model was not trained from {begun.source}.")
    turn, metadata = begun.turn, trained.metadata.summary()
    stored = files.place(model.name, turn.version, trained.weights, trained.classifier.suffix)
    checkpoint.save(trained, stored.artifact)
    files.keep_manifest(stored, trained.manifest)
    kept = None
    if archive:
        version = KeptVersion(stored.artifact, trained.manifest)
        kept = archive.keep(registry, model, turn, version, files).stored
        turn = turn.naming(kept.sha256, kept.cid.digest)
        text = archive.keep_metadata(trained.metadata.to_json())
        metadata = trained.metadata.summary(str(text))
    receipt = register(registry, model, turn, trained.weights, metadata, sender=sender)
    return RegisteredHere(stored, kept.cid if kept else None, receipt)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """How a version that waits did on the committed test set."""

    metrics: Metrics
    training_accuracy_ppm: int
    """As its metadata states it."""


def evaluate_waiting(
    model: NamedModel,
    files: ModelFiles,
    waiting: Pending,
    samples: LabelledSamples,
    fetch: Fetch | None = None,
) -> Evaluated:
    """Verify and load a version that waits, and measure it on the committed test set.

    ``fetch`` gets its files if they are not here.

    Raises:
        NotVerified: its file, its metadata or the test set is not the one on record.
        ModelproofError: it was not trained by this project.
    """
    check_test_set(waiting.model, samples)
    loaded = load_registered(files, waiting.registered, model.name, fetch)
    metrics = evaluate(loaded.classifier, samples.inputs, samples.labels, samples.class_names)
    return Evaluated(metrics, loaded.metadata.training_accuracy_ppm)


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
    evaluated = evaluate_waiting(model, files, waiting, dataset.test_part)
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
    metadata_digest(waiting.registered, name)
    stated = strict_json.loads(waiting.registered.metadata.encode(), fractions=True)
    return load_dataset(str(stated.get("dataset")) if isinstance(stated, dict) else "", folder)


def check_test_set(model: Model, samples: LabelledSamples) -> None:
    """Check that samples are the test set that the model was created for.

    Raises:
        NotVerified: it is another.
    """
    if samples.root != model.test_set:
        raise NotVerified(
            f"the test set of {samples.name!r} at hand has the root 0x{samples.root.hex()}, and the"
            f" model was created for 0x{model.test_set.hex()}: get that one (if it was"
            " prepared, name its configuration with --prepared)."
        )
