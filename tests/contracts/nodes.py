"""Where development nodes differ from each other, and what makes up for it."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Mapping
from typing import Any

import pytest
from ape_test import LocalProvider
from eth_tester.exceptions import TransactionFailed
from web3 import Web3
from web3.exceptions import ContractCustomError, ContractLogicError


def set_next_time(provider: Any, time: int) -> None:
    """Give the next block a time (seconds since 1970), which is later than the last block's."""
    if isinstance(provider, LocalProvider):
        provider.set_timestamp(time)
    elif "Ganache" in provider.client_version:  # it dates empty blocks only; the next is 1 s later
        provider.make_request("evm_mine", [{"timestamp": time - 1}])
    else:
        provider.make_request("evm_setNextBlockTimestamp", [time])


def set_storage(provider: Any, address: str, slot: int, word: int) -> None:
    """Write a word into a contract's storage."""
    if isinstance(provider, LocalProvider):
        pytest.skip("py-evm in Ape has no way to write into a contract's storage")
    if "Ganache" in provider.client_version:
        method, place = "evm_setAccountStorageAt", f"0x{slot:064x}"
    else:
        method, place = "hardhat_setStorageAt", hex(slot)
    provider.make_request(method, [address, place, f"0x{word:064x}"])


def speak_json_rpc(provider: LocalProvider) -> None:
    """Let Ape's py-evm provider refuse calls and tell events as nodes with an RPC do.

    For reverts with reasons and panics web3 does that itself; custom errors it leaves as eth-tester
    raises them, and logs it translates for its own methods alone.
    """
    endpoints = provider.tester.api_endpoints
    call, get_logs = endpoints["eth"]["call"], endpoints["eth"]["getLogs"]

    def calling(tester: Any, parameters: Any) -> Any:
        try:
            return call(tester, parameters)
        except TransactionFailed as error:
            data = Web3.to_hex(_reverted_with(error))
            if data == "0x":
                raise ContractLogicError("execution reverted", data=data) from error
            raise ContractCustomError(data, data=data) from error

    def getting_logs(tester: Any, parameters: Any) -> Any:
        (query,) = parameters
        if "fromBlock" not in query:  # one of web3's own methods asks
            return get_logs(tester, parameters)
        found = tester.get_logs(
            address=query["address"],
            from_block=int(query["fromBlock"], 16),
            to_block=int(query["toBlock"], 16),
            topics=query["topics"],
        )
        return [_as_json_rpc(log) for log in found]

    endpoints["eth"] = {**endpoints["eth"], "call": calling, "getLogs": getting_logs}


def _reverted_with(error: TransactionFailed) -> bytes:
    """What a call reverted with: py-evm's error holds the text of these bytes as Python has it."""
    reason = str(error.args[0])
    return bytes(literal_eval(reason)) if reason.startswith(("b'", 'b"')) else b""


def _as_json_rpc(log: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "address": log["address"],
        "topics": list(log["topics"]),
        "data": log["data"],
        "blockNumber": hex(log["block_number"]),
        "transactionHash": log["transaction_hash"],
        "logIndex": hex(log["log_index"]),
    }
