"""What the ProvenanceLog holds, and the hashes that it stands on. Pure.

The same as in ``contracts/types/LogRecord.sol`` and ``contracts/ProvenanceLog.sol``, computed
without a chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from ml.artifact import abi, log
from ml.artifact.keccak import keccak256
from ml.artifact.merkle import MerkleTree
from ml.chain.values import text_bytes
from ml.errors import ModelproofError

MAX_COUNT: Final = 1_000_000
"""How many things one record may stand for."""
METADATA_BYTES: Final = 20
"""How much of the metadata's 32-byte digest a record's own word keeps (its first bytes)."""
NO_METADATA: Final = keccak256(b"")


class RecordKind(IntEnum):
    """What a recorded digest stands for."""

    NONE = 0
    DATA = 1
    """Training or test data."""
    PRE_TRAINING = 2
    """Data, code, configuration and first weights, before a training."""
    EPOCH = 3
    """A state of a training."""
    POST_TRAINING = 4
    """Weights and results, after it."""
    CLIENT_UPDATE = 5
    """What a client of a federated training sent."""
    BATCH = 6
    """Many statements, by the root of a `Batch` of them."""


def digest_text(text: str) -> bytes:
    """The digest by which a record knows its metadata, 32 bytes."""
    return keccak256(text_bytes(text))


@dataclass(frozen=True, slots=True)
class Statement:
    """What a submitter says about one digest."""

    kind: RecordKind
    digest: bytes
    count: int = 1
    """How many things the digest stands for."""
    metadata: bytes = NO_METADATA
    """`digest_text` of the text that goes with it."""

    @property
    def encoded(self) -> bytes:
        """As Solidity's ``abi.encode`` has it.

        Raises:
            InvalidEntry: a digest is not 32 bytes, or the count no uint256.
        """
        return abi.encode(int(self.kind), self.digest, self.count, self.metadata)


@dataclass(frozen=True, slots=True)
class LogRecord:
    """What the contract's state holds about one submitter's digest."""

    index: int
    """Place in the log, from 0 on."""
    time: int
    """Of its block, in seconds since 1970."""
    count: int
    kind: RecordKind
    metadata: bytes
    """The first 20 bytes of the metadata's digest."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the event of a record says."""

    index: int
    submitter: str
    time: int
    """Seconds since 1970."""
    statement: Statement
    metadata: str
    block: int
    transaction: str

    @property
    def record(self) -> LogRecord:
        """What the contract's state has to hold if the event is true."""
        said = self.statement
        kept = said.metadata[:METADATA_BYTES]
        return LogRecord(self.index, self.time, said.count, said.kind, kept)

    @property
    def leaf(self) -> bytes:
        """The record's leaf in the log's tree."""
        return leaf_of(self.submitter, self.time, self.statement)


@dataclass(frozen=True, slots=True)
class TreeHead:
    """A log at one size, and the root over its records."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A head that was written into an event."""

    head: TreeHead
    block: int
    transaction: str


def leaf_of(submitter: str, time: int, statement: Statement) -> bytes:
    """The leaf of a record in the log's tree.

    Args:
        submitter: an address, 0x and hex
        time: seconds since 1970
        statement: what the submitter said

    Raises:
        InvalidEntry: a value has no place in its ABI type.
    """
    return log.hash_leaf(abi.encode(int(submitter, 16), time) + statement.encoded)


class Batch:
    """Many statements under one root, which one record of kind BATCH stands for.

    OpenZeppelin's StandardMerkleTree over (uint8 kind, bytes32 digest, uint32 count, bytes32
    metadata): its stock libraries, in Solidity and in JavaScript, verify the proofs.
    """

    def __init__(self, statements: Sequence[Statement]) -> None:
        """Build the tree.

        Raises:
            ModelproofError: there is no statement, or more than a million.
        """
        if not 0 < len(statements) <= MAX_COUNT:
            raise ModelproofError(
                f"a batch holds 1 to {MAX_COUNT} statements, not {len(statements)}: split it."
            )
        self._tree = MerkleTree([batched_leaf(statement) for statement in statements])

    def __len__(self) -> int:
        """Return the number of statements."""
        return len(self._tree)

    @property
    def root(self) -> bytes:
        """The batch's digest."""
        return self._tree.root

    def proof(self, statement: Statement) -> list[bytes]:
        """The siblings from the statement's leaf to the root.

        Raises:
            ArtifactError: the batch does not hold it.
        """
        return self._tree.proof(batched_leaf(statement))


def batched_leaf(statement: Statement) -> bytes:
    """The leaf of a statement in a batch: hashed twice, so that no inner node passes for one."""
    return keccak256(keccak256(statement.encoded))
