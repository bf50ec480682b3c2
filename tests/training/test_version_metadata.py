"""Metadata of a version is read by its format, and says the same of versions however made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ml.errors import ModelproofError, NotVerified
from ml.training.architectures import Architecture, ArchitectureName
from ml.training.canonical import MalformedJson
from ml.training.environment import Environment
from ml.training.round_metadata import RecordedUpdate, RoundMetadata
from ml.training.train import TrainedModel
from ml.training.version_metadata import read_metadata


def recorded(client: int, correct: int | None = None) -> RecordedUpdate:
    return RecordedUpdate(
        client_id=client,
        address="0x5FbDB2315678afecb367f032d93F642f64180aa3",
        cid="bafkreia",
        digest=bytes([client]) * 32,
        samples=40,
        correct=correct,
        signature_r=b"r" * 32,
        signature_vs=b"s" * 32,
    )


def round_of(*updates: RecordedUpdate) -> RoundMetadata:
    return RoundMetadata(
        weights=b"w" * 32,
        model=b"m" * 32,
        version=3,
        parent=2,
        parent_weights=b"p" * 32,
        epoch=0,
        iteration=3,
        run=b"r" * 32,
        run_cid="bafkreib",
        dataset="iris",
        class_names=("setosa", "versicolor", "virginica"),
        architecture=Architecture(ArchitectureName.LOGISTIC, (4,), 3),
        rule="fedavg",
        updates_root=b"u" * 32,
        updates=updates,
        environment=Environment("3.11", {}, "x86_64", "AVX2", 1, None, None),
    )


def written(folder: Path, text: str) -> Path:
    path = folder / "v3.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_rounds_metadata_is_read_as_that_of_a_training_is(
    iris_dense: TrainedModel, tmp_path: Path
) -> None:
    made = round_of(recorded(0, 30), recorded(2, 36))
    read = read_metadata(written(tmp_path, made.to_json()), made.digest)
    assert read == made
    assert (read.dataset_name, read.class_names) == ("iris", made.class_names)
    assert read.training_accuracy_ppm == 66 * 1_000_000 // 80
    trained = iris_dense.metadata
    again = read_metadata(written(tmp_path, trained.to_json()), trained.digest)
    assert (again.dataset_name, again.class_names) == (read.dataset_name, read.class_names)
    assert again.training_accuracy_ppm == trained.metrics.train.accuracy_ppm


def test_training_accuracy_is_unknown_where_not_every_client_counted(tmp_path: Path) -> None:
    made = round_of(recorded(0, 30), recorded(2))
    assert read_metadata(written(tmp_path, made.to_json())).training_accuracy_ppm == 0


def test_rounds_metadata_with_another_digest_is_refused(tmp_path: Path) -> None:
    made, other = round_of(recorded(0)), round_of(recorded(1))
    with pytest.raises(NotVerified, match="is not the one on record"):
        read_metadata(written(tmp_path, made.to_json()), other.digest)


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (("modelproof.round.v1", "modelproof.round.v2"), MalformedJson, "its format is none of"),
        (('"modelproof.round.v1"', "1"), MalformedJson, "its format is none of"),
        (("{", "["), MalformedJson, "cannot be used"),
        (('"version":3', '"version":3,"more":1'), MalformedJson, "more"),
        (('"client_id":2', '"client_id":0'), ModelproofError, "in the order of their clients"),
    ],
)
def test_metadata_of_no_known_form_is_refused(
    tmp_path: Path, change: tuple[str, str], error: type[Exception], reason: str
) -> None:
    text: Any = round_of(recorded(0), recorded(2)).to_json()
    assert change[0] in text
    with pytest.raises(error, match=reason):
        read_metadata(written(tmp_path, text.replace(*change)))
