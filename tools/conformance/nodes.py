"""The nodes of the conformance run: three implementations of the EVM, behind four of the RPC.

All have the chain id 1337, which is that of Ape's local networks, and the public test accounts of
Ape's own mnemonic. Ganache knows no hardfork after Shanghai, for which the contracts are compiled.
Anvil and Hardhat's node are told to stay there; py-evm cannot be told through Ape and runs Prague.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

from ml.chain.anvil import HOST, AnvilNode, NodeError, NodeProcess

FOLDER: Final = Path(__file__).parent
CHAIN_ID: Final = 1337
HARDFORK: Final = "shanghai"
MNEMONIC: Final = "test test test test test test test test test test test junk"
"""Public: whoever reads this has the keys of these accounts."""


def installed(program: str) -> str:
    """The path of a program that `make conformance` installs. Raises NodeError if it did not."""
    path = FOLDER / "node_modules" / ".bin" / program
    if not path.exists():
        raise NodeError(f"{program} was not found: run `make conformance`, which installs it.")
    return str(path)


class GanacheNode(NodeProcess):
    """Ganache, of the Truffle suite: @ethereumjs/vm in JavaScript. Its makers have retired it."""

    name = "ganache"

    def command(self, folder: Path) -> list[str]:
        """The command that serves JSON-RPC at ``port``."""
        options = {
            "server.host": HOST,
            "server.port": self.port,
            "chain.chainId": CHAIN_ID,
            "chain.hardfork": HARDFORK,
            "wallet.mnemonic": MNEMONIC,
            "database.dbPath": folder / "chain",
            # Ganache cannot be told the time of the next block, only that of one without
            # transactions; so the one after that must not depend on the clock.
            "miner.timestampIncrement": 1,
        }
        pairs = [(f"--{name}", str(value)) for name, value in options.items()]
        return [installed("ganache"), "--logging.quiet", *(part for pair in pairs for part in pair)]


class HardhatNode(NodeProcess):
    """The node in Hardhat 2: EDR, in Rust. ``hardhat.config.js`` has the rest of its settings."""

    name = "hardhat"
    working_folder = FOLDER  # it refuses to be started from elsewhere

    def command(self, folder: Path) -> list[str]:  # noqa: ARG002 -- it keeps nothing in files
        """The command that serves JSON-RPC at ``port``."""
        return [installed("hardhat"), "node", "--hostname", HOST, "--port", str(self.port)]


class Running(NamedTuple):
    """A node that is up."""

    network: str
    """What ``ape test --network`` takes."""
    version: str


@contextmanager
def served(node: NodeProcess) -> Iterator[Running]:
    """Run a node for the length of the block. Raises NodeError if it cannot be had."""
    with node:
        answer = str(node.rpc("web3_clientVersion"))
        found = re.search(r"\d+\.\d+\.\d+\S*?(?=[/ ]|$)", answer)
        if node.name not in answer.lower() or found is None:
            raise NodeError(f"another node than {node.name} answers at {node.url}: {answer}")
        yield Running(node.url, found[0])


@contextmanager
def in_ape() -> Iterator[Running]:
    """Ape's own provider, which runs py-evm within the process of the tests."""
    yield Running("ethereum:local:test", metadata.version("py-evm"))


NODES: Final[dict[str, Callable[[], AbstractContextManager[Running]]]] = {
    "anvil": lambda: served(AnvilNode("--chain-id", str(CHAIN_ID), "--hardfork", HARDFORK)),
    "ganache": lambda: served(GanacheNode()),
    "hardhat": lambda: served(HardhatNode()),
    "py-evm": in_ape,
}
