"""Every entry point of the log under extreme and malformed input: no panic, no endless gas."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from eth_abi.abi import encode as encode_values

from ml.chain.provenance_log import ProvenanceLog

from .batch import Batch, effort, encode, selectors
from .logs import deploy, digest_of
from .story import Cast
from .test_entry_points import MAX_GAS, TEXTS, described, errors_of, malformed

CALLS = 6_000
CALLS_AT_ONCE = 60
SIZES = (0, 1, 2, 3, 5, 2**32 - 1, 2**255, 2**256 - 1)


@pytest.fixture(scope="module")
def log(project: Any, cast: Cast, batch: Batch) -> ProvenanceLog:
    return deploy(project, cast.deployer)


def value(dice: random.Random, item: Any, submitter: str) -> Any:
    """A value for an ABI item, at or about its ends, or such as means something to the log."""
    if item.components:
        return tuple(value(dice, part, submitter) for part in item.components)
    match item.type:
        case "bytes32":
            digests = (bytes(32), b"\xff" * 32, digest_of(1), digest_of(2), dice.randbytes(32))
            return dice.choice(digests)
        case "bytes32[]":
            return [dice.randbytes(32) for _ in range(dice.choice((0, 1, 2, 9, 300)))]
        case "address":
            return dice.choice((submitter, submitter, "0x" + "00" * 20, "0x" + "ff" * 20))
        case "string":
            return dice.choice(TEXTS)
    if (item.internal_type or "").startswith("enum "):
        return dice.randrange(8)
    highest = 2 ** int(item.type.removeprefix("uint")) - 1
    return min(highest, dice.choice((*SIZES, 1_000_000, 1_000_001)))


def calls(dice: random.Random, log: ProvenanceLog, submitter: str) -> Iterator[bytes]:
    """Two records, then calls of every function with extreme arguments of the right types."""
    yield encode(log.contract, "append", 1, digest_of(1), 1, "")
    yield encode(log.contract, "append", 6, digest_of(2), 2, "")
    known = selectors(log.contract.contract_type)
    for _ in range(CALLS_AT_ONCE):
        function = dice.choice(log.contract.contract_type.methods)
        types = [item.canonical_type for item in function.inputs]
        values = [value(dice, item, submitter) for item in function.inputs]
        yield known[function.name] + encode_values(types, values)


@pytest.mark.parametrize("is_malformed", [False, True])
def test_call_succeeds_or_is_refused_by_name_or_cannot_be_read(
    log: ProvenanceLog, batch: Batch, is_malformed: bool
) -> None:
    dice, errors = random.Random(is_malformed), errors_of(log)
    met: set[bytes] = set()
    succeeded = unreadable = 0
    for _ in range(effort(CALLS) // 2 // CALLS_AT_ONCE):
        first, second, *others = calls(dice, log, batch.address)
        if is_malformed:
            others = [malformed(dice, call) for call in others]
        outcomes = batch.call_each(log.address, [first, second, *others])
        for call, outcome in zip([first, second, *others], outcomes, strict=True):
            code = outcome.returned[:4]
            assert outcome.succeeded or code == b"" or code in errors, described(call, outcome)
            assert outcome.gas_used < MAX_GAS, described(call, outcome)
            met |= {code} if not outcome.succeeded else set()
            succeeded += outcome.succeeded
            unreadable += not outcome.succeeded and code == b""
    assert succeeded > effort(CALLS) // 20
    assert unreadable > 0
    unmet = {
        name for name, code in selectors(log.contract.contract_type).items() if code in errors - met
    }
    assert unmet <= {"LogIsFull"} or is_malformed
