"""Measure everything on an Anvil of its own, write the results and print them.

Ends with 1 if something that is promised is not so.
"""

from __future__ import annotations

import sys
from typing import Final

from ape import accounts
from ape.logging import logger

from benchmarks.gas import log, peer_contracts, peers, registry, report, results
from benchmarks.gas.chain import conditions, own_chain
from benchmarks.gas.comparisons import CLAIMS, LOG, REGISTRY, compare, missed
from ml.errors import ModelproofError

TARGET: Final = "bench-gas"


def main() -> int:
    """Measure; return the exit code."""
    logger.set_level("WARNING")
    people = accounts.test_accounts
    try:
        containers = peer_contracts.load()
        with own_chain():
            figures = {
                REGISTRY: registry.measure(people),
                LOG: log.measure(people[0]),
                **peers.measure(containers, people[0]),
            }
            results.write(results.GAS, figures, conditions())
    except ModelproofError as error:
        print(f"{TARGET}: {error}", file=sys.stderr)
        return 2
    sheet = compare(figures)
    sheet.print()
    report.document(TARGET, sheet)
    wrong = list(missed(figures))
    for claim in CLAIMS:
        if claim.holds(figures):
            print(f"holds: {claim}")
    for sentence in wrong:
        print(f"{TARGET}: missed: {sentence}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
