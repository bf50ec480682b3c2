"""The chain that gas is measured on, and what the figures depend on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ape import networks, project

from benchmarks import machine
from ml.chain.anvil import AnvilNode

if TYPE_CHECKING:
    from ape.api import AccountAPI
    from ape.contracts import ContractInstance

NETWORK: Final = "ethereum:local:foundry"
HARDFORK: Final = "shanghai"
"""That of the contracts' own target. Later ones charge more for long proofs (EIP-7623)."""
FIRST_BLOCK_TIME: Final = 2_000_000_000
"""In seconds since 1970; each block comes a second after the one before."""

MOST_GAS: Final = 29_000_000
"""For one transaction: a block of Anvil's has 30 million."""

Costs: TypeAlias = dict[str, int]
"""Gas by operation."""
Figures: TypeAlias = Mapping[str, Costs]
"""Costs by contract."""


@contextmanager
def own_chain() -> Iterator[None]:
    """Connect to a new Anvil on which the same transactions always cost the same.

    Ape would start it so that it keeps a trace of every step, which takes gigabytes for a long run.
    """
    started = ("--hardfork", HARDFORK, "--timestamp", str(FIRST_BLOCK_TIME))
    with (
        AnvilNode(*started) as node,
        networks.parse_network_choice(NETWORK, provider_settings={"host": node.url}),
    ):
        node.rpc("anvil_setBlockTimestampInterval", 1)
        yield


def gas(contract: ContractInstance, function: str, *arguments: Any, sender: AccountAPI) -> int:
    """What a call costs as a transaction, even one that only reads.

    Anvil knows the keys of the test accounts and answers with the receipt (EIP-7966): one request
    where Ape makes a dozen.
    """
    data = getattr(contract, function).encode_input(*arguments)
    call = {"from": sender.address, "to": str(contract.address), "data": "0x" + data.hex()}
    call["gas"] = hex(MOST_GAS)
    receipt = networks.provider.make_request("eth_sendTransactionSync", [call])
    if int(receipt["status"], 16) != 1:
        raise AssertionError(f"{function} is measured where it is refused")
    return int(receipt["gasUsed"], 16)


def conditions() -> dict[str, Any]:
    """What the figures depend on, and the machine, on which they do not."""
    node = networks.provider
    compiler = project.config.solidity
    return {
        "node": node.client_version,
        "hardfork": node.make_request("anvil_nodeInfo", [])["hardFork"],
        "solc": str(compiler.version),
        "evm_version": str(compiler.evm_version),
        "optimization_runs": int(compiler.optimization_runs),
        "via_ir": bool(compiler.via_ir),
        "machine": machine.describe(),
    }
