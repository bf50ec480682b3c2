r"""What is kept off chain about a ProvenanceLog: heads and proofs, as JSON files, read strictly.

A head is a log's size and root of one moment. Whoever keeps one can hold any later log to it::

    {
      "format": "modelproof.log-head.v1",
      "log": {"chainId": 31337, "genesis": "0x…", "address": "0x…"},
      "size": 7, "root": "0x…"
    }

An inclusion proof shows that a record stands in the log with a certain head; a batch proof, that a
statement is one of those that a record of kind BATCH stands for::

    {
      "format": "modelproof.log-inclusion.v1",
      "log": {…}, "size": 7, "root": "0x…",
      "index": 3, "submitter": "0x…", "time": 1763812800,
      "statement": {"kind": "DATA", "digest": "0x…", "count": 1, "metadata": "0x…"},
      "siblings": ["0x…"]
    }
    {
      "format": "modelproof.log-batch.v1",
      "log": {…}, "submitter": "0x…", "batch": "0x…",
      "statement": {…}, "siblings": ["0x…"]
    }

``metadata`` is the digest of the metadata's text. Whether they hold is decided here, whether what
they lead to is the log's is not: see ``log_verification``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from eth_utils.address import is_checksum_address

from ml.artifact import merkle, strict_json
from ml.artifact.errors import quoted, quoted_path
from ml.artifact.json_fields import bytes32, integer, list_of, object_of, string
from ml.artifact.log import verify_inclusion
from ml.artifact.strict_json import StrictJsonError
from ml.chain.log_records import RecordKind, Statement, TreeHead, batched_leaf, leaf_of
from ml.errors import ModelproofError

HEAD_FORMAT: Final = "modelproof.log-head.v1"
INCLUSION_FORMAT: Final = "modelproof.log-inclusion.v1"
BATCH_FORMAT: Final = "modelproof.log-batch.v1"
MAX_FILE_BYTES: Final = 1 << 20
"""Far above what a file of any of these kinds needs."""


@dataclass(frozen=True, slots=True)
class LogPlace:
    """Which log it is about."""

    chain_id: int
    genesis: str
    """The hash of the chain's block 0, as 0x and hex."""
    address: str


@dataclass(frozen=True, slots=True)
class KeptHead:
    """A head of a log, to hold later ones to."""

    log: LogPlace
    head: TreeHead


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That a record stands in a log with a certain head."""

    log: LogPlace
    head: TreeHead
    index: int
    submitter: str
    time: int
    """Seconds since 1970."""
    statement: Statement
    siblings: tuple[bytes, ...]
    """From the record's leaf up."""

    @property
    def holds(self) -> bool:
        """Whether the record leads to the head."""
        leaf = leaf_of(self.submitter, self.time, self.statement)
        root, size = self.head.root, self.head.size
        return verify_inclusion(root, size, self.index, leaf, self.siblings)


@dataclass(frozen=True, slots=True)
class BatchProof:
    """That a statement is one of those that a submitter's batch stands for."""

    log: LogPlace
    submitter: str
    batch: bytes
    """The batch's root."""
    statement: Statement
    siblings: tuple[bytes, ...]
    """From the statement's leaf up."""

    @property
    def holds(self) -> bool:
        """Whether the statement leads to the batch's root."""
        return merkle.verify(self.batch, batched_leaf(self.statement), self.siblings)


Kept: TypeAlias = KeptHead | InclusionProof | BatchProof


def dump(kept: Kept) -> str:
    """Write a head or a proof as JSON."""
    log = {
        "chainId": kept.log.chain_id,
        "genesis": kept.log.genesis,
        "address": kept.log.address,
    }
    match kept:
        case KeptHead():
            document = {"format": HEAD_FORMAT, "log": log, **_head_document(kept.head)}
        case InclusionProof():
            document = {
                "format": INCLUSION_FORMAT,
                "log": log,
                **_head_document(kept.head),
                "index": kept.index,
                "submitter": kept.submitter,
                "time": kept.time,
                "statement": _statement_document(kept.statement),
                "siblings": list(kept.siblings),
            }
        case BatchProof():
            document = {
                "format": BATCH_FORMAT,
                "log": log,
                "submitter": kept.submitter,
                "batch": kept.batch,
                "statement": _statement_document(kept.statement),
                "siblings": list(kept.siblings),
            }
    return json.dumps(document, indent=2, default=lambda data: f"0x{data.hex()}") + "\n"


