"""Which of several files of one name is loaded as a registered version, and what is said of none.

The registration is made here and not on a chain: it is taken as checked.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from ml.chain.events import Registered
from ml.chain.records import Details
from ml.errors import ModelproofError, NotVerified
from ml.storage.model_files import ModelFiles, StoredVersion
from ml.training import checkpoint
from ml.training.datasets import load_dataset
from ml.training.recipes import find_recipe
from ml.training.stated import stated_metadata_digest
from ml.training.train import TrainedModel, train
from ml.training.versions import load_registered

from .conftest import flip_last_bit


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    return train(find_recipe("iris", "logistic"), load_dataset("iris"), epochs=1)


@pytest.fixture(scope="module")
def twin(trained: TrainedModel) -> TrainedModel:
    """Another model with the same weights, which says something else of itself."""
    metadata = replace(trained.metadata, seed=trained.metadata.seed + 1)
    return replace(trained, metadata=metadata)


def keep(files: ModelFiles, number: int, trained: TrainedModel, model: str = "m") -> StoredVersion:
    stored = files.place(model, number, trained.weights, trained.classifier.suffix)
    checkpoint.save(trained, stored.artifact)
    return stored


def registered(number: int, trained: TrainedModel) -> Registered:
    return Registered(
        model=bytes(32),
        version=number,
        weights=trained.weights,
        commitment=bytes(32),
        registrar="",
        details=Details(0, 1, 0),
        metadata=trained.metadata.summary(),
        block=1,
        transaction="",
    )


def test_versions_with_the_same_weights_are_each_loaded_from_their_own_files(
    kept: ModelFiles, trained: TrainedModel, twin: TrainedModel
) -> None:
    assert trained.weights == twin.weights
    own = {1: keep(kept, 1, trained), 2: keep(kept, 2, twin)}
    for number, one in ((1, trained), (2, twin)):
        loaded = load_registered(kept, registered(number, one), "m")
        assert loaded.stored == own[number]
        assert loaded.metadata == one.metadata


def test_file_in_another_place_is_loaded_if_it_and_its_metadata_are_right(
    kept: ModelFiles, trained: TrainedModel, twin: TrainedModel
) -> None:
    keep(kept, 2, trained)
    right = keep(kept, 1, twin, "elsewhere")
    assert load_registered(kept, registered(2, twin), "m").stored == right


def test_stray_file_of_the_name_does_not_keep_the_version_from_loading(
    kept: ModelFiles, trained: TrainedModel
) -> None:
    right = keep(kept, 1, trained)
    for suffix in (".bin", ".safetensors"):
        stray = kept.place("a-fork", 1, trained.weights, suffix)
        stray.artifact.parent.mkdir(exist_ok=True)
        stray.artifact.write_bytes(b"stray")
        stray.metadata.write_bytes(right.metadata.read_bytes())
    assert load_registered(kept, registered(1, trained), "m").stored == right


def test_only_another_versions_file_is_not_verified(
    kept: ModelFiles, trained: TrainedModel, twin: TrainedModel
) -> None:
    keep(kept, 1, trained)
    with pytest.raises(NotVerified, match="not the one on record"):
        load_registered(kept, registered(2, twin), "m")


def test_altered_file_is_not_verified_though_a_stray_one_does_not_even_parse(
    kept: ModelFiles, trained: TrainedModel
) -> None:
    own = keep(kept, 1, trained)
    flip_last_bit(own.artifact)
    own.artifact.with_suffix(".bin").write_bytes(b"stray")
    with pytest.raises(NotVerified):
        load_registered(kept, registered(1, trained), "m")


def test_no_file_at_all_is_said_to_be_missing(kept: ModelFiles, trained: TrainedModel) -> None:
    with pytest.raises(ModelproofError, match="ape run restore m") as caught:
        load_registered(kept, registered(1, trained), "m")
    assert not isinstance(caught.value, NotVerified)


def test_digest_of_the_metadata_is_the_one_that_the_registration_states(
    trained: TrainedModel,
) -> None:
    record = registered(1, trained)
    assert stated_metadata_digest(record) == trained.metadata.digest


@pytest.mark.parametrize(
    "metadata",
    ["{}", "", "[]", "null", '{"metadata_sha256":7}', '{"metadata_sha256":"ab"}', "\udcff"],
)
def test_registration_that_states_no_digest_has_none(trained: TrainedModel, metadata: str) -> None:
    assert stated_metadata_digest(replace(registered(1, trained), metadata=metadata)) is None
