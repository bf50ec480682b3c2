"""Constructors run here leave what they leave on a chain."""

from __future__ import annotations

import ape
import pytest

from ml.chain.builds import CONTRACTS, build
from ml.chain.construction import runtime_code
from ml.chain.session import Session
from ml.errors import ModelproofError
from tests.contracts.story import Cast

ADDRESS = "0x" + "12" * 20
TELLS_ITS_PLACE = bytes.fromhex("305f5246602052" + "60405ff3")
"""Returns its address and the chain's id, a word each, as its code."""
REVERTS = bytes.fromhex("5f5ffd")


def test_code_may_hold_address_and_chain() -> None:
    word = bytes(12) + bytes.fromhex(ADDRESS[2:])
    assert runtime_code(TELLS_ITS_PLACE, ADDRESS, 11155111) == word + (11155111).to_bytes(32, "big")


@pytest.mark.parametrize("contract", CONTRACTS)
def test_contract_has_the_code_that_its_constructor_leaves_here(
    session: Session, cast: Cast, contract: str
) -> None:
    made = cast.deployer.deploy(getattr(ape.project, contract))
    init_code, code = build(contract).init_code, session.code(made.address)
    assert code == runtime_code(init_code, made.address, session.chain_id)
    # the registry's EIP-712 domain is its own, of this chain; the log has none
    is_bound = contract == "ModelRegistry"
    assert (code != runtime_code(init_code, ADDRESS, session.chain_id)) is is_bound
    assert (code != runtime_code(init_code, made.address, session.chain_id + 1)) is is_bound


def test_constructor_that_fails_is_said_to_fail() -> None:
    with pytest.raises(ModelproofError, match=f"what belongs at {ADDRESS} fails"):
        runtime_code(REVERTS, ADDRESS, 1)
