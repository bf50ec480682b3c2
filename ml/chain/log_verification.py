"""Holding what is kept off chain against a ProvenanceLog on a chain, or against a head of it.

Everything is computed here; of the contract only its head is believed, and of a record its word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml.artifact.log import LogTree, verify_consistency
from ml.chain.log_proofs import BatchProof, InclusionProof, KeptHead, LogPlace
from ml.chain.log_records import Recorded, RecordKind, TreeHead
from ml.chain.provenance_log import ProvenanceLog
from ml.errors import ModelproofError, NotVerified


@dataclass(frozen=True)
class WholeLog:
    """A log that was read and checked against its root: nothing left out, nothing added."""

    place: LogPlace
    records: Sequence[Recorded]
    tree: LogTree

    @property
    def head(self) -> TreeHead:
        """Its size and root."""
        return TreeHead(len(self.tree), self.tree.root())

    def extends(self, kept: KeptHead) -> None:
        """Check that the log with the kept head is the beginning of this one (RFC 6962, 2.1.2).

        Raises:
            NotVerified: it is not: records were changed, left out or put in between.
            ModelproofError: the head is another log's.
        """
        check_place(kept.log, self.place)
        old, new = kept.head, self.head
        if old.size > new.size:
            raise NotVerified(
                f"the log has {new.size} records and had {old.size} when its head was kept:"
                " records are missing."
            )
        proof = self.tree.consistency_proof(old.size)
        if not verify_consistency(old.size, old.root, new.size, new.root, proof):
            raise NotVerified(
                f"the first {old.size} records of the log are not those whose head was kept: they"
                " were changed."
            )

    def prove(
        self, digest: bytes, submitter: str | None = None, kept: KeptHead | None = None
    ) -> InclusionProof:
        """Prove that a digest is on record, under the kept head or else under the present one.

        Raises:
            NotVerified: it is not on record there, or the head is not the log's.
            ModelproofError: several submitters recorded it, and none is named.
        """
        if kept is not None:
            self.extends(kept)
        head = kept.head if kept is not None else self.head
        found = [
            one
            for one in self.records[: head.size]
            if one.statement.digest == digest and submitter in (None, one.submitter)
        ]
        if not found:
            raise not_recorded(digest, submitter)
        if len(found) > 1:
            names = ", ".join(one.submitter for one in found)
            raise ModelproofError(
                f"0x{digest.hex()} was recorded by several ({names}): say whose record is meant"
                " with --submitter."
            )
        (one,) = found
        return InclusionProof(
            log=self.place,
            head=head,
            index=one.index,
            submitter=one.submitter,
            time=one.time,
            statement=one.statement,
            siblings=tuple(self.tree.inclusion_proof(one.index, head.size)),
        )


def read_whole(log: ProvenanceLog, place: LogPlace) -> WholeLog:
    """Read a log.

    Raises:
        NotVerified: the node's events are not what the log's root commits to.
    """
    records, tree = log.read()
    return WholeLog(place, records, tree)


def records_of(log: ProvenanceLog, digest: bytes, submitter: str | None = None) -> list[Recorded]:
    """Who recorded a digest, the first one first.

    Raises:
        NotVerified: nobody did, or not the submitter named.
    """
    found = log.recorded(digest=digest, submitter=submitter)
    if not found:
        raise not_recorded(digest, submitter)
    return found


def check_batched(log: ProvenanceLog, place: LogPlace, proof: BatchProof) -> Recorded:
    """Check that a statement is one of those that a recorded batch stands for.

    Returns:
        The batch's record.

    Raises:
        NotVerified: it is not, or the batch is not on record.
        ModelproofError: the proof is about another log.
    """
    check_place(proof.log, place)
    if not proof.holds:
        raise NotVerified("the proof does not lead from the statement to the batch's root.")
    (record,) = records_of(log, proof.batch, proof.submitter)
    if record.statement.kind is not RecordKind.BATCH:
        raise NotVerified(
            f"record {record.index}, 0x{proof.batch.hex()}, is no batch: it was recorded as"
            f" {record.statement.kind.name}."
        )
    return record


def check_included_now(log: ProvenanceLog, place: LogPlace, proof: InclusionProof) -> None:
    """Check that a record stands in the log on the chain.

    Raises:
        NotVerified: it does not.
        ModelproofError: the proof is about another log.
    """
    now = KeptHead(place, log.tree_head())
    if proof.head.size != now.head.size:
        then = KeptHead(proof.log, proof.head)
        read_whole(log, place).extends(then)
        now = then
    check_included(proof, now)


def check_included(proof: InclusionProof, kept: KeptHead) -> None:
    """Check that a record stands in the log with a head that the caller trusts. Needs no chain.

    Raises:
        NotVerified: it does not.
        ModelproofError: proof and head are about two logs, or two sizes of one.
    """
    check_place(proof.log, kept.log)
    if proof.head.size != kept.head.size:
        raise ModelproofError(
            f"the proof is for the log when it had {proof.head.size} records, and the head is of"
            f" one with {kept.head.size}: have a proof made for that head (`ape run log prove"
            " --at`)."
        )
    if proof.head != kept.head:
        raise NotVerified("the proof is for a log with another root than the head's.")
    if not proof.holds:
        raise NotVerified("the proof does not lead from the record to the log's root.")


def check_place(named: LogPlace, here: LogPlace) -> None:
    """Refuse what is about another log.

    Raises:
        ModelproofError: it is.
    """
    if named != here:
        raise ModelproofError(
            f"this is about the log at {named.address} on chain {named.chain_id} (genesis"
            f" {named.genesis[:10]}…), not the one at {here.address} on chain {here.chain_id}"
            f" (genesis {here.genesis[:10]}…)."
        )


def not_recorded(digest: bytes, submitter: str | None) -> NotVerified:
    """The refusal of a digest that is not on record."""
    by = f" by {submitter}" if submitter else ""
    return NotVerified(f"0x{digest.hex()} was not recorded{by} in this log.")
