"""What stands beside what, and what is promised of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.gas import log, peers, registry
from benchmarks.gas.content import METADATA
from benchmarks.gas.report import Sheet

if TYPE_CHECKING:
    from benchmarks.gas.chain import Figures

REGISTRY: Final = "ModelRegistry"
LOG: Final = "ProvenanceLog"
OURS: Final = (REGISTRY, LOG)
HEADINGS: Final = ("operation", "gas", "budget", "beside it", "gas", "times ours")


class Measured(NamedTuple):
    """One figure: which contract's, and of which operation."""

    contract: str
    operation: str

    def of(self, figures: Figures) -> int:
        """Its gas."""
        return figures[self.contract][self.operation]


SMALLEST_ATTESTATION: Final = Measured(peers.EAS, "attest, 32 bytes")
EVALUATION: Final = Measured(peers.EAS, "attest, 192 bytes")
REGISTRATION: Final = Measured(peers.EAS, "attest, 960 bytes")
PORT_REGISTERS: Final = Measured(peers.PORT, peers.PORT_REGISTERS)
PORT_VALIDATES: Final = Measured(peers.PORT, peers.PORT_VALIDATES)
PORT_ROLLS_BACK: Final = Measured(peers.PORT, peers.PORT_ROLLS_BACK)
STORE_HASH: Final = Measured(peers.TRACKER, peers.STORE_HASH)
NEW_WORD: Final = Measured(peers.FLOOR, "a new word, an event")
CHAINED: Final = Measured(peers.FLOOR, "the next of a chain of hashes, an event")

BUDGETS: Final = {
    Measured(REGISTRY, "createModel"): 225_000,
    Measured(REGISTRY, "register"): 71_000,
    Measured(REGISTRY, f"register, {len(METADATA)} bytes of metadata"): 79_000,
    Measured(REGISTRY, "register, with clients"): 73_200,
    Measured(REGISTRY, "register at version 200"): 71_000,
    Measured(REGISTRY, "validate"): 52_000,
    Measured(REGISTRY, "validate, below best"): 52_000,
    Measured(REGISTRY, "validate at version 200"): 52_000,
    Measured(REGISTRY, "validate, automatic rollback"): 55_000,
    Measured(REGISTRY, "validateByQuorum of 3"): 76_000,
    Measured(REGISTRY, "rollback"): 42_000,
    Measured(REGISTRY, "rollback at version 200"): 42_000,
    Measured(REGISTRY, "rollback, discarding"): 46_000,
    Measured(LOG, log.MEAN): 62_000,
    Measured(LOG, log.PER_RECORD.format(1_000)): 62,
    Measured(LOG, "checkpoint"): 40_000,
}
"""What the design allows; the other operations have no budget."""

BESIDE: Final = {
    Measured(REGISTRY, "createModel"): (Measured(peers.EAS, "register a schema"),),
    Measured(REGISTRY, "register"): (SMALLEST_ATTESTATION, EVALUATION, NEW_WORD),
    Measured(REGISTRY, registry.SAME_CONTENT): (PORT_REGISTERS, REGISTRATION, SMALLEST_ATTESTATION),
    Measured(REGISTRY, "validate"): (SMALLEST_ATTESTATION, CHAINED),
    Measured(REGISTRY, registry.SAME_METRICS): (PORT_VALIDATES, EVALUATION, SMALLEST_ATTESTATION),
    Measured(REGISTRY, "rollback"): (CHAINED,),
    Measured(REGISTRY, registry.SAME_REASON): (PORT_ROLLS_BACK,),
    Measured(REGISTRY, "revoke"): (Measured(peers.EAS, "revoke"),),
    Measured(REGISTRY, registry.PROVED): (Measured(peers.TREE, peers.PROOF),),
    Measured(LOG, log.MEAN): (
        Measured(peers.TREE, peers.MEAN_PUSH),
        Measured(peers.GANACHE, "storeModelHash"),
        Measured(peers.EAS, "timestamp"),
        SMALLEST_ATTESTATION,
        NEW_WORD,
    ),
    Measured(LOG, log.DESCRIBED): (
        STORE_HASH,
        Measured(peers.TRACKER, "storeHash, the same again"),
    ),
    Measured(LOG, log.PER_RECORD.format(100)): (
        Measured(peers.EAS, f"multiAttest of {peers.EAS_BATCH}, 32 bytes, per item"),
        Measured(peers.EAS, f"multiTimestamp of {peers.EAS_BATCH}, per item"),
    ),
    Measured(LOG, "checkpoint"): (Measured(peers.FLOOR, "an event"),),
    Measured(LOG, "isRecorded"): (
        Measured(peers.TRACKER, "verifyHash"),
        Measured(peers.FLOOR, "a call with one word"),
    ),
    Measured(LOG, log.INCLUDED): (Measured(peers.TREE, peers.PROOF),),
    Measured(LOG, log.IN_BATCH): (Measured(peers.TREE, peers.PROOF),),
}
"""The peers that do an operation's job, or a part of it."""


