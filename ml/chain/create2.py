"""Where a contract will stand: addresses that follow from the code and a salt (EIP-1014). Pure."""

from __future__ import annotations

from typing import Final

from eth_utils.address import to_checksum_address

from ml.artifact.keccak import keccak256

FACTORY: Final = "0x4e59b44847b379578588920cA78FbF26c0B4956C"
"""The deterministic deployment proxy that many networks have at this address, and Anvil from its
start. It creates what it is sent, with CREATE2: a salt of 32 bytes and init code.

Source: github.com/Arachnid/deterministic-deployment-proxy.
"""
FACTORY_CODE: Final = bytes.fromhex(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe0"
    "3601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
)
SALT: Final = "modelproof.v1"
"""The salt's text where none is named; as long as it stays, code alone decides on the address."""


def salt_of(text: str) -> bytes:
    """The 32 bytes of salt that a text stands for."""
    return keccak256(text.encode())


def address_of(salt: bytes, init_code_hash: bytes) -> str:
    """The address at which the factory creates a contract.

    Args:
        salt: 32 bytes
        init_code_hash: keccak256 of the init code
    """
    hashed = keccak256(b"\xff" + bytes.fromhex(FACTORY[2:]) + salt + init_code_hash)
    return to_checksum_address(hashed[12:])
