"""A chain that grows quickly, and whose last blocks can be replaced by others."""

from __future__ import annotations

import itertools
from typing import Any, Final

from web3 import HTTPProvider, Web3

from ml.chain.anvil import AnvilNode
from ml.chain.log_records import RecordKind
from ml.chain.outbox.rpc import Rpc
from ml.chain.provenance_log import ProvenanceLog
from tests.contracts.batch import encode

GAS: Final = 15_000_000
"""More than a block's records take."""


class Branches:
    """Records digests in a log, many in a block, on a node that mines a block per transaction."""

    def __init__(self, node: AnvilNode, log: ProvenanceLog, caller: Any) -> None:
        """Grow the node's chain.

        Args:
            node: whose chain
            log: where records go
            caller: a BatchCaller, whose records they are
        """
        self._node = node
        self._log = log
        self._caller = caller
        self._digests = itertools.count(1)
        self._account = node.rpc("eth_accounts")[7]

    @property
    def height(self) -> int:
        """The number of the last block."""
        return int(self._node.rpc("eth_blockNumber"), 16)

    def append(self, records: int = 1) -> None:
        """A block with as many records."""
        calls = []
        for _ in range(records):
            digest = next(self._digests).to_bytes(32, "big")
            arguments = (RecordKind.DATA, digest, 1, f"record {digest[-1]}")
            calls.append(encode(self._log.contract, "append", *arguments))
        data = encode(self._caller, "callEach", self._log.address, calls)
        call = {"from": self._account, "to": str(self._caller.address), "data": "0x" + data.hex()}
        receipt = self._node.rpc("eth_sendTransactionSync", {**call, "gas": hex(GAS)})
        assert len(receipt["logs"]) == records

    def mine(self, blocks: int) -> None:
        """As many blocks in which nothing happens."""
        if blocks:
            self._node.rpc("anvil_mine", hex(blocks))

    def mark(self) -> str:
        """A point to come back to, once."""
        return str(self._node.rpc("evm_snapshot"))

    def back(self, mark: str) -> None:
        """Leave all blocks since a mark; those that follow are others."""
        assert self._node.rpc("evm_revert", mark)
        later = (
            int(self._node.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16) + 1_000
        )
        self._node.rpc("evm_setNextBlockTimestamp", later)


def own_connection(node: AnvilNode) -> Rpc:
    """A connection to a node that no other process shares."""
    return Rpc(Web3(HTTPProvider(node.url)))
