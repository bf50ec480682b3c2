"""Where and by what a contract that is found on a chain was created."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ape.exceptions import ApeException
from eth_utils.address import to_checksum_address
from web3.exceptions import Web3Exception

from ml.artifact.keccak import keccak256
from ml.chain import create2
from ml.errors import ModelproofError

if TYPE_CHECKING:
    from ml.chain.session import Session

_SALT_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Creation:
    """Where a contract was created, and by what."""

    block: int
    transaction: str | None = None
    """None if another contract created it."""
    sender: str | None = None
    salt: bytes | None = None
    """What the CREATE2 factory was given; None if it was not the factory."""


def find_creation(session: Session, address: str, block: int | None = None) -> Creation:
    """Find the creation of a contract whose code stands at an address.

    Args:
        session: the chain
        address: where it stands
        block: where it was created, if that is known

    Raises:
        ModelproofError: the block is to be searched for, and the node does not keep the past.
    """
    if block is None:
        block = _first_block_with(session, address)
    for transaction in _transactions(session, block):
        creation = _creation_by(session, transaction, address, block)
        if creation is not None:
            return creation
    return Creation(block)


def _first_block_with(session: Session, address: str) -> int:
    """The first block with code at an address, by halving; it has to be there now."""
    provider = session.provider
    before, at = -1, int(provider.get_block("latest").number or 0)
    try:
        while at - before > 1:
            middle = (before + at) // 2
            if provider.get_code(address, block_id=middle):
                at = middle
            else:
                before = middle
    except (ApeException, Web3Exception, ValueError) as error:
        raise ModelproofError(
            f"this node does not know what stood at {address} in block {middle}: name the block"
            " that it was created in with --block."
        ) from error
    return at


def _transactions(session: Session, block: int) -> list[dict[str, Any]]:
    found = session.provider.make_request("eth_getBlockByNumber", [hex(block), True])
    if not found:
        raise ModelproofError(f"chain {session.chain_id} has no block {block}.")
    return list(found["transactions"])


def _creation_by(
    session: Session, transaction: dict[str, Any], address: str, block: int
) -> Creation | None:
    """The creation, if this is the transaction that it was part of."""
    hashed, sender = str(transaction["hash"]), to_checksum_address(transaction["from"])
    receiver = transaction.get("to")
    if receiver is None:
        nonce = int(transaction["nonce"], 16)
        ecosystem = session.provider.network.ecosystem
        created = ecosystem.get_deployment_address(sender, nonce)
        return Creation(block, hashed, sender) if created == address else None
    if receiver.lower() != create2.FACTORY.lower():
        return None
    data = bytes.fromhex(transaction["input"][2:])
    salt, init_code = data[:_SALT_BYTES], data[_SALT_BYTES:]
    if create2.address_of(salt, keccak256(init_code)) != address:
        return None
    return Creation(block, hashed, sender, salt)
