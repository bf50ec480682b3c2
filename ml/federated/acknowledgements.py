"""What a client signs after a rollback: that it discarded what it held, and loaded the target.

Typed data, by EIP-712, under the registry's domain (`ml.chain.signing`); the registry itself never
sees it. It names the epoch that the rollback began, so that it counts for no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ml.artifact import abi
from ml.artifact.keccak import keccak256
from ml.chain import signing
from ml.chain.records import Signature
from ml.chain.signing import Domain, Fields, InvalidSignature, Signer
from ml.errors import NotVerified

FIELDS: Final[Fields] = (
    ("modelId", "bytes32"),
    ("epoch", "uint32"),
    ("target", "uint32"),
    ("weights", "bytes32"),
)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What a client acknowledges."""

    model: bytes
    """The model's id."""
    epoch: int
    """That the rollback began."""
    target: int
    """The version that was gone back to, 0 for the seeded weights."""
    weights: bytes
    """The identity of what was loaded."""

    @property
    def struct_hash(self) -> bytes:
        """What is signed, 32 bytes."""
        values = (self.model, self.epoch, self.target, self.weights)
        return keccak256(abi.encode(signing.type_hash("Acknowledgement", FIELDS), *values))


def sign(signer: Signer, domain: Domain, said: Acknowledgement) -> Signature:
    """Sign an acknowledgement.

    Raises:
        ModelproofError: the account did not sign.
    """
    return signing.sign(signer, domain, said.struct_hash)


def check(domain: Domain, said: Acknowledgement, signature: Signature, client: str) -> None:
    """Check that a client signed just this.

    Raises:
        NotVerified: somebody else did, or nobody.
    """
    try:
        by = signing.recover(domain, said.struct_hash, signature)
    except InvalidSignature as error:
        raise NotVerified(f"the acknowledgement is not {client}'s: {error}") from None
    if by != client:
        raise NotVerified(f"the acknowledgement was not signed by {client}.")
