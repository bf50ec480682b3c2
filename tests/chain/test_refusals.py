"""The contract's errors in sentences: one for each, and none that is no error of the contract."""

from __future__ import annotations

import re

import ape
import pytest
from eth_abi.abi import encode
from ethpm_types.abi import ErrorABI
from web3.exceptions import ContractLogicError

from ml.chain import refusals
from ml.chain.commitment import role_id
from ml.chain.logs import topic_of
from ml.chain.records import Role
from ml.chain.refusals import ContractRefused, refusal, reverted_with
from ml.chain.types import CompletionReason, Status
from tests.contracts.story import Story

MODEL = bytes(range(1, 32)) + b"\0"
ACCOUNT = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
EXAMPLES = {
    "bytes32": MODEL,
    "bytes25": bytes(25),
    "address": ACCOUNT,
    "bool": True,
    "enum Status": Status.FAILED,
    "enum CompletionReason": CompletionReason.CONVERGED,
}
ROLE = {"neededRole": role_id(MODEL, Role.OPERATOR), "role": MODEL[:-1] + b"\x09"}
NUMBERS = iter(range(1, 1000))


NEVER = {"InvalidShortString", "StringTooLong"}
"""Of OpenZeppelin's EIP712 for names that are too long, and the registry's is a constant."""


def errors() -> list[ErrorABI]:
    return [e for e in ape.project.ModelRegistry.contract_type.errors if e.name not in NEVER]


def encoded(error: ErrorABI) -> tuple[dict[str, object], bytes]:
    """Values that an error may carry, no two numbers alike, and what the contract would return."""
    values = {
        item.name: ROLE.get(item.name)
        or EXAMPLES.get(str(item.internal_type))
        or EXAMPLES.get(str(item.type))
        or next(NUMBERS)
        for item in error.inputs
    }
    types = [item.canonical_type for item in error.inputs]
    selector = bytes.fromhex(topic_of(error)[2:10])
    return values, selector + encode(types, list(values.values()))


def test_every_error_of_the_contract_has_a_sentence_and_every_sentence_an_error() -> None:
    assert set(refusals._SENTENCES) == {error.name for error in errors()}


def test_every_error_becomes_one_clear_sentence() -> None:
    for error in errors():
        values, data = encoded(error)
        refused = refusal(data, errors())
        assert refused.name == error.name
        assert refused.values == values
        sentence = str(refused)
        assert re.fullmatch(r"[a-z0-9].*\.", sentence, re.IGNORECASE), sentence
        assert sentence.isprintable()
        assert error.name not in sentence
        assert "{" not in sentence


def test_missing_role_is_named_with_the_model_it_is_missing_on() -> None:
    (error,) = [e for e in errors() if e.name == "AccessControlUnauthorizedAccount"]
    _, data = encoded(error)
    assert str(refusal(data, errors())).startswith(
        f"{ACCOUNT} does not hold OPERATOR on model 0x{MODEL.hex()}: let an ADMIN grant it"
    )


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", "gave no reason"),
        (bytes.fromhex("deadbeef"), "gave 0xdeadbeef"),
        (bytes.fromhex("de"), "gave 0xde"),
    ],
)
def test_revert_that_is_no_error_of_the_contract_is_told_as_it_is(data: bytes, shown: str) -> None:
    refused = refusal(data, errors())
    assert shown in str(refused)
    assert refused.name == ""


def test_error_that_carries_too_little_is_told_as_it_is() -> None:
    (error,) = [e for e in errors() if e.name == "UnknownVersion"]
    _, data = encoded(error)
    assert f"gave 0x{data[:20].hex()}" in str(refusal(data[:20], errors()))


@pytest.mark.parametrize(
    "told",
    [
        "0x01ff",
        {"message": "reverted with an unrecognized custom error", "data": "0x01ff"},  # Hardhat
        {"message": "revert", "programCounter": 13166, "result": "0x01ff"},  # Ganache
    ],
)
def test_what_a_call_reverted_with_is_read_from_what_each_node_tells(told: object) -> None:
    assert reverted_with(ContractLogicError("execution reverted", data=told)) == b"\x01\xff"


@pytest.mark.parametrize("told", [None, "0x", "no data", {}, {"data": None}])
def test_node_that_does_not_tell_what_a_call_reverted_with_is_no_trouble(told: object) -> None:
    assert reverted_with(ContractLogicError("execution reverted", data=told)) == b""


def test_refused_call_costs_nothing(story: Story) -> None:
    before = story.cast.operator.nonce
    with pytest.raises(ContractRefused, match="has no version 9"):
        story.rollback(9)
    assert story.cast.operator.nonce == before
