"""What the tests of the ProvenanceLog share."""

from __future__ import annotations

from typing import Any

from ml.artifact.keccak import keccak256
from ml.chain.log_records import Statement, digest_text
from ml.chain.provenance_log import ProvenanceLog

SIZES = sorted({0, 1, 2, 3} | {2**k + d for k in range(2, 8) for d in (-1, 0, 1)})
"""Those at which trees change their shape."""


def deploy(project: Any, deployer: Any) -> ProvenanceLog:
    contract = deployer.deploy(project.ProvenanceLog)
    return ProvenanceLog(contract, contract.creation_metadata.receipt.block_number)


def digest_of(number: int) -> bytes:
    return keccak256(number.to_bytes(32, "big"))


def flipped(node: bytes, bit: int = 0) -> bytes:
    return (int.from_bytes(node, "big") ^ (1 << bit)).to_bytes(len(node), "big")


def fields(statement: Statement) -> tuple[int, bytes, int, bytes]:
    """A statement as the contract's struct has it."""
    return int(statement.kind), statement.digest, statement.count, statement.metadata


def about(kind: int, digest: bytes, count: int = 1, metadata: str = "") -> Statement:
    return Statement(kind, digest, count, digest_text(metadata))
