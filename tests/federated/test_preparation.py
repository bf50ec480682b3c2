"""A data set is divided the same way for the same seed, and no client has a sample of the test."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from ml.errors import ModelproofError
from ml.federated.configuration import Preparation, Source
from ml.federated.parts import Part
from ml.federated.preparation import Divided, divide, files_of
from ml.federated.splits import AnySplit, ByClass, Dirichlet, Iid, Quantity, Shards
from ml.training.datasets import Dataset
from ml.training.samples import sample_contents

NOON = "2026-01-31T12:00:00Z"
FROM_TRAIN = Preparation(4, Iid(), seed=5, holdout_samples=20, holdout_from="train")


def contents(*parts: Part) -> list[bytes]:
    return [digest for part in parts for digest in sample_contents(part.inputs, part.labels)]


def of(dataset: Dataset, which: str) -> list[bytes]:
    return sample_contents(getattr(dataset, f"{which}_inputs"), getattr(dataset, f"{which}_labels"))


# --- Who gets what --------------------------------------------------------------------------------


def test_clients_divide_the_training_part_and_the_service_the_test_part(iris: Dataset) -> None:
    divided = divide(iris, Preparation(4, Iid()))
    assert sorted(contents(*divided.clients)) == sorted(of(iris, "train"))
    assert sorted(contents(divided.validation, divided.holdout)) == sorted(of(iris, "test"))
    assert (len(divided.validation), len(divided.holdout)) == (15, 15)


def test_holdout_of_the_training_part_leaves_the_test_part_whole(iris: Dataset) -> None:
    divided = divide(iris, FROM_TRAIN)
    assert divided.validation.root == iris.test_digest
    assert len(divided.holdout) == 20
    held_out = {*contents(divided.holdout)}
    assert held_out <= {*of(iris, "train")}
    assert held_out.isdisjoint(contents(*divided.clients))
    assert sum(map(len, divided.clients)) + divided.left_out == 100


@pytest.mark.parametrize("source", ["test", "train"])
def test_training_sample_that_the_test_has_too_goes_to_no_client(
    iris: Dataset, source: Source
) -> None:
    inputs, labels = iris.train_inputs.copy(), iris.train_labels.copy()
    inputs[:7], labels[:7] = iris.test_inputs[:7], iris.test_labels[:7]
    leaking = replace(iris, train_inputs=inputs, train_labels=labels)
    preparation = Preparation(3, Iid(), holdout_samples=10, holdout_from=source)
    divided = divide(leaking, preparation)
    tested = {*contents(divided.validation, divided.holdout)}
    assert tested.isdisjoint(contents(*divided.clients))
    assert divided.left_out > 0


def test_holdout_depends_on_the_seed_and_not_on_the_clients(iris: Dataset) -> None:
    roots = [
        divide(iris, preparation).holdout.root
        for preparation in (
            Preparation(2, Iid(), seed=1),
            Preparation(9, Shards(), seed=1),
            Preparation(2, Iid(), seed=2),
        )
    ]
    assert roots[0] == roots[1] != roots[2]


# --- The same files -------------------------------------------------------------------------------


def written(dataset: Dataset, preparation: Preparation, at: str = NOON) -> dict[str, bytes]:
    return files_of(divide(dataset, preparation), at)


def test_same_preparation_gives_the_same_bytes(iris: Dataset) -> None:
    assert written(iris, FROM_TRAIN) == written(iris, FROM_TRAIN)


def test_time_is_in_the_metadata_alone(iris: Dataset) -> None:
    first, later = (written(iris, FROM_TRAIN, at) for at in (NOON, "2026-02-01T00:00:00Z"))
    assert [path for path in first if first[path] != later[path]] == ["train/metadata.json"]


def test_another_seed_gives_other_parts(iris: Dataset) -> None:
    first, other = (written(iris, replace(FROM_TRAIN, seed=seed)) for seed in (1, 2))
    same = {path for path in first if first[path] == other[path]}
    assert same == {"test/validation.safetensors"}  # which is the whole test part here


@pytest.mark.parametrize(
    ("split", "digest"),
    [
        (Iid(), "25b3198205d62129"),
        (ByClass(0.9), "5a5d286a361b06c9"),
        (Shards(), "1c3f4fc54197861c"),
        (Quantity(), "bd5ed46babf48d39"),
        (Dirichlet(), "649538cfd2c4e64a"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_parts_are_those_of_every_earlier_release(
    iris: Dataset, split: AnySplit, digest: str
) -> None:
    """Whoever changes what is drawn, as with another numpy, has to say so."""
    divided = divide(iris, Preparation(5, split, seed=7))
    roots = b"".join(part.root for part in (*divided.clients, divided.validation, divided.holdout))
    assert hashlib.sha256(roots).hexdigest()[:16] == digest


# --- What the files say ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def divided(iris: Dataset) -> Divided:
    return divide(iris, Preparation(3, ByClass(), seed=11))


@pytest.fixture(scope="module")
def files(divided: Divided) -> dict[str, bytes]:
    return files_of(divided, NOON)


def test_files_are_where_the_thesis_has_them(files: dict[str, bytes]) -> None:
    assert sorted(files) == [
        "config/client_0_config.json",
        "config/client_1_config.json",
        "config/client_2_config.json",
        "config/main_service_config.json",
        "test/holdout.safetensors",
        "test/validation.safetensors",
        "train/client_0.safetensors",
        "train/client_1.safetensors",
        "train/client_2.safetensors",
        "train/metadata.json",
    ]


def sha256(data: bytes) -> str:
    return "0x" + hashlib.sha256(data).hexdigest()


def test_client_configuration_has_the_thesis_fields(
    divided: Divided, files: dict[str, bytes]
) -> None:
    stated = json.loads(files["config/client_1_config.json"])
    assert stated == {
        "format": "modelproof.client-data.v1",
        "client_id": 1,
        "dataset_name": "iris",
        "dataset_version": divided.version,
        "dataset_path": "train/client_1.safetensors",
        "dataset_size": 40,
        "dataset_hash": sha256(files["train/client_1.safetensors"]),
        "dataset_root": "0x" + divided.clients[1].root.hex(),
        "split_type": "non_iid",
        "classes_distribution": {"setosa": 0, "versicolor": 40, "virginica": 0},
    }


def test_client_configuration_says_nothing_of_the_test_data(files: dict[str, bytes]) -> None:
    for client in range(3):
        stated = files[f"config/client_{client}_config.json"]
        assert b"test" not in stated
        assert b"holdout" not in stated


def test_service_configuration_has_the_thesis_fields(
    divided: Divided, files: dict[str, bytes]
) -> None:
    stated = json.loads(files["config/main_service_config.json"])
    assert stated == {
        "format": "modelproof.service-data.v1",
        "dataset_name": "iris",
        "dataset_version": divided.version,
        "test_dataset_path": "test/validation.safetensors",
        "test_dataset_size": 15,
        "test_dataset_hash": sha256(files["test/validation.safetensors"]),
        "test_dataset_root": "0x" + divided.validation.root.hex(),
        "holdout_path": "test/holdout.safetensors",
        "holdout_size": 15,
        "holdout_hash": sha256(files["test/holdout.safetensors"]),
        "holdout_root": "0x" + divided.holdout.root.hex(),
    }


def test_metadata_has_the_thesis_fields(
    iris: Dataset, divided: Divided, files: dict[str, bytes]
) -> None:
    stated = json.loads(files["train/metadata.json"])
    assert stated == {
        "format": "modelproof.preparation.v1",
        "dataset_name": "iris",
        "dataset_version": divided.version,
        "class_names": ["setosa", "versicolor", "virginica"],
        "input_shape": [4],
        "total_training_samples": 120,
        "total_test_samples": 30,
        "num_clients": 3,
        "split_type": "non_iid",
        "split_seed": 11,
        "preparation": {
            "clients": 3,
            "split": {"name": "class", "share": 1.0},
            "seed": 11,
            "holdout_samples": None,
            "holdout_from": "test",
        },
        "left_out": 0,
        "client_splits": [
            {"client_id": client, "samples": 40, "dataset_root": "0x" + part.root.hex()}
            for client, part in enumerate(divided.clients)
        ],
        "source_train_root": "0x" + iris.train_digest.hex(),
        "source_test_root": "0x" + iris.test_digest.hex(),
        "hashes": {
            path: sha256(data) for path, data in files.items() if path != "train/metadata.json"
        },
        "numpy": np.__version__,
        "created_at": NOON,
    }


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preparation", "reason"),
    [
        (Preparation(2, Iid(), holdout_samples=0), "from 1 to 29 of the 30 .* test part .* not 0"),
        (Preparation(2, Iid(), holdout_samples=30), "not 30"),
        (
            Preparation(2, Iid(), holdout_samples=120, holdout_from="train"),
            "from 1 to 119 of the 120 samples of the train part",
        ),
        (Preparation(121, Iid()), "120 samples do not go round 121 clients"),
        (Preparation(2, Dirichlet(0.001, min_samples=0)), "leaves client"),
    ],
)
def test_preparation_that_leaves_somebody_nothing_is_refused(
    iris: Dataset, preparation: Preparation, reason: str
) -> None:
    with pytest.raises(ModelproofError, match=reason):
        divide(iris, preparation)


@pytest.mark.parametrize("seed", [-1, 1 << 63])
def test_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(ModelproofError, match=rf"from 0 to 2\*\*63 - 1, not {seed}"):
        Preparation(2, Iid(), seed=seed)
