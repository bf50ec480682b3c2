"""Questions to a node within the process, and what asking any costs at first."""

from __future__ import annotations

import subprocess
import sys

import pytest
from web3 import EthereumTesterProvider, Web3

from ml.chain.outbox.rpc import Rpc, RpcError


@pytest.fixture(autouse=True)
def _untouched() -> None:
    """There is no node to put back."""


def test_chain_within_the_process_is_imported_only_where_it_is_asked() -> None:
    """It takes half a second."""
    told = "import sys, ml.chain.contract; print('eth_tester' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_what_a_chain_within_the_process_refuses_is_an_answer() -> None:
    web3 = Web3(EthereumTesterProvider())
    sender = web3.eth.accounts[0]
    creation = {"from": sender, "data": "0x60006000fd"}  # reverts, and says nothing
    refused, barred, count = Rpc(web3).ask_all(
        [
            ("eth_estimateGas", [creation]),
            ("eth_getBalance", ["no address", "latest"]),
            ("eth_getTransactionCount", [sender, "latest"]),
        ]
    )
    assert isinstance(refused, RpcError)
    assert refused.is_of_the_call
    assert isinstance(barred, RpcError)
    assert not barred.is_of_the_call
    assert count == 0
