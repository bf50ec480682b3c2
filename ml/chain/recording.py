"""Recording digests in a ProvenanceLog, once: what is on record already is told and not sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ml import files
from ml.chain import log_proofs
from ml.chain.log_proofs import BatchProof, LogPlace
from ml.chain.log_records import (
    METADATA_BYTES,
    Batch,
    LogRecord,
    RecordKind,
    Statement,
    digest_text,
)
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.records import Receipt
from ml.chain.types import format_time
from ml.errors import ModelproofError

if TYPE_CHECKING:
    from ape.api import AccountAPI


@dataclass(frozen=True, slots=True)
class Entry:
    """A digest that is on record now."""

    digest: bytes
    record: LogRecord
    receipt: Receipt | None
    """None if it was on record before."""


def record_once(
    log: ProvenanceLog,
    kind: RecordKind,
    digest: bytes,
    *,
    sender: AccountAPI,
    count: int = 1,
    metadata: str = "",
) -> Entry:
    """Have a digest on record as the sender's; nothing is sent if it is, with the same meaning.

    Raises:
        ModelproofError: it is on record with another kind, count or metadata, for good.
        ContractRefused: a value is out of range.
    """
    if not log.is_recorded(sender.address, digest):
        record, receipt = log.append(kind, digest, sender=sender, count=count, metadata=metadata)
        return Entry(digest, record, receipt)
    record = log.record(sender.address, digest)
    kept = digest_text(metadata)[:METADATA_BYTES]
    if (record.kind, record.count, record.metadata) != (kind, count, kept):
        raise ModelproofError(
            f"{sender.address} recorded 0x{digest.hex()} before, as record {record.index} at"
            f" {format_time(record.time)}, with another kind, count or metadata:"
            " the first time stays."
        )
    return Entry(digest, record, None)


def write_batch(
    place: LogPlace, submitter: str, statements: Mapping[str, Statement], folder: Path
) -> Batch:
    """Make a batch of statements and write the proof of each, before the batch is recorded.

    Args:
        place: the log that it will be recorded in
        submitter: who will record it
        statements: by the names that their proofs are written under, with .json, below the folder
        folder: for the proofs

    Raises:
        ModelproofError: there is no statement, or more than a million.
    """
    batch = Batch(list(statements.values()))
    for name, statement in statements.items():
        siblings = tuple(batch.proof(statement))
        proof = BatchProof(place, submitter, batch.root, statement, siblings)
        files.write_text(folder / f"{name}.json", log_proofs.dump(proof))
    return batch
