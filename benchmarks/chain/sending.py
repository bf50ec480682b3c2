"""How fast transactions are sent: ``python -m benchmarks.chain.sending``.

On an Anvil of its own that mines a block per transaction, in one run:

- registrations over 50 open models, one at a time through Ape's own contract calls, and through the
  queue, in turns; the target is five times as many per second;
- records of a log that arrive one by one in four processes, 10,000 of them within a minute: how
  many were on record, each with its proof checked against a root in a block, and how long that took
  after their arrival; the target is five seconds for each.

Ends with 1 if a target is missed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Final

from ape import accounts, project
from ape.logging import logger
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from ml.artifact.keccak import keccak256
from ml.chain.anvil import HOST, AnvilNode
from ml.chain.batching import BatchRecorder, Proven
from ml.chain.commitment import details_fields
from ml.chain.log_proofs import LogPlace
from ml.chain.log_records import RecordKind, Statement
from ml.chain.policy import PRESETS
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.records import Details, Registration
from ml.chain.registry import ModelRegistry
from ml.chain.session import connect
from ml.chain.types import ModelKind

RESULTS: Final = Path(__file__).parents[1] / "results" / "chain_sending.json"
MODELS: Final = 50
ROUNDS: Final = 3
TIMES_AS_MANY: Final = 5.0
PROCESSES: Final = 4
RECORDS: Final = 10_000
WITHIN_S: Final = 60.0
PROVED_WITHIN_S: Final = 5.0


@dataclass(frozen=True)
class Arrival:
    """One record: when it came, when its proof was at hand."""

    came: float
    proved: float
    holds: bool


# --- Registrations --------------------------------------------------------------------------------


def registrations(registry: ModelRegistry, sender: Any) -> dict[str, float]:
    """Registrations per second, by either way: the median of rounds that take turns."""
    models = [
        registry.create_model(
            f"model {number}",
            bytes(31) + b"\x01",
            PRESETS["open"],
            sender=sender,
            kind=ModelKind.OPEN,
            trainer=str(sender.address),
        )[0]
        for number in range(MODELS)
    ]
    versions = count(1)

    def rows() -> list[Registration]:
        version = next(versions)
        return [
            Registration(model, version, keccak256(model + bytes([version])), Details(0, 0, 0))
            for model in models
        ]

    def through_ape() -> None:
        for one in rows():
            registry.contract.register(
                one.model, one.version, one.weights, details_fields(one.details), "", sender=sender
            )

    def through_the_queue() -> None:
        registry.register_all(rows(), sender=sender)

    ways: dict[str, Callable[[], None]] = {"ape": through_ape, "queue": through_the_queue}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    return {name: MODELS / statistics.median(taken) for name, taken in seconds.items()}


# --- Records --------------------------------------------------------------------------------------


def arrivals(
    port: int, address: str, folder: Path, process: int, records: int, ready: Barrier
) -> None:
    """Be one of the processes: records come at even distances, whatever became of those before."""
    with connect(f"ethereum:dev:http://{HOST}:{port}") as session:
        log = ProvenanceLog(project.ProvenanceLog.at(address, fetch_from_explorer=False))
        place = LogPlace(session.chain_id, session.genesis, log.address)
        sender = accounts.test_accounts[process]
        futures: list[tuple[float, Future[Proven]]] = []
        proved: dict[int, float] = {}

        def note(number: int, _: Future[Proven]) -> None:
            proved[number] = time.perf_counter()

        with BatchRecorder(log, place, sender, folder / f"{process}.sqlite") as recorder:
            ready.wait()
            began = time.perf_counter()
            for number in range(records):
                due = began + number * WITHIN_S * 0.9 / records
                time.sleep(max(0.0, due - time.perf_counter()))
                digest = keccak256(f"{process} {number}".encode())
                came = time.perf_counter()
                future = recorder.add(Statement(RecordKind.CLIENT_UPDATE, digest))
                future.add_done_callback(partial(note, number))
                futures.append((came, future))
        results = [(came, future.result()) for came, future in futures]
        head = {
            one.proof.batch: log.record(str(sender.address), one.proof.batch) for _, one in results
        }
        rows = [
            (came, proved[number], one.proof.holds and head[one.proof.batch] == one.record)
            for number, (came, one) in enumerate(results)
        ]
    (folder / f"{process}.json").write_text(json.dumps(rows))


def records_one_by_one(port: int, address: str, folder: Path, records: int) -> dict[str, float]:
    """What became of records that arrive in several processes."""
    context = multiprocessing.get_context("spawn")  # forked ones would share sockets
    ready = context.Barrier(PROCESSES)
    each = records // PROCESSES
    processes = [
        context.Process(target=arrivals, args=(port, address, folder, number, each, ready))
        for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a process that recorded ended badly")
    told = [
        Arrival(*row)
        for process in range(PROCESSES)
        for row in json.loads((folder / f"{process}.json").read_text())
    ]
    delays = [one.proved - one.came for one in told]
    return {
        "records": len(told),
        "proved": sum(one.holds for one in told),
        "seconds": max(one.proved for one in told) - min(one.came for one in told),
        "median_s": statistics.median(delays),
        "slowest_s": max(delays),
    }


# --- The program ----------------------------------------------------------------------------------


def measure(records: int) -> dict[str, Any]:
    """All of it, on one Anvil."""
    with tempfile.TemporaryDirectory() as name, AnvilNode() as node:
        folder = Path(name)
        os.environ["MODELPROOF_OUTBOX"] = str(folder / "outbox")
        with connect(f"ethereum:dev:{node.url}"):
            logger.set_level("ERROR")
            sender = accounts.test_accounts[0]
            registry = ModelRegistry(sender.deploy(project.ModelRegistry))
            address = str(sender.deploy(project.ProvenanceLog).address)
            per_second = registrations(registry, sender)
        return {
            "registrations_per_second": per_second,
            "times_as_many": per_second["queue"] / per_second["ape"],
            "log": records_one_by_one(node.port, address, folder, records),
        }


def show(found: dict[str, Any]) -> None:
    """Print a table."""
    per_second, log = found["registrations_per_second"], found["log"]
    table = Table("what", "measured", "target", box=None, pad_edge=False)
    table.add_row("registrations a second, Ape one at a time", f"{per_second['ape']:.1f}", "")
    table.add_row("registrations a second, the queue", f"{per_second['queue']:.1f}", "")
    table.add_row("times as many", f"{found['times_as_many']:.1f}", f"≥ {TIMES_AS_MANY:g}")
    table.add_row("records from four processes", f"{log['records']:.0f}", "")
    table.add_row("… proved", f"{log['proved']:.0f}", "all")
    table.add_row(
        "… seconds from the first to the last proof", f"{log['seconds']:.1f}", f"≤ {WITHIN_S:g}"
    )
    table.add_row("… median seconds to the proof", f"{log['median_s']:.2f}", "")
    table.add_row("… slowest", f"{log['slowest_s']:.2f}", f"≤ {PROVED_WITHIN_S:g}")
    Console(highlight=False).print(table)


def met(found: dict[str, Any]) -> bool:
    """Whether every target is met."""
    log = found["log"]
    return bool(
        found["times_as_many"] >= TIMES_AS_MANY
        and log["proved"] == log["records"]
        and log["seconds"] <= WITHIN_S
        and log["slowest_s"] <= PROVED_WITHIN_S
    )


def run() -> int:
    """Measure, print, write down; return the exit code."""
    found = measure(RECORDS)
    show(found)
    conditions = {**machine.describe(), "load_average": round(os.getloadavg()[0], 1)}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({**found, "machine": conditions}, indent=2) + "\n")
    return 0 if met(found) else 1


if __name__ == "__main__":
    sys.exit(run())
