"""A typed client of ProvenanceLog: dataclasses in, dataclasses out, on any Ape provider.

A node's events carry the metadata and the order of the records. They are believed only where the
contract's state commits to what they say: one record by its own word, the whole log by its root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from ml.artifact.log import LogTree
from ml.chain.contract import DeployedContract, Sentences
from ml.chain.log_records import (
    Checkpoint,
    LogRecord,
    Recorded,
    RecordKind,
    Statement,
    TreeHead,
    digest_text,
)
from ml.chain.records import Receipt
from ml.chain.refusals import ContractRefused
from ml.chain.types import format_time
from ml.errors import NotVerified

if TYPE_CHECKING:
    from ape.api import AccountAPI

    from ml.chain.logs import Event


def _first_recorded(v: Mapping[str, Any]) -> str:
    return (
        f"{v['submitter']} recorded {_hex(v['digest'])} before, as record {v['index']} at"
        f" {format_time(v['time'])}: the first time stays."
    )


class ProvenanceLog(DeployedContract):
    """One deployed ProvenanceLog. ``sender`` is an Ape account, ``submitter`` an address."""

    sentences: ClassVar[Sentences] = MappingProxyType(
        {
            "AlreadyRecorded": _first_recorded,
            "UnknownRecord": lambda v: (
                f"{v['submitter']} has no record of {_hex(v['digest'])} in this log: check the"
                " digest, the address and the network."
            ),
            "RecordIsNotABatch": lambda v: (
                f"record {_hex(v['digest'])} is of kind {RecordKind(v['kind']).name}, not a BATCH."
            ),
            "KindIsNone": lambda _: "a record has to be of a kind: name one.",
            "DigestIsZero": lambda _: "the digest is zero, so it was never computed: compute it.",
            "CountOutOfRange": lambda v: (
                f"a record stands for 1 to {v['max']} things, not for {v['count']}."
            ),
            "LogIsFull": lambda v: (
                f"the log is full, with {v['size']} records: deploy another one."
            ),
        }
    )

    # Writing

    def append(
        self,
        kind: RecordKind,
        digest: bytes,
        *,
        sender: AccountAPI,
        count: int = 1,
        metadata: str = "",
    ) -> tuple[LogRecord, Receipt]:
        """Record a digest as the sender's, for good, and return what is on record then.

        Args:
            kind: what the digest stands for
            digest: 32 bytes; what is secret and could be guessed must be salted
            sender: who records it
            count: how many things the digest stands for
            metadata: public for ever, at most 16 KiB

        Raises:
            ContractRefused: the sender recorded it before, or a value is out of range.
        """
        _, receipt = self._send("append", kind, digest, count, metadata, sender=sender)
        # what the trial returned may be another's place by now
        return self.record(sender.address, digest), receipt

    def checkpoint(self, *, sender: AccountAPI) -> Receipt:
        """Have the tree's head written into an event; `checkpoints` reads it."""
        return self._send("checkpoint", sender=sender)[1]

    # Records

    def is_recorded(self, submitter: str, digest: bytes) -> bool:
        """Whether a submitter has recorded a digest."""
        return bool(self._call("isRecorded", submitter, digest))

    def index_of(self, submitter: str, digest: bytes) -> int:
        """The place of a submitter's record in the log.

        Raises:
            ContractRefused: there is none.
        """
        return int(self._call("indexOf", submitter, digest))

    def record(self, submitter: str, digest: bytes) -> LogRecord:
        """What is on record about a submitter's digest.

        Raises:
            ContractRefused: there is none.
        """
        view = self._call("getRecord", submitter, digest)
        kind, metadata = RecordKind(view.kind), bytes(view.metadata)
        return LogRecord(view.index, view.time, view.count, kind, metadata)

    def recorded(
        self, *, submitter: str | None = None, digest: bytes | None = None
    ) -> list[Recorded]:
        """The records that match every filter given, the earliest first, with their metadata.

        Each is checked against the contract's state. That none is missing is not: `read` can tell.

        Raises:
            NotVerified: the node made one up, or changed one.
        """
        topics = (
            None,
            "0x" + bytes(12).hex() + submitter[2:].lower() if submitter else None,
            "0x" + digest.hex() if digest else None,
        )
        found = [recorded_of(event) for event in self._events("Recorded", *topics)]
        for one in found:
            self._check(one)
        return found

    def verify_batched(
        self, submitter: str, batch: bytes, statement: Statement, proof: Sequence[bytes]
    ) -> bool:
        """Let the contract say whether a recorded batch holds a statement.

        Raises:
            ContractRefused: there is no such record, or it is not a batch.
        """
        fields = (statement.kind, statement.digest, statement.count, statement.metadata)
        return bool(self._call("verifyBatched", submitter, batch, fields, list(proof)))

    # The tree

    def tree_head(self) -> TreeHead:
        """The log's size and root, of one moment."""
        size, root = self._call("treeHead")
        return TreeHead(int(size), bytes(root))

    def checkpoints(self) -> list[Checkpoint]:
        """The heads that were written down, the earliest first, as the node's events say."""
        return [
            Checkpoint(
                head=TreeHead(event.arguments["size"], bytes(event.arguments["root"])),
                block=event.block,
                transaction=event.transaction,
            )
            for event in self._events("Checkpointed")
        ]

    def read(self) -> tuple[list[Recorded], LogTree]:
        """Read the whole log, checked against its root: nothing is left out, nothing added.

        Raises:
            NotVerified: the node's events are not what the log's root commits to.
        """
        head = self.tree_head()
        found = [recorded_of(event) for event in self._events("Recorded")][: head.size]
        tree = LogTree(one.leaf for one in found)
        in_order = [one.index for one in found] == list(range(head.size))
        if not in_order or tree.root() != head.root:
            raise NotVerified(
                "the node's events are not the records that the log's root commits to:"
                " ask another node."
            )
        return found, tree

    def verify_inclusion(
        self, head: TreeHead, index: int, leaf: bytes, proof: Sequence[bytes]
    ) -> bool:
        """Let the contract say whether a leaf stands at an index of the tree with this head."""
        arguments = (head.root, head.size, index, leaf, list(proof))
        return bool(self._call("verifyInclusion", *arguments))

    def verify_consistency(self, old: TreeHead, new: TreeHead, proof: Sequence[bytes]) -> bool:
        """Let the contract say whether the old tree is the beginning of the new one."""
        arguments = (old.size, old.root, new.size, new.root, list(proof))
        return bool(self._call("verifyConsistency", *arguments))

    def _check(self, one: Recorded) -> None:
        try:
            record = self.record(one.submitter, one.statement.digest)
        except ContractRefused as error:
            raise NotVerified(
                f"the node has an event of record {one.index}, which is not on record:"
                " ask another node."
            ) from error
        if record != one.record:
            raise NotVerified(
                f"the node's event of record {one.index} is not what is on record:"
                " ask another node."
            )


def recorded_of(event: Event) -> Recorded:
    """What a Recorded event says.

    Raises:
        NotVerified: its kind is none that there is.
    """
    given = event.arguments
    try:
        kind = RecordKind(given["kind"])
    except ValueError as error:
        raise NotVerified(
            f"the node has an event of a record of kind {given['kind']}, which there is not:"
            " ask another node."
        ) from error
    metadata = given["metadata"]
    return Recorded(
        index=given["index"],
        submitter=str(given["submitter"]),
        time=given["time"],
        statement=Statement(kind, bytes(given["digest"]), given["count"], digest_text(metadata)),
        metadata=metadata,
        block=event.block,
        transaction=event.transaction,
    )


def _hex(digest: bytes) -> str:
    return "0x" + bytes(digest).hex()
