"""Putting on record which validation part and which holdout a training will be judged by.

Before the first round, so that nobody can choose them by the results. The validation part is the
test set that the model's creation commits to; the record in the `ProvenanceLog` adds its version
label, and the holdout, which the registry does not know of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ml.chain.log_records import RecordKind
from ml.chain.recording import Entry, record_once
from ml.training.canonical import canonical_json

from .configuration import ServiceConfiguration

if TYPE_CHECKING:
    from ape.api import AccountAPI

    from ml.chain.provenance_log import ProvenanceLog


@dataclass(frozen=True, slots=True)
class DataCommitment:
    """What goes on record of one part."""

    digest: bytes
    """The root of its samples."""
    samples: int
    metadata: str
    """Canonical JSON: data set, part and version label."""


def commitments(configuration: ServiceConfiguration) -> tuple[DataCommitment, DataCommitment]:
    """What goes on record of the validation part and of the holdout."""
    validation = (configuration.test_dataset_root, configuration.test_dataset_size)
    holdout = (configuration.holdout_root, configuration.holdout_size)
    return (
        DataCommitment(*validation, _label(configuration, "validation")),
        DataCommitment(*holdout, _label(configuration, "holdout")),
    )


def commit(
    log: ProvenanceLog, configuration: ServiceConfiguration, *, sender: AccountAPI
) -> tuple[Entry, ...]:
    """Record both parts as the sender's; what is on record with the same label is not sent again.

    Raises:
        ModelproofError: a part is on record with another label, for good.
        ContractRefused: a part has more samples than a record can stand for.
    """
    return tuple(
        record_once(
            log,
            RecordKind.DATA,
            commitment.digest,
            sender=sender,
            count=commitment.samples,
            metadata=commitment.metadata,
        )
        for commitment in commitments(configuration)
    )


def _label(configuration: ServiceConfiguration, part: str) -> str:
    return canonical_json(
        {
            "dataset": configuration.dataset_name,
            "part": part,
            "version": configuration.dataset_version,
        }
    )
