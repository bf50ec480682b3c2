"""What operations cost as a model's history grows: ``python -m benchmarks.gas.history``.

At each length every operation is tried on the same model and undone before the next, so that only
the length differs. Views are sent as transactions, since a free call has no receipt: a page of a
given size has to cost the same whatever the length, and a page in proportion to its size.

Ends with 1 if a cost grows otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from ape import accounts, chain, project
from ape.logging import logger

from benchmarks.gas import report, results
from benchmarks.gas.chain import conditions, gas, own_chain
from benchmarks.gas.content import REASON, digest
from benchmarks.gas.line import LongLine, holders_among
from benchmarks.gas.report import Sheet
from ml.chain.records import Role
from ml.chain.registry import PAGE, ModelRegistry
from ml.chain.types import Policy

if TYPE_CHECKING:
    from benchmarks.gas.chain import Costs

TARGET: Final = "bench-gas-history"
LENGTHS: Final = (1, 10, 100, 1_000, 3_000, 10_000)
PAGES: Final = (1, 10, 100, PAGE, 1_000)
"""Sizes of a page; one of them is what our client asks for."""
VIEWS: Final = ("getVersions", "getLineage", "onActiveLine")
PAGE_OF: Final = "{} of {:,}"
FLAT: Final = 100
"""Gas by which a cost may differ between two lengths: larger numbers have more bytes."""
LINEAR: Final = 0.1
"""By how much more a further version may cost on a page of our client's than on a small one. The
price of memory grows with its square, which is what larger pages mostly pay for."""
POLICY: Final = Policy(patience=0, convergence_patience=0, max_iterations=0, max_rollbacks=0)
"""Which never ends, and rolls back after a severe drop."""
SAME: Final[dict[str, Any]] = {name: digest(name) for name in ("weights", "object", "content")}
"""Stated of every version, so that digests do not vary with the length."""


def measure() -> dict[int, Costs]:
    """The gas of every operation by the length of the history, on the connected chain."""
    holders = holders_among(accounts.test_accounts)
    registry = ModelRegistry(holders[Role.ADMIN].deploy(project.ModelRegistry))
    line = LongLine(registry, holders, "long", POLICY)
    curve = {}
    for length in LENGTHS:
        line.grow(length)
        curve[length] = {name: _undone(act) for name, act in _writes(line).items()}
        for view in VIEWS:
            for size in (size for size in PAGES if size < length):
                curve[length][PAGE_OF.format(view, size)] = _undone(_page(line, view, size))
    return curve


def _writes(line: LongLine) -> dict[str, Callable[[], int]]:
    """What is measured, by its name; each registers what it needs."""
    operator = line.holders[Role.OPERATOR]

    def validate(accuracy: int) -> int:
        line.register(**SAME)
        return line.validate(accuracy).gas_used

    def roll_back() -> int:
        validate(950_000)
        return line.registry.rollback(line.id, 1, REASON, sender=operator).gas_used

    def discard() -> int:
        line.register(**SAME)
        return line.registry.discard(line.id, line.latest, REASON, sender=operator).gas_used

    return {
        "register": lambda: line.register(**SAME).gas_used,
        "validate": lambda: validate(950_000),
        "validate, automatic rollback": lambda: validate(100_000),
        "rollback to the first version": roll_back,
        "discard": discard,
    }


def _page(line: LongLine, view: str, size: int) -> Callable[[], int]:
    """One page that ends or begins with the last version, and does not reach the first one."""
    last = line.latest
    bounds = {
        "getVersions": (last - size + 1, size),
        "getLineage": (last, size),
        "onActiveLine": (last - size + 1, 0, size),
    }[view]
    contract, sender = line.registry.contract, line.holders[Role.ADMIN]
    return lambda: gas(contract, view, line.id, *bounds, sender=sender)


def _undone(act: Callable[[], int]) -> int:
    with chain.isolate():
        return act()


def grown(curve: dict[int, Costs]) -> Iterator[str]:
    """The costs that grow otherwise than they should."""
    for name in curve[LENGTHS[-1]]:
        costs = [costs[name] for costs in curve.values() if name in costs]
        if max(costs) - min(costs) > FLAT:
            yield f"{name} costs {min(costs):,} to {max(costs):,}"
    longest = curve[LENGTHS[-1]]
    for view in VIEWS:
        each = [
            (longest[PAGE_OF.format(view, large)] - longest[PAGE_OF.format(view, small)])
            / (large - small)
            for small, large in pairwise(size for size in PAGES if size <= PAGE)
        ]
        if max(each) > min(each) * (1 + LINEAR):
            yield f"a version more on a page of {view} costs {min(each):,.0f} to {max(each):,.0f}"


def as_sheet(curve: dict[int, Costs]) -> Sheet:
    """A column per length."""
    rows = [
        (name, *(f"{costs[name]:,}" if name in costs else "" for costs in curve.values()))
        for name in curve[LENGTHS[-1]]
    ]
    headings = ("operation, or view of how many versions", *(f"{length:,}" for length in curve))
    return Sheet("Gas by the number of versions that a model has", headings, rows)


def main() -> int:
    """Measure on an Anvil of its own, write the results and print them; return the exit code."""
    logger.set_level("WARNING")
    with own_chain():
        curve, known = measure(), conditions()
    results.write(results.HISTORY, curve, known)
    sheet = as_sheet(curve)
    sheet.print()
    report.document(TARGET, sheet)
    wrong = list(grown(curve))
    for sentence in wrong:
        print(f"{TARGET}: {sentence}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
