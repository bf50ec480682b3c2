"""What the operations of the provenance log cost.

What an append costs depends on how many subtrees it closes: nothing for every second one, one more
for half of the rest, and so on; so the mean over a long run is the figure to plan with.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from ape import project

from benchmarks.gas.chain import gas
from benchmarks.gas.content import LOG_METADATA, digest
from ml.chain.log_records import Batch, RecordKind, Statement, TreeHead
from ml.chain.provenance_log import ProvenanceLog

if TYPE_CHECKING:
    from ape.api import AccountAPI

    from benchmarks.gas.chain import Costs

APPENDS: Final = 300
BATCHES: Final = (1, 10, 100, 1_000)
MEAN: Final = f"append, mean of {APPENDS}"
LEAST: Final = f"append, least of {APPENDS}"
MOST: Final = f"append, most of {APPENDS}"
DESCRIBED: Final = f"append, {len(LOG_METADATA)} bytes of metadata"
PER_RECORD: Final = "per record in a batch of {:,}"
INCLUDED: Final = f"inclusion of one in {APPENDS}"
IN_BATCH: Final = f"inclusion of one in a batch of {BATCHES[-1]:,}"


def measure(sender: AccountAPI) -> Costs:
    """The gas of every operation, by its name, on the connected development chain."""
    contract = sender.deploy(project.ProvenanceLog)
    log = ProvenanceLog(contract, contract.creation_metadata.receipt.block_number)
    return {
        "deploy": int(contract.creation_metadata.receipt.gas_used),
        **_appends(log, sender),
        **_proofs(log, sender),
        **_batches(log, sender),
    }


def _appends(log: ProvenanceLog, sender: AccountAPI) -> Costs:
    costs = [_append(log, sender, RecordKind.EPOCH, digest(f"epoch {n}")) for n in range(APPENDS)]
    described = log.append(RecordKind.DATA, digest("data"), sender=sender, metadata=LOG_METADATA)
    return {
        MEAN: round(sum(costs) / len(costs)),
        LEAST: min(costs),
        MOST: max(costs),
        DESCRIBED: described[1].gas_used,
    }


def _proofs(log: ProvenanceLog, sender: AccountAPI) -> Costs:
    """Proofs as transactions of their own; asked by a free call they cost nothing."""
    records, tree = log.read()
    head, half = TreeHead(APPENDS, tree.root(APPENDS)), APPENDS // 2
    old = TreeHead(half, tree.root(half))
    record = records[half]
    included = (head.root, head.size, half, record.leaf, tree.inclusion_proof(half, APPENDS))
    grown = (old.size, old.root, head.size, head.root, tree.consistency_proof(half, APPENDS))
    recorded = (sender.address, record.statement.digest)
    return {
        "checkpoint": log.checkpoint(sender=sender).gas_used,
        "isRecorded": gas(log.contract, "isRecorded", *recorded, sender=sender),
        INCLUDED: gas(log.contract, "verifyInclusion", *included, sender=sender),
        f"consistency of {half} with {APPENDS}": gas(
            log.contract, "verifyConsistency", *grown, sender=sender
        ),
    }


def _batches(log: ProvenanceLog, sender: AccountAPI) -> Costs:
    costs = {}
    for count in BATCHES:
        statements = [
            Statement(RecordKind.CLIENT_UPDATE, digest(f"update {n} of {count}"))
            for n in range(count)
        ]
        batch = Batch(statements)
        whole = _append(log, sender, RecordKind.BATCH, batch.root, count)
        costs[PER_RECORD.format(count)] = math.ceil(whole / count)
    one = statements[0]
    fields = (one.kind, one.digest, one.count, one.metadata)
    proved = (sender.address, batch.root, fields, batch.proof(one))
    costs[IN_BATCH] = gas(log.contract, "verifyBatched", *proved, sender=sender)
    return costs


def _append(
    log: ProvenanceLog, sender: AccountAPI, kind: RecordKind, root: bytes, count: int = 1
) -> int:
    return gas(log.contract, "append", kind, root, count, "", sender=sender)
