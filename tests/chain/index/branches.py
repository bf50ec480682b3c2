"""A chain that grows quickly, and whose last blocks can be replaced by others."""

from __future__ import annotations

import itertools
import json
import time
from types import SimpleNamespace
from typing import Any, Self

from ml.chain.anvil import AnvilNode, RpcClient
from ml.chain.log_records import RecordKind
from ml.chain.provenance_log import ProvenanceLog
from tests.contracts.batch import encode

_MINED_S = 60


class Branches:
    """Records digests in a log, block by block, on a node that mines only when told to."""

    def __init__(self, node: AnvilNode, log: ProvenanceLog) -> None:
        self._node = node
        self._log = log
        self._digests = itertools.count(1)
        self._account = node.rpc("eth_accounts")[7]

    def __enter__(self) -> Self:
        self._node.rpc("evm_setAutomine", False)
        return self

    def __exit__(self, *_: object) -> None:
        self._node.rpc("evm_setAutomine", True)

    @property
    def height(self) -> int:
        """The number of the last block."""
        return int(self._node.rpc("eth_blockNumber"), 16)

    def append(self, records: int = 1) -> None:
        """A block with as many records."""
        for _ in range(records):
            digest = next(self._digests).to_bytes(32, "big")
            arguments = (RecordKind.DATA, digest, 1, f"record {digest[-1]}")
            data = "0x" + encode(self._log.contract, "append", *arguments).hex()
            call = {"from": self._account, "to": self._log.address, "data": data, "gas": "0x50000"}
            self._node.rpc("eth_sendTransaction", call)
        self._wait_for(records)
        self.mine(1)

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

    def _wait_for(self, transactions: int) -> None:
        """Wait until so many wait to be mined: Anvil answers a moment before."""
        deadline = time.monotonic() + _MINED_S
        while int(self._node.rpc("txpool_status")["pending"], 16) < transactions:
            assert time.monotonic() < deadline
            time.sleep(0.001)


class OwnConnection:
    """A provider as far as an index needs one, with a connection that no other process shares."""

    def __init__(self, node: AnvilNode) -> None:
        self._client = RpcClient(node.port)
        self.web3 = SimpleNamespace(provider=None)

    def make_request(self, method: str, parameters: list[Any]) -> Any:
        """Ask the node."""
        return self._client.call(method, *json.loads(json.dumps(parameters)))
