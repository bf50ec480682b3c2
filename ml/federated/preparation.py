"""A data set divided for federated training: a part for each client, a validation part, a holdout.

Clients hold training samples only; the validation part steers the policy, and the holdout is read
once, for the final report. Everything random follows from the seed. Pure; `prepared` reads and
writes the folders.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from ml.errors import ModelproofError
from ml.training import canonical
from ml.training.datasets import Dataset
from ml.training.samples import sample_contents

from . import parts
from .configuration import (
    METADATA_PATH,
    SERVICE_PATH,
    TEST_FOLDER,
    ClientConfiguration,
    ClientSplit,
    Preparation,
    PreparationMetadata,
    ServiceConfiguration,
    client_configuration_path,
    client_path,
    split_type,
)
from .parts import Part
from .splits import Indices, assign

VALIDATION_PATH: Final = f"{TEST_FOLDER}/validation.safetensors"
HOLDOUT_PATH: Final = f"{TEST_FOLDER}/holdout.safetensors"
_VERSION_BYTES: Final = 4


@dataclass(frozen=True, eq=False)
class Divided:
    """A data set in its parts."""

    dataset: Dataset
    preparation: Preparation
    clients: tuple[Part, ...]
    validation: Part
    holdout: Part
    left_out: int
    """Training samples that are in the validation part or the holdout too."""

    @property
    def version(self) -> str:
        """Which validation part and holdout these are: the data set's name and a digest of both."""
        digest = hashlib.sha256(self.validation.root + self.holdout.root).digest()
        return f"{self.dataset.name}-{digest[:_VERSION_BYTES].hex()}"


def divide(dataset: Dataset, preparation: Preparation) -> Divided:
    """Divide a data set; the holdout depends on the seed, and not on the clients or their split.

    No training sample that is in the validation part or in the holdout too, with the same label,
    goes to a client.

    Raises:
        ModelproofError: the holdout leaves nothing over, or as for `splits.assign`.
    """
    for_holdout, for_clients = map(
        np.random.default_rng, np.random.SeedSequence(preparation.seed).spawn(2)
    )
    train = Part(dataset.train_inputs, dataset.train_labels, dataset.class_names)
    test = Part(dataset.test_inputs, dataset.test_labels, dataset.class_names)
    of_clients = np.arange(len(train))
    if preparation.holdout_from == "test":
        rest, held_out = _hold_out(len(test), len(test), preparation, for_holdout)
        validation, holdout = _take(test, rest), _take(test, held_out)
    else:
        of_clients, held_out = _hold_out(len(train), len(test), preparation, for_holdout)
        validation, holdout = test, _take(train, held_out)
    seen = {*_contents(validation), *_contents(holdout)}
    kept = of_clients[[content not in seen for content in _contents(_take(train, of_clients))]]
    assigned = assign(preparation.split, train.labels[kept], preparation.clients, for_clients)
    return Divided(
        dataset,
        preparation,
        tuple(_take(train, kept[indices]) for indices in assigned),
        validation,
        holdout,
        len(of_clients) - len(kept),
    )


def files_of(divided: Divided, created_at: str) -> dict[str, bytes]:
    """Write all files of a divided data set, by their paths in its folder, as the thesis has them.

    Equal arguments give equal bytes. Only the metadata, which is last, has ``created_at`` in it.

    Args:
        divided: the data set.
        created_at: when, UTC, as 2026-01-31T12:00:00Z.
    """
    written = {client_path(client): part for client, part in enumerate(divided.clients)}
    written |= {VALIDATION_PATH: divided.validation, HOLDOUT_PATH: divided.holdout}
    files = {path: parts.dump(part) for path, part in written.items()}
    for client, part in enumerate(divided.clients):
        configuration = _client_configuration(divided, client, part, files[client_path(client)])
        files[client_configuration_path(client)] = canonical.dump(configuration).encode()
    files[SERVICE_PATH] = canonical.dump(_service_configuration(divided, files)).encode()
    files[METADATA_PATH] = canonical.dump(_metadata(divided, files, created_at)).encode()
    return files


def _hold_out(
    samples: int, tested: int, preparation: Preparation, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Draw the holdout's places from some samples; return the rest, and them, in their order."""
    asked = preparation.holdout_samples
    count = tested // 2 if asked is None else asked
    if not 0 < count < samples:
        raise ModelproofError(
            f"a holdout has from 1 to {samples - 1} of the {samples} samples of the"
            f" {preparation.holdout_from} part that it is taken from, not {count}"
        )
    drawn = rng.permutation(samples)
    return np.sort(drawn[count:]), np.sort(drawn[:count])


def _take(part: Part, indices: Indices) -> Part:
    return Part(part.inputs[indices], part.labels[indices], part.class_names)


def _contents(part: Part) -> list[bytes]:
    return sample_contents(part.inputs, part.labels)


def _client_configuration(
    divided: Divided, client: int, part: Part, data: bytes
) -> ClientConfiguration:
    return ClientConfiguration(
        client_id=client,
        dataset_name=divided.dataset.name,
        dataset_version=divided.version,
        dataset_path=client_path(client),
        dataset_size=len(part),
        dataset_hash=_sha256(data),
        dataset_root=part.root,
        split_type=split_type(divided.preparation.split),
        classes_distribution=part.distribution,
    )


def _service_configuration(divided: Divided, files: Mapping[str, bytes]) -> ServiceConfiguration:
    return ServiceConfiguration(
        dataset_name=divided.dataset.name,
        dataset_version=divided.version,
        test_dataset_path=VALIDATION_PATH,
        test_dataset_size=len(divided.validation),
        test_dataset_hash=_sha256(files[VALIDATION_PATH]),
        test_dataset_root=divided.validation.root,
        holdout_path=HOLDOUT_PATH,
        holdout_size=len(divided.holdout),
        holdout_hash=_sha256(files[HOLDOUT_PATH]),
        holdout_root=divided.holdout.root,
    )


def _metadata(divided: Divided, files: Mapping[str, bytes], created_at: str) -> PreparationMetadata:
    return PreparationMetadata(
        dataset_name=divided.dataset.name,
        dataset_version=divided.version,
        class_names=divided.dataset.class_names,
        input_shape=divided.dataset.input_shape,
        total_training_samples=sum(map(len, divided.clients)),
        total_test_samples=len(divided.validation) + len(divided.holdout),
        num_clients=len(divided.clients),
        split_type=split_type(divided.preparation.split),
        split_seed=divided.preparation.seed,
        preparation=divided.preparation,
        left_out=divided.left_out,
        client_splits=tuple(
            ClientSplit(client, len(part), part.root) for client, part in enumerate(divided.clients)
        ),
        source_train_root=divided.dataset.train_digest,
        source_test_root=divided.dataset.test_digest,
        hashes={path: _sha256(data) for path, data in files.items()},
        numpy=np.__version__,
        created_at=created_at,
    )


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
