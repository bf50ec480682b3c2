"""What was taken to be recorded in batches, against the log that it was to be recorded in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ape import project
from ape.contracts import ContractInstance

from ml.chain import batch_file
from ml.chain.batch_file import BatchFileError, Kept, KeptBatch
from ml.chain.fsck.disagreement import Disagreement, Place
from ml.chain.log_records import Batch, RecordKind
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.refusals import ContractRefused
from ml.chain.session import Session


def check_batches(session: Session) -> Iterator[Disagreement]:
    """See that what recorders took for this chain is on record; what one is at is under way.

    Raises:
        NoAnswer: the node does not answer.
    """
    for path in batch_file.files_of(session):
        in_use = batch_file.is_in_use(path)  # asked first: what it leaves behind is read then
        try:
            kept = batch_file.read(path)
        except BatchFileError as error:
            reason = str(error).rstrip(".")
            yield Disagreement(Place.RECORDS, "cannot be read", str(path), reason)
            continue
        if kept is None or not kept.of.is_on(session):
            continue
        if kept.waiting and not in_use:
            which, why = f"{kept.waiting} of {path}", "`ape run outbox retry` records them"
            yield Disagreement(Place.RECORDS, "records that wait", which, why)
        yield from _check_recorded(session, path, kept)


def _check_recorded(session: Session, path: Path, kept: Kept) -> Iterator[Disagreement]:
    """Hold each batch that is noted to be on record against the log's state."""
    address = kept.of.place.address
    kind = project.ProvenanceLog.contract_type
    log = ProvenanceLog(ContractInstance(address, kind)) if session.code(address) else None
    for batch in kept.batches:
        if batch.root is None:
            continue
        which = f"batch {batch.number} of {path}, 0x{batch.root.hex()}"
        if not batch.statements or Batch(batch.statements).root != batch.root:
            why = "its statements do not lead to its root"
            yield Disagreement(Place.RECORDS, "wrong root", which, why)
        wrong = _wrong(log, kept.of.submitter, batch.root, batch)
        if wrong is not None:
            yield Disagreement(Place.RECORDS, "said recorded and is not", which, wrong)


def _wrong(log: ProvenanceLog | None, submitter: str, root: bytes, batch: KeptBatch) -> str | None:
    if log is None:
        return "there is no log at its address"
    try:
        found = log.record(submitter, root)
    except ContractRefused:
        return f"the log {log.address} has no record of its root by {submitter}"
    if (found.kind, found.count) != (RecordKind.BATCH, len(batch.statements)):
        return f"record {found.index} of its root is of {found.count} things, {found.kind.name}"
    return None