@dataclass(frozen=True)
class Claim:
    """That an operation of ours is several times cheaper than a peer's."""

    ours: Measured
    peer: Measured
    times: float

    def __str__(self) -> str:
        """The claim as a sentence."""
        cheaper = f"at least {self.times:g} times cheaper" if self.times != 1 else "cheaper"
        ours, (contract, operation) = self.ours.operation, self.peer
        return f"{ours}: {cheaper} than {contract}'s {operation}"

    def holds(self, figures: Figures) -> bool:
        """Whether the figures bear it out."""
        return self.ours.of(figures) * self.times <= self.peer.of(figures)


CLAIMS: Final = (
    Claim(Measured(REGISTRY, registry.SAME_CONTENT), PORT_REGISTERS, 6),
    Claim(Measured(REGISTRY, registry.SAME_METRICS), PORT_VALIDATES, 8),
    Claim(Measured(REGISTRY, registry.SAME_CONTENT), SMALLEST_ATTESTATION, 1),
    Claim(Measured(REGISTRY, registry.SAME_METRICS), SMALLEST_ATTESTATION, 1),
    Claim(Measured(LOG, log.DESCRIBED), STORE_HASH, 2.8),
)

PORT_ANCHORS: Final = {
    PORT_REGISTERS: 649_000,
    PORT_VALIDATES: 439_000,
    PORT_ROLLS_BACK: 221_000,
}
"""What another port of the same chaincode cost: one that is much dearer would be no fair peer."""
FAIR: Final = 0.10


def compare(figures: Figures) -> Sheet:
    """Every operation of ours with its budget, beside its peers."""
    rows: list[tuple[str, ...]] = []
    for contract in OURS:
        rows.append((contract, "", "", "", "", ""))
        for operation in figures[contract]:
            rows += _rows_of(Measured(contract, operation), figures)
    return Sheet("Gas of whole transactions", HEADINGS, rows, texts=(0, 3))


def _rows_of(measured: Measured, figures: Figures) -> Iterator[tuple[str, ...]]:
    """A row, and one more for every further peer."""
    gas, budget = measured.of(figures), BUDGETS.get(measured)
    ours = (measured.operation, f"{gas:,}", "" if budget is None else f"{budget:,}")
    if measured not in BESIDE:
        yield (*ours, "", "", "")
    for peer in BESIDE.get(measured, ()):
        cost = peer.of(figures)
        yield (*ours, f"{peer.contract}: {peer.operation}", f"{cost:,}", f"{cost / gas:.2f}")
        ours = ("", "", "")


def missed(figures: Figures) -> Iterator[str]:
    """What was promised and is not so: budgets, claims, and that the port is a fair one."""
    for measured, budget in BUDGETS.items():
        if measured.of(figures) > budget:
            yield f"{measured.operation}: {measured.of(figures):,}, and {budget:,} are allowed"
    for claim in CLAIMS:
        if not claim.holds(figures):
            yield str(claim)
    for measured, anchor in PORT_ANCHORS.items():
        if not is_fair(measured, figures):
            yield f"the {measured.contract} is not within {FAIR:.0%} of {anchor:,}"


def is_fair(measured: Measured, figures: Figures) -> bool:
    """Whether the port's operation costs about what it does in the other port."""
    anchor = PORT_ANCHORS[measured]
    return abs(measured.of(figures) - anchor) <= FAIR * anchor