def read_head(path: Path) -> KeptHead:
    """Read a head's file.

    Raises:
        ModelproofError: it cannot be read, or is not such a file.
    """
    kept = _read(path)
    if not isinstance(kept, KeptHead):
        raise ModelproofError(f"{quoted_path(path)} is a proof, not a head: `ape run log head`.")
    return kept


def read_proof(path: Path) -> InclusionProof | BatchProof:
    """Read a proof's file; whether it holds is not looked at.

    Raises:
        ModelproofError: it cannot be read, or is not such a file.
    """
    kept = _read(path)
    if isinstance(kept, KeptHead):
        raise ModelproofError(f"{quoted_path(path)} is a head, not a proof: `ape run log prove`.")
    return kept


def _head_document(head: TreeHead) -> dict[str, object]:
    return {"size": head.size, "root": head.root}


def _statement_document(statement: Statement) -> dict[str, object]:
    return {
        "kind": statement.kind.name,
        "digest": statement.digest,
        "count": statement.count,
        "metadata": statement.metadata,
    }


def _read(path: Path) -> Kept:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ModelproofError(f"{quoted_path(path)} cannot be read: {error.strerror}.") from error
    try:
        if len(data) > MAX_FILE_BYTES:
            raise StrictJsonError("it is too long")
        return _kept(strict_json.loads(data))
    except StrictJsonError as error:
        raise ModelproofError(
            f"{quoted_path(path)} is neither a head nor a proof of a log: {error}."
        ) from error


def _kept(document: object) -> Kept:
    what = document.get("format") if isinstance(document, dict) else None
    if what == HEAD_FORMAT:
        fields = object_of(document, "the head", {"format", "log", "size", "root"})
        return KeptHead(_place(fields["log"]), _head(fields))
    if what == INCLUSION_FORMAT:
        keys = {"format", "log", "size", "root", "index", "submitter", "time"}
        fields = object_of(document, "the proof", keys | {"statement", "siblings"})
        return InclusionProof(
            log=_place(fields["log"]),
            head=_head(fields),
            index=_unsigned(fields["index"], "the index"),
            submitter=_address(fields["submitter"], "the submitter"),
            time=_unsigned(fields["time"], "the time"),
            statement=_statement(fields["statement"]),
            siblings=_siblings(fields["siblings"]),
        )
    if what == BATCH_FORMAT:
        keys = {"format", "log", "submitter", "batch", "statement", "siblings"}
        fields = object_of(document, "the proof", keys)
        return BatchProof(
            log=_place(fields["log"]),
            submitter=_address(fields["submitter"], "the submitter"),
            batch=bytes32(fields["batch"], "the batch"),
            statement=_statement(fields["statement"]),
            siblings=_siblings(fields["siblings"]),
        )
    raise StrictJsonError(
        f"its format is {quoted(what)}, not {HEAD_FORMAT}, {INCLUSION_FORMAT} or {BATCH_FORMAT}"
    )


def _place(value: object) -> LogPlace:
    fields = object_of(value, "the log", {"chainId", "genesis", "address"})
    return LogPlace(
        chain_id=_unsigned(fields["chainId"], "the chain's id"),
        genesis="0x" + bytes32(fields["genesis"], "the genesis block").hex(),
        address=_address(fields["address"], "the log's address"),
    )


def _head(fields: Mapping[str, object]) -> TreeHead:
    return TreeHead(_unsigned(fields["size"], "the size"), bytes32(fields["root"], "the root"))


def _statement(value: object) -> Statement:
    fields = object_of(value, "the statement", {"kind", "digest", "count", "metadata"})
    kind = string(fields["kind"], "the statement's kind")
    if kind not in RecordKind.__members__:
        raise StrictJsonError(f"the statement's kind is {quoted(kind)}")
    return Statement(
        kind=RecordKind[kind],
        digest=bytes32(fields["digest"], "the statement's digest"),
        count=_unsigned(fields["count"], "the statement's count"),
        metadata=bytes32(fields["metadata"], "the digest of the statement's metadata"),
    )


def _siblings(value: object) -> tuple[bytes, ...]:
    siblings = list_of(value, "the list of siblings")
    return tuple(bytes32(sibling, "a sibling") for sibling in siblings)


def _unsigned(value: object, what: str) -> int:
    number = integer(value, what)
    if not 0 <= number < 1 << 64:
        raise StrictJsonError(f"{what} does not fit in 64 bits")
    return number


def _address(value: object, what: str) -> str:
    address = string(value, what)
    if not is_checksum_address(address):
        raise StrictJsonError(f"{what} is not an address with its checksum")
    return address
