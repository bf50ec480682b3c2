"""Versions on a real chain: what is trained, registered and validated is what is loaded again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.chain import models, publishing
from ml.chain.models import NamedModel
from ml.chain.policy import PRESETS
from ml.chain.records import Origin, Role
from ml.chain.refusals import ContractRefused
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session, connect
from ml.chain.types import ModelKind, Status, Verdict
from ml.chain.verification import Requirement
from ml.errors import ModelproofError, NotVerified
from ml.storage.model_files import ModelFiles
from ml.training import versions
from ml.training.datasets import Dataset
from ml.training.recipes import find_recipe
from ml.training.train import TrainedModel, train

NAME = "iris-logistic"


@dataclass
class Line:
    """A model on a chain of its own, its files in a folder of their own."""

    session: Session
    registry: ModelRegistry
    model: NamedModel
    files: ModelFiles

    def register(self, trained: TrainedModel) -> int:
        begun = versions.start(self.registry, self.model, self.files)
        self.submit(begun, trained)
        return begun.turn.version

    def submit(self, begun: versions.Start, trained: TrainedModel) -> None:
        trainer = self.session.account(None, Role.TRAINER)
        versions.register_trained(
            self.registry, self.model, self.files, begun, trained, sender=trainer
        )

    def validate(self, dataset: Dataset) -> publishing.Validation:
        return versions.validate_trained(
            self.registry,
            self.model,
            self.files,
            publishing.pending(self.registry, self.model),
            dataset,
            sender=self.session.account(None, Role.VALIDATOR),
        )

    def roll_back(self, target: int) -> None:
        operator = self.session.account(None, Role.OPERATOR)
        self.registry.rollback(self.model.id, target, "poisoned", sender=operator)

    def file(self) -> Path:
        (found,) = self.files.root.glob("*/*.safetensors")
        return found


@pytest.fixture(scope="module")
def chain() -> Iterator[Session]:
    with connect("local") as session:
        yield session


@pytest.fixture(scope="module")
def trained(iris: Dataset) -> TrainedModel:
    return train(find_recipe("iris", "logistic"), iris, epochs=5)


@pytest.fixture
def line(chain: Session, iris: Dataset, tmp_path: Path, request: pytest.FixtureRequest) -> Line:
    owner = chain.account(None, Role.ADMIN)
    registry, _ = chain.deploy(owner)
    model, _ = registry.create_model(
        request.node.name,
        iris.test_digest,
        PRESETS["thesis"],
        sender=owner,
        trainer=chain.account(None, Role.TRAINER).address,
        validator=chain.account(None, Role.VALIDATOR).address,
        operator=chain.account(None, Role.OPERATOR).address,
    )
    named = models.NamedModel(model, NAME, owner.address)
    return Line(chain, registry, named, ModelFiles(tmp_path))


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_validated_version_is_measured_on_the_committed_test_set(
    line: Line, trained: TrainedModel, iris: Dataset
) -> None:
    assert line.register(trained) == 1
    validation = line.validate(iris)
    record = line.registry.version(line.model.id, 1)
    assert validation.judgement.verdict is Verdict.FIRST_BEST
    assert record.status is Status.PASSED
    assert record.accuracy == trained.metadata.metrics.test.accuracy_ppm


def test_current_version_is_loaded_from_its_files_as_it_was_trained(
    line: Line, trained: TrainedModel, iris: Dataset
) -> None:
    line.register(trained)
    line.validate(iris)
    found, loaded = versions.load_good(
        line.registry, line.model, line.files, None, Requirement.CURRENT
    )
    assert found.is_current
    assert loaded.metadata == trained.metadata
    assert loaded.classifier.manifest() == trained.manifest


def test_file_with_one_bit_flipped_is_not_validated(
    line: Line, trained: TrainedModel, iris: Dataset
) -> None:
    line.register(trained)
    flip(line.file(), -1)
    with pytest.raises(NotVerified):
        line.validate(iris)
    assert line.registry.version(line.model.id, 1).status is Status.PENDING


def test_metadata_that_was_altered_is_not_believed(
    line: Line, trained: TrainedModel, iris: Dataset
) -> None:
    line.register(trained)
    metadata = line.file().with_suffix(".json")
    metadata.write_text(metadata.read_text().replace('"seed":0', '"seed":1'))
    with pytest.raises(NotVerified, match="not the one on record"):
        line.validate(iris)


def test_another_test_set_than_the_committed_one_is_refused(
    line: Line, trained: TrainedModel, iris: Dataset
) -> None:
    line.register(trained)
    labels = np.roll(iris.test_labels, 1)
    with pytest.raises(NotVerified, match="was created for"):
        line.validate(replace(iris, test_labels=labels))


def test_version_that_waits_is_not_loaded_as_current(line: Line, trained: TrainedModel) -> None:
    line.register(trained)
    with pytest.raises(NotVerified, match="no current version"):
        versions.load_good(line.registry, line.model, line.files, None, Requirement.CURRENT)
    with pytest.raises(NotVerified, match="waits for its validation"):
        versions.load_good(line.registry, line.model, line.files, 1, Requirement.PASSED)


def test_missing_file_names_what_puts_it_back(
    line: Line, trained: TrainedModel, iris: Dataset
) -> None:
    line.register(trained)
    line.file().unlink()
    with pytest.raises(ModelproofError, match="ape run restore"):
        line.validate(iris)


def test_no_work_is_begun_while_a_version_waits(line: Line, trained: TrainedModel) -> None:
    line.register(trained)
    with pytest.raises(ModelproofError, match=r"v1 .* waits for its validation"):
        versions.start(line.registry, line.model, line.files)


def test_no_work_is_begun_when_training_is_over(line: Line) -> None:
    operator = line.session.account(None, Role.OPERATOR)
    line.registry.complete(line.model.id, "enough", sender=operator)
    with pytest.raises(ModelproofError, match=r"over \(MANUAL\)"):
        versions.start(line.registry, line.model, line.files)


def trained_from(begun: versions.Start, iris: Dataset, seed: int) -> TrainedModel:
    assert begun.parent is not None
    return train(
        find_recipe("iris", "logistic"),
        iris,
        epochs=1,
        seed=seed,
        parent=begun.parent.classifier,
    )


def test_rollback_during_training_makes_the_chain_refuse_what_was_trained(
    line: Line, trained: TrainedModel, iris: Dataset
) -> None:
    line.register(trained)
    line.validate(iris)
    begun = versions.start(line.registry, line.model, line.files)
    line.submit(begun, trained_from(begun, iris, 2))
    line.validate(iris)
    begun = versions.start(line.registry, line.model, line.files)
    late = trained_from(begun, iris, 3)
    line.roll_back(1)
    with pytest.raises(ContractRefused) as refused:
        line.submit(begun, late)
    assert refused.value.name in {"UnexpectedParent", "UnexpectedEpoch"}
    assert line.registry.model(line.model.id).state.latest == 2


def test_second_of_two_trainers_at_once_is_refused(
    line: Line, trained: TrainedModel, iris: Dataset
) -> None:
    line.register(trained)
    line.validate(iris)
    begun = versions.start(line.registry, line.model, line.files)
    first, second = trained_from(begun, iris, 2), trained_from(begun, iris, 3)
    line.submit(begun, first)
    line.validate(iris)
    with pytest.raises(ContractRefused) as refused:
        line.submit(begun, second)
    assert refused.value.name == "UnexpectedVersion"


def test_model_trained_from_another_version_than_its_turns_is_refused(
    line: Line, trained: TrainedModel, iris: Dataset
) -> None:
    line.register(trained)
    line.validate(iris)
    begun = versions.start(line.registry, line.model, line.files)
    with pytest.raises(ModelproofError, match="not trained from v1"):
        line.submit(begun, trained)


def test_version_without_training_metadata_is_not_loaded(
    line: Line, trained: TrainedModel, iris: Dataset
) -> None:
    trainer = line.session.account(None, Role.TRAINER)
    turn = publishing.next_turn(line.registry, line.model)
    publishing.register(
        line.registry, line.model, turn, trained.weights, '{"dataset":"iris"}', sender=trainer
    )
    with pytest.raises(ModelproofError, match="not trained by this project"):
        line.validate(iris)
    waiting = publishing.pending(line.registry, line.model)
    with pytest.raises(ModelproofError, match="not trained by this project"):
        versions.dataset_of(waiting, NAME)


def test_data_set_of_a_waiting_version_is_the_one_it_was_trained_on(
    line: Line, trained: TrainedModel, iris: Dataset
) -> None:
    line.register(trained)
    waiting = publishing.pending(line.registry, line.model)
    assert versions.dataset_of(waiting, NAME).test_digest == iris.test_digest


# --- Forks and open models ------------------------------------------------------------------------


def created(line: Line, name: str, dataset: Dataset, **kind: Any) -> Line:
    """Another model beside a line's, with its files in the same folder."""
    owner = line.session.account(None, Role.ADMIN)
    trainer = line.session.account(None, Role.TRAINER).address
    validator = line.session.account(None, Role.VALIDATOR).address
    model, _ = line.registry.create_model(
        name,
        dataset.test_digest,
        PRESETS["open"],
        sender=owner,
        trainer=trainer,
        validator=validator,
        **kind,
    )
    return replace(line, model=NamedModel(model, name, owner.address))


