"""The files that say what was prepared: one for each client, one for the service, and all of it.

Canonical JSON (`ml.training.canonical`) with the thesis's fields and ours. Digests of files are
SHA-256, roots those of `ml.training.samples`; paths are relative to the folder that was prepared.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import Field

from ml.errors import ModelproofError
from ml.training.canonical import Digest

from .splits import AnySplit, Split

TRAIN_FOLDER: Final = "train"
TEST_FOLDER: Final = "test"
CONFIG_FOLDER: Final = "config"
METADATA_PATH: Final = f"{TRAIN_FOLDER}/metadata.json"
SERVICE_PATH: Final = f"{CONFIG_FOLDER}/main_service_config.json"

SplitType = Literal["iid", "non_iid"]
Source = Literal["test", "train"]


@dataclass(frozen=True, slots=True)
class Preparation:
    """How a data set is to be prepared.

    Raises:
        ModelproofError: on construction, if the seed is negative or beyond 63 bits.
    """

    clients: int
    split: Annotated[AnySplit, Field(discriminator="name")]
    seed: int = 0
    holdout_samples: int | None = None
    """Half as many as the test part has if None."""
    holdout_from: Source = "test"
    """``test``: the test part is divided into validation part and holdout. ``train``: the whole
    test part is the validation part, and clients go without the holdout's samples."""

    def __post_init__(self) -> None:
        """Check the seed."""
        if not 0 <= self.seed < 1 << 63:
            raise ModelproofError(f"a seed is from 0 to 2**63 - 1, not {self.seed}")


@dataclass(frozen=True, slots=True)
class ClientConfiguration:
    """What a client needs to know of its own data, and no more."""

    client_id: int
    """Its index, from 0."""
    dataset_name: str
    dataset_version: str
    dataset_path: str
    dataset_size: int
    """Samples."""
    dataset_hash: Digest
    """Of the file."""
    dataset_root: Digest
    """Of the samples: what its enrolment on chain names."""
    split_type: SplitType
    classes_distribution: dict[str, int]
    """Samples of each class."""
    format: Literal["modelproof.client-data.v1"] = "modelproof.client-data.v1"

    def __post_init__(self) -> None:
        """Check the path."""
        check_path(self.dataset_path)


@dataclass(frozen=True, slots=True)
class ServiceConfiguration:
    """What coordinator and validators need to know of the data that clients never see."""

    dataset_name: str
    dataset_version: str
    test_dataset_path: str
    """The validation part, which steers the policy."""
    test_dataset_size: int
    test_dataset_hash: Digest
    test_dataset_root: Digest
    """What the model's creation commits to on chain."""
    holdout_path: str
    """The holdout, which is read once, for the final report."""
    holdout_size: int
    holdout_hash: Digest
    holdout_root: Digest
    format: Literal["modelproof.service-data.v1"] = "modelproof.service-data.v1"

    def __post_init__(self) -> None:
        """Check the paths."""
        check_path(self.test_dataset_path)
        check_path(self.holdout_path)


@dataclass(frozen=True, slots=True)
class ClientSplit:
    """A client's share, as the metadata lists it."""

    client_id: int
    samples: int
    dataset_root: Digest


@dataclass(frozen=True, slots=True)
class PreparationMetadata:
    """All that is known of a prepared data set."""

    dataset_name: str
    dataset_version: str
    class_names: tuple[str, ...]
    input_shape: tuple[int, ...]
    total_training_samples: int
    """Of all clients together."""
    total_test_samples: int
    """Of the validation part and the holdout together."""
    num_clients: int
    split_type: SplitType
    split_seed: int
    preparation: Preparation
    left_out: int
    """Training samples that no client has, since the validation part or the holdout has them."""
    client_splits: tuple[ClientSplit, ...]
    source_train_root: Digest
    source_test_root: Digest
    """Of the data set's parts before they were divided."""
    hashes: dict[str, Digest]
    """SHA-256 of every other file, by its path."""
    numpy: str
    """The version that drew what is random."""
    created_at: str
    """UTC, as 2026-01-31T12:00:00Z."""
    format: Literal["modelproof.preparation.v1"] = "modelproof.preparation.v1"

    def __post_init__(self) -> None:
        """Check the paths."""
        for path in self.hashes:
            check_path(path)


def client_path(client: int) -> str:
    """Where a client's samples are."""
    return f"{TRAIN_FOLDER}/client_{client}.safetensors"


def client_configuration_path(client: int) -> str:
    """Where a client's configuration is."""
    return f"{CONFIG_FOLDER}/client_{client}_config.json"


def split_type(split: Split) -> SplitType:
    """What the thesis calls a split."""
    return "iid" if split.name == "iid" else "non_iid"


def check_path(path: str) -> None:
    """Check that a path leads to a file below the folder that it is relative to.

    Raises:
        ModelproofError: it may lead elsewhere.
    """
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or str(pure) != path or path == ".":
        raise ModelproofError(f"the path {path!r} does not lead to a file in the prepared folder")
