"""Addresses that follow from code and salt."""

from __future__ import annotations

import pytest

from ml.artifact.keccak import keccak256
from ml.chain.anvil import AnvilNode
from ml.chain.create2 import FACTORY, FACTORY_CODE, address_of, salt_of


def test_text_gives_a_salt() -> None:
    assert salt_of("modelproof.v1") == keccak256(b"modelproof.v1") != salt_of("modelproof.v2")


def test_factory_of_a_development_node_is_the_usual_one(node: AnvilNode) -> None:
    assert node.rpc("eth_getCode", FACTORY, "latest") == "0x" + FACTORY_CODE.hex()


@pytest.mark.parametrize("init_code", ["5f5ff3", "385f5f39385ff3", "60015f5260205ff3"])
@pytest.mark.parametrize("salt", ["modelproof.v1", ""])
def test_factory_answers_with_the_predicted_address(
    node: AnvilNode, salt: str, init_code: str
) -> None:
    code = bytes.fromhex(init_code)
    call = {"to": FACTORY, "data": "0x" + (salt_of(salt) + code).hex()}
    predicted = address_of(salt_of(salt), keccak256(code))
    assert node.rpc("eth_call", call, "latest") == predicted.lower()
