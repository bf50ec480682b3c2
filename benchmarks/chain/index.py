"""How fast events are indexed and read: ``python -m benchmarks.chain.index``.

On an Anvil of its own, whose chain grows from 100 to 100,000 events: a model's registrations and
validations, and from 20,000 on records of the log. At each length an index is made from nothing,
and asked; beside it stands what the same questions cost without one. PostgreSQL is measured too
where ``--postgres URL`` names one. Ends with 1 if a target is missed. ``--events N`` measures at
that length alone and keeps no results.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ape import accounts, networks, project
from ape.logging import logger
from eth_abi.abi import encode
from rich.console import Console
from rich.table import Table
from sqlalchemy import URL

from benchmarks import machine
from benchmarks.gas.chain import MOST_GAS, own_chain
from benchmarks.gas.line import LongLine, holders_among
from ml.artifact.keccak import keccak256
from ml.chain import events, history
from ml.chain.index.blocks import BlockSource
from ml.chain.index.database import ChainName, Database, place_for
from ml.chain.index.event_index import EventIndex, followed
from ml.chain.index.queries import Search
from ml.chain.index.reading import IndexedRegistry
from ml.chain.log_records import RecordKind
from ml.chain.outbox.rpc import Rpc
from ml.chain.outbox.settings import FINAL_DEPTH
from ml.chain.policy import PRESETS
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.records import Role
from ml.chain.registry import ModelRegistry

RESULTS: Final = Path(__file__).parents[1] / "results" / "chain_index.json"
LENGTHS: Final = (100, 1_000, 10_000, 100_000)
"""Numbers of events."""
VERSIONS: Final = 10_000
"""That the model has at most; what is missing for a length are records of the log."""
CREATION: Final = 10
"""Events with which all begins: a model and its roles."""
APPENDS_PER_TRANSACTION: Final = 300
ROUNDS: Final = 5

MAKE: Final = "make it, s"
MAKE_CPU: Final = "… of this process's CPU, s"
NOTHING_NEW: Final = "update with nothing new, ms"
LINEAGE: Final = "lineage, ms"
SEARCH: Final = "the latest 10 events that name the model, ms"
HISTORY: Final = "history, checked against the head, s"
DIRECT: Final = "… the same without an index, s"
NODE: Final = "the node's logs alone, s"
TARGETS: Final = {(10_000, MAKE): 10.0, (100_000, LINEAGE): 50.0}
"""At most; at 100,000 events the lineage has 10,000 versions."""

Figures = dict[str, float]


@dataclass
class LongChain:
    """A registry, a log and a model whose history can be made long."""

    registry: ModelRegistry
    log: ProvenanceLog
    line: LongLine
    player: Any
    records: int = 0

    @classmethod
    def begin(cls) -> LongChain:
        """Deploy everything on the connected chain."""
        holders = holders_among(accounts.test_accounts)
        admin = holders[Role.ADMIN]
        registry = ModelRegistry(admin.deploy(project.ModelRegistry))
        log = ProvenanceLog(admin.deploy(project.ProvenanceLog))
        line = LongLine(registry, holders, "long", PRESETS["unlimited"])
        return cls(registry, log, line, admin.deploy(project.BatchCaller))

    def grow(self, length: int) -> None:
        """Make so many events, or a few more."""
        versions = min((length - CREATION) // 2, VERSIONS)
        self.line.grow(versions)
        missing = length - CREATION - 2 * versions - self.records
        for start in range(0, missing, APPENDS_PER_TRANSACTION):
            self._append(min(APPENDS_PER_TRANSACTION, missing - start))

    def _append(self, records: int) -> None:
        selector = keccak256(b"append(uint8,bytes32,uint32,string)")[:4]
        types = ("uint8", "bytes32", "uint32", "string")
        calls = []
        for _ in range(records):
            self.records += 1
            digest = self.records.to_bytes(32, "big")
            calls.append(selector + encode(types, (RecordKind.DATA, digest, 1, "")))
        each = keccak256(b"callEach(address,bytes[])")[:4]
        data = each + encode(("address", "bytes[]"), (self.log.address, calls))
        sent = {
            "from": str(accounts.test_accounts[9].address),
            "to": str(self.player.address),
            "data": "0x" + data.hex(),
            "gas": hex(MOST_GAS),
        }
        receipt = networks.provider.make_request("eth_sendTransactionSync", [sent])
        if len(receipt["logs"]) != records:
            raise AssertionError("not every record was made")


def measure(
    places: dict[str, URL], chain: ChainName, lengths: Sequence[int] = LENGTHS
) -> dict[int, dict[str, Figures]]:
    """The figures by length and kind of database, on the connected chain."""
    grown = LongChain.begin()
    curve: dict[int, dict[str, Figures]] = {}
    for length in lengths:
        grown.grow(length)
        curve[length] = {
            kind: _figures(grown, Database(place, chain, anew=True))
            for kind, place in places.items()
        }
    return curve


def _figures(grown: LongChain, database: Database) -> Figures:
    registry, model = grown.registry, grown.line.id
    source = BlockSource(Rpc(networks.provider.web3))
    contracts = [followed(registry), followed(grown.log)]
    index = EventIndex(database, source, contracts, FINAL_DEPTH)
    latest = grown.line.latest
    before = time.process_time()
    made = _seconds(index.update)
    busy = time.process_time() - before
    indexed = IndexedRegistry(registry, index)
    search = Search((model,))
    figures = {
        MAKE: made,
        MAKE_CPU: busy,
        NOTHING_NEW: 1_000 * _best(index.update),
        LINEAGE: 1_000 * _best(lambda: index.lineage(registry.address, model, latest)),
        SEARCH: 1_000 * _best(lambda: index.find(search, 10)),
        HISTORY: _seconds(lambda: history.read(indexed, model)),
        DIRECT: _seconds(lambda: history.read(registry, model)),
        NODE: _seconds(lambda: [events.read(registry), list(grown.log.search([]))]),
    }
    if len(index.lineage(registry.address, model, latest)[0]) != latest:
        raise AssertionError("the lineage is not the whole line")
    database.close()
    return {name: round(value, 4) for name, value in figures.items()}


def _seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def _best(act: Callable[[], object]) -> float:
    return min(_seconds(act) for _ in range(ROUNDS))


def missed(curve: dict[int, dict[str, Figures]]) -> Iterator[str]:
    """The targets that SQLite misses."""
    for (length, name), most in TARGETS.items():
        if length not in curve:
            continue
        value = curve[length]["SQLite"][name]
        if value > most:
            yield f"{name} at {length:,} events: {value:,} instead of {most:,}"


def show(curve: dict[int, dict[str, Figures]]) -> None:
    """Print a table per kind of database."""
    some = next(iter(curve.values()))
    for kind in some:
        table = Table("events", *(f"{length:,}" for length in curve), title=kind, box=None)
        for name in some[kind]:
            table.add_row(name, *(f"{each[kind][name]:,.4g}" for each in curve.values()))
        Console().print(table)


def run(postgres: str | None = None, events: int | None = None) -> int:
    """Measure on an Anvil of its own, write the results, print them; return the exit code.

    Args:
        postgres: the URL of one that is measured too
        events: measure at that length alone, and write nothing
    """
    logger.set_level("WARNING")
    with tempfile.TemporaryDirectory() as folder, own_chain():
        genesis = networks.provider.get_block(0).hash or b""
        chain = ChainName(networks.provider.chain_id, "0x" + bytes(genesis).hex())
        places = {"SQLite": place_for(chain, folder)}
        if postgres:
            places["PostgreSQL"] = place_for(chain, postgres)
        curve = measure(places, chain, (events,) if events else LENGTHS)
        node = networks.provider.client_version
    conditions = {**machine.describe(), "node": node, "load_average": round(os.getloadavg()[0], 1)}
    document = {"events": curve, "versions_at_most": VERSIONS, "machine": conditions}
    if events is None:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(document, indent=2) + "\n")
    show(curve)
    problems = list(missed(curve))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chain.index")
    parser.add_argument("--postgres", metavar="URL", help="measure in this one too")
    parser.add_argument("--events", metavar="N", type=int, help="at this length alone")
    arguments = parser.parse_args()
    sys.exit(run(arguments.postgres, arguments.events))