def test_first_version_of_a_fork_goes_on_from_the_one_that_was_forked(
    line: Line, trained: TrainedModel, iris: Dataset
) -> None:
    line.register(trained)
    line.validate(iris)
    fork = created(line, "fork", iris, origin=Origin(line.model.id, 1))
    begun = versions.start(fork.registry, fork.model, fork.files)
    assert begun.turn.details.parent == 0
    assert begun.parent is not None
    assert begun.parent.metadata.weights == trained.weights
    assert versions.start(fork.registry, fork.model, fork.files, fresh=True).parent is None
    with pytest.raises(ModelproofError, match="was not trained from v1 of"):
        fork.submit(begun, trained)


def test_line_goes_on_from_its_current_version_alone(
    line: Line, trained: TrainedModel, iris: Dataset
) -> None:
    line.register(trained)
    line.validate(iris)
    assert versions.start(line.registry, line.model, line.files, parent=1).turn.version == 2
    with pytest.raises(ModelproofError, match=r"v2 is not its current one \(v1\): roll back"):
        versions.start(line.registry, line.model, line.files, parent=2)


def test_candidate_goes_on_from_the_current_version_or_another_or_none(
    line: Line, trained: TrainedModel, iris: Dataset
) -> None:
    shop = created(line, "shop", iris, kind=ModelKind.OPEN)
    for _ in range(2):
        begun = versions.start(shop.registry, shop.model, shop.files, fresh=True)
        assert begun.turn.details.parent == 0
        shop.submit(begun, trained)
        shop.validate(iris)
    begun = versions.start(shop.registry, shop.model, shop.files)
    assert (begun.turn.version, begun.turn.details.parent) == (3, 1)
    assert begun.parent is not None
    other = versions.start(shop.registry, shop.model, shop.files, parent=2)
    assert other.turn.details.parent == 2
