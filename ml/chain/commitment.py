"""The hashes that tie a version's record to its weights, its test set and its history.

The same as in ``contracts/libraries/Commitment.sol`` and ``contracts/registry/ModelStore.sol``,
computed without a chain. Pure.
"""

from __future__ import annotations

from eth_abi.abi import encode

from ml.artifact import abi
from ml.artifact.keccak import keccak256
from ml.chain.records import Details, Role, Signature
from ml.chain.types import COMMITMENT_BYTES
from ml.chain.values import text_bytes

_DETAILS = "(uint32,uint32,uint32,bytes32,bytes32,bytes32,uint256)"


def model_id(creator: str, name: str) -> bytes:
    """The id of a creator's model of this name: its last byte is zero, for the roles."""
    # to the ABI a string is bytes, and unlike a string's, bytes need not be UTF-8
    return keccak256(encode(["address", "bytes"], [creator, text_bytes(name)]))[:-1] + b"\0"


def role_id(model: bytes, role: Role) -> bytes:
    """The id of a role on a model, for AccessControl."""
    return model[:-1] + bytes([role])


def details_fields(details: Details) -> tuple[int, int, int, bytes, bytes, bytes, int]:
    """The details in the order in which the contract's struct has them."""
    return (
        details.parent,
        details.iteration,
        details.epoch,
        details.object,
        details.content,
        details.updates,
        details.contributors,
    )


def details_hash(
    model: bytes, version: int, registrar: str, details: Details, metadata: str
) -> bytes:
    """Everything about a version but its weights and its test set, in 32 bytes."""
    return keccak256(
        encode(
            ["bytes32", "uint32", "address", _DETAILS, "bytes32"],
            [model, version, registrar, details_fields(details), keccak256(text_bytes(metadata))],
        )
    )


def commitment(test_set: bytes, weights: bytes, details: bytes) -> bytes:
    """The full commitment of a version, 32 bytes; the chain keeps the first 25."""
    return keccak256(test_set + weights + details)


def update_leaf(client: str, struct_hash: bytes, signature: Signature) -> bytes:
    """The leaf of a client's signed update under its version's root ``updates``.

    Hashed twice, as OpenZeppelin's StandardMerkleTree does with (address, bytes32, bytes32,
    bytes32): see `ml.artifact.merkle`.

    Args:
        client: its address
        struct_hash: of the update, by EIP-712: `ml.chain.signing.update_hash`
        signature: the client's
    """
    return keccak256(keccak256(abi.encode(int(client, 16), struct_hash, signature.r, signature.vs)))


def matches(recorded: bytes, full: bytes) -> bool:
    """Whether the 25 bytes on chain are those of a full commitment."""
    return recorded == full[:COMMITMENT_BYTES]
