"""What each operation of the provenance log costs: ``python -m benchmarks.log_gas``.

As in ``benchmarks.gas``: ``gas_used`` from receipts on Anvil, of a log as it is deployed; accounts
and digests are always the same, so that the figures are too. What an append costs depends on how
many subtrees it closes: nothing for every second one, one more for half of the rest, and so on; so
the mean over a long run is the figure to plan with.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ape import accounts, networks, project
from ape.logging import logger
from rich.console import Console
from rich.table import Table

from benchmarks.gas import HARDFORK, NETWORK, conditions, digest
from ml.chain.log_records import Batch, RecordKind, Statement, TreeHead
from ml.chain.provenance_log import ProvenanceLog

if TYPE_CHECKING:
    from ape.api import AccountAPI

RESULTS: Final = Path(__file__).parent / "results" / "log_gas.json"
CONDITIONS: Final = RESULTS.with_name("log_gas.conditions.json")

APPENDS: Final = 300
METADATA: Final = "x" * 120
BATCHES: Final = (1, 10, 100, 1_000)
MEAN: Final = f"append, mean of {APPENDS}"
PER_RECORD: Final = "per record in a batch of {:,}"

BUDGETS: Final = {MEAN: 62_000, PER_RECORD.format(1_000): 62, "checkpoint": 40_000}
"""What the design allows an append and a batch, and the least that a checkpoint cost elsewhere."""


def measure() -> dict[str, int]:
    """The gas of every operation, by its name, on the connected development chain."""
    sender = accounts.test_accounts[0]
    contract = sender.deploy(project.ProvenanceLog)
    log = ProvenanceLog(contract, contract.creation_metadata.receipt.block_number)
    return {
        "deploy": int(contract.creation_metadata.receipt.gas_used),
        **_appends(log, sender),
        **_proofs(log, sender),
        **_batches(log, sender),
    }


def _appends(log: ProvenanceLog, sender: AccountAPI) -> dict[str, int]:
    gas = [_append(log, sender, RecordKind.EPOCH, digest(f"epoch {n}")) for n in range(APPENDS)]
    described = log.append(RecordKind.DATA, digest("data"), sender=sender, metadata=METADATA)[
        1
    ].gas_used
    return {
        MEAN: round(sum(gas) / len(gas)),
        f"append, least of {APPENDS}": min(gas),
        f"append, most of {APPENDS}": max(gas),
        f"append, {len(METADATA)} bytes of metadata": described,
    }


def _proofs(log: ProvenanceLog, sender: AccountAPI) -> dict[str, int]:
    """Proofs as transactions of their own; asked by a free call they cost nothing."""
    records, tree = log.read()
    head, half = TreeHead(APPENDS, tree.root(APPENDS)), APPENDS // 2
    old = TreeHead(half, tree.root(half))
    included = (head.root, head.size, half, records[half].leaf)
    consistent = (old.size, old.root, head.size, head.root)
    return {
        "checkpoint": log.checkpoint(sender=sender).gas_used,
        f"inclusion of one in {APPENDS}": _sent(
            log, sender, "verifyInclusion", *included, tree.inclusion_proof(half, APPENDS)
        ),
        f"consistency of {half} with {APPENDS}": _sent(
            log, sender, "verifyConsistency", *consistent, tree.consistency_proof(half, APPENDS)
        ),
    }


def _batches(log: ProvenanceLog, sender: AccountAPI) -> dict[str, int]:
    figures = {}
    for count in BATCHES:
        batch, statements = _batch(count)
        gas = _append(log, sender, RecordKind.BATCH, batch.root, count)
        figures[PER_RECORD.format(count)] = round(gas / count)
    one = statements[0]
    fields = (one.kind, one.digest, one.count, one.metadata)
    figures[f"inclusion of one in a batch of {len(batch):,}"] = _sent(
        log, sender, "verifyBatched", sender.address, batch.root, fields, batch.proof(one)
    )
    return figures


def _batch(count: int) -> tuple[Batch, list[Statement]]:
    statements = [
        Statement(RecordKind.CLIENT_UPDATE, digest(f"update {n} of {count}")) for n in range(count)
    ]
    return Batch(statements), statements


def _append(
    log: ProvenanceLog, sender: AccountAPI, kind: RecordKind, root: bytes, count: int = 1
) -> int:
    return log.append(kind, root, sender=sender, count=count)[1].gas_used


def _sent(log: ProvenanceLog, sender: AccountAPI, function: str, *arguments: Any) -> int:
    """The gas of a view as a transaction."""
    handler = getattr(log.contract, function)
    return int(handler.transact(*arguments, sender=sender).gas_used)


def print_table(figures: dict[str, int], console: Console) -> None:
    """The figures beside what the design allows."""
    table = Table("operation", title="Gas of the provenance log")
    for heading in ("gas", "budget"):
        table.add_column(heading, justify="right")
    for name, gas in figures.items():
        table.add_row(name, f"{gas:,}", f"{BUDGETS[name]:,}" if name in BUDGETS else "")
    console.print(table)


def main() -> None:
    """Measure on an Anvil of its own, write the results and print them."""
    logger.set_level("WARNING")
    settings = {"evm_version": HARDFORK}
    with networks.parse_network_choice(NETWORK, provider_settings=settings):
        figures, known = measure(), conditions()
    RESULTS.parent.mkdir(exist_ok=True)
    for path, content in ((RESULTS, figures), (CONDITIONS, known)):
        path.write_text(json.dumps(content, indent=2) + "\n")
    console = Console()
    print_table(figures, console)
    console.print(f"Written to {RESULTS}; conditions beside it.", soft_wrap=True)


if __name__ == "__main__":
    main()
