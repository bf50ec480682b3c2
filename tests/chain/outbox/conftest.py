"""A log on an Anvil of the module's own, and an outbox of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import ape
import pytest

from ml.chain.anvil import AnvilNode
from ml.chain.outbox.entry import Call
from ml.chain.outbox.opening import Outbox, journal_path
from ml.chain.outbox.queue import Order, SenderQueue
from ml.chain.outbox.settings import Settings
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session, connect
from tests.chain.places import kept_apart, network_at
from tests.contracts.story import THESIS, Cast, Story

from .agreement import disagreements

IMPATIENT = Settings(timeout_s=60, stuck_after_s=60)


def at_once(call: Call) -> dict[str, str]:
    """A call as a node takes it from an account of its own, to be mined before all others."""
    fees = {"maxFeePerGas": hex(10**12), "maxPriorityFeePerGas": hex(10**12), "gas": hex(10**6)}
    return {"from": call.sender, "to": call.to, "data": "0x" + call.data.hex(), **fees}


@pytest.fixture(scope="module")
def node() -> Iterator[AnvilNode]:
    """Other tests would not like what happens to it."""
    with AnvilNode() as anvil:
        yield anvil


@pytest.fixture(scope="module")
def connected(node: AnvilNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with kept_apart(tmp_path_factory.mktemp("outbox")), connect(network_at(node)) as session:
        yield session


@pytest.fixture(scope="module")
def log(connected: Session, node: AnvilNode) -> ProvenanceLog:
    """Deeper in the chain than any reorganisation goes."""
    deployed = ProvenanceLog(ape.accounts.test_accounts[0].deploy(ape.project.ProvenanceLog))
    node.rpc("anvil_mine", "0x28")
    return deployed


@pytest.fixture
def sender() -> Any:
    return ape.accounts.test_accounts[6]


@pytest.fixture
def open_outbox(connected: Session, log: ProvenanceLog, tmp_path: Path) -> Iterator[Any]:
    """Open the same journal as often as it is called, as other processes do.

    One of another machine has another name. In the end all agree with the chain.
    """
    opened, paths = list[Outbox](), dict[Path, None]()

    def open_outbox(machine: str = "this", **changes: Any) -> Outbox:
        settings = replace(IMPATIENT, **changes)
        path = tmp_path / machine / journal_path(connected.chain_id, connected.genesis).name
        paths[path] = None
        opened.append(Outbox(connected.provider, path, connected.genesis, settings))
        return opened[-1]

    yield open_outbox
    for outbox in opened:
        outbox.close(reported=False)
    for path in paths:
        outbox = Outbox(connected.provider, path, connected.genesis, IMPATIENT)
        outbox.keeper.restore()
        assert not disagreements(outbox, log)
        outbox.close(reported=False)


@pytest.fixture
def queue(open_outbox: Any, sender: Any) -> SenderQueue:
    return open_outbox().queue(sender)


@pytest.fixture
def append(log: ProvenanceLog, sender: Any) -> Any:
    """An order to record the digest that a number stands for."""

    def append(number: int, sender: Any = sender) -> Order:
        data = bytes(log.contract.append.encode_input(1, number.to_bytes(32, "big"), 1, ""))
        return Order(Call(str(sender.address), log.address, data, label=f"append {number}"))

    return append


@pytest.fixture
def repeatable(connected: Session, cast: Cast) -> Order:
    """What the contract takes, and tells of, as often as it comes."""
    registry = ModelRegistry(cast.deployer.deploy(ape.project.ModelRegistry))
    story = Story.begin(registry, cast)
    return registry._order("setPolicy", (story.id, astuple(THESIS)), cast.admin)


@pytest.fixture
def recorded(log: ProvenanceLog) -> Any:
    """The numbers on record, in their order; the contract has as many records as the node tells."""

    def recorded() -> list[int]:
        told = [event.arguments["digest"] for event in log._events("Recorded")]
        assert log.tree_head().size == len(told)
        return [int.from_bytes(digest, "big") for digest in told]

    return recorded


@pytest.fixture(autouse=True)
def _untouched(node: AnvilNode, log: ProvenanceLog) -> Iterator[None]:
    """Each test begins on the same chain."""
    snapshot = node.rpc("evm_snapshot")
    yield
    node.rpc("anvil_dropAllTransactions")  # before they are mined, which takes a moment
    node.rpc("evm_revert", snapshot)
    node.rpc("evm_setAutomine", True)
