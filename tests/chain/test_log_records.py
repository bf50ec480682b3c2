"""The log's records without a chain: how they are hashed, and how batches are made."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode

from ml.artifact.errors import ArtifactError, InvalidEntry
from ml.artifact.keccak import keccak256
from ml.artifact.merkle import verify
from ml.chain.log_records import (
    NO_METADATA,
    Batch,
    LogRecord,
    Recorded,
    RecordKind,
    Statement,
    batched_leaf,
    digest_text,
    leaf_of,
)

SUBMITTER = "0x00000000000000000000000000000000000aBcDe"
STATEMENT = Statement(RecordKind.EPOCH, b"d" * 32, 7, digest_text("épôque"))
STATEMENT_TYPES = ["uint8", "bytes32", "uint32", "bytes32"]
STATED = [3, b"d" * 32, 7, keccak256("épôque".encode())]


def test_leaf_is_the_hash_of_what_the_abi_encodes() -> None:
    entry = encode(["address", "uint40", *STATEMENT_TYPES], [SUBMITTER.lower(), 2**40 - 1, *STATED])
    assert leaf_of(SUBMITTER, 2**40 - 1, STATEMENT) == keccak256(b"\x00" + entry)


def test_batched_leaf_is_hashed_twice() -> None:
    assert batched_leaf(STATEMENT) == keccak256(keccak256(encode(STATEMENT_TYPES, STATED)))


def test_no_metadata_is_the_empty_text() -> None:
    assert Statement(RecordKind.DATA, b"d" * 32).metadata == NO_METADATA == digest_text("")


def test_text_that_is_no_utf8_has_the_digest_of_its_bytes() -> None:
    assert digest_text("\udcff") == keccak256(b"\xff")


def test_event_says_what_the_state_has_to_hold() -> None:
    told = Recorded(5, SUBMITTER, 1_000, STATEMENT, "épôque", 9, "0x00")
    kept = keccak256("épôque".encode())[:20]
    assert told.record == LogRecord(5, 1_000, 7, RecordKind.EPOCH, kept)
    assert told.leaf == leaf_of(SUBMITTER, 1_000, STATEMENT)


def test_batch_proves_each_of_its_statements_and_no_other() -> None:
    statements = [Statement(RecordKind.CLIENT_UPDATE, bytes([n]) * 32) for n in range(1, 8)]
    batch = Batch(statements)
    for statement in statements:
        assert verify(batch.root, batched_leaf(statement), batch.proof(statement))
    with pytest.raises(ArtifactError, match="no leaf"):
        batch.proof(STATEMENT)


@pytest.mark.parametrize("digest", [b"", b"d" * 31, b"d" * 33])
def test_digest_of_another_length_is_refused(digest: bytes) -> None:
    with pytest.raises(InvalidEntry, match=f"32 bytes, not {len(digest)}"):
        Batch([Statement(RecordKind.DATA, digest)])
