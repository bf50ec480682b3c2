"""The packed word of a record, as its layout says and as the chain's state holds it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from eth_abi.abi import encode as encode_values

from ml.artifact.keccak import keccak256
from ml.chain.log_records import MAX_COUNT, RecordKind

from .batch import Batch, decoded, effort, encode
from .logs import deploy, digest_of
from .story import Cast

RECORDS_SLOT = 33
"""That of the mapping, behind the size's word and the 32 nodes."""


@pytest.fixture(scope="module")
def harness(project: Any, cast: Cast, batch: Batch) -> Any:
    return cast.deployer.deploy(project.LogHarness)


def word_of(index: int, time: int, count: int, kind: int, metadata: bytes) -> int:
    """As the layout in LogRecord.sol says."""
    return int.from_bytes(metadata, "big") << 96 | kind << 92 | count << 72 | time << 32 | index


def random_record(dice: random.Random) -> tuple[int, int, int, int, bytes]:
    return (
        dice.choice((0, 1, 2**32 - 1, dice.getrandbits(32))),
        dice.choice((0, 1, 2**40 - 1, dice.getrandbits(40))),
        dice.choice((1, MAX_COUNT, dice.randint(1, MAX_COUNT))),
        dice.choice(list(RecordKind)).value,
        dice.choice((bytes(20), b"\xff" * 20, dice.randbytes(20))),
    )


def test_word_is_laid_out_as_written_and_gives_back_what_was_packed(
    harness: Any, batch: Batch
) -> None:
    dice = random.Random(1)
    records = [random_record(dice) for _ in range(effort(2_000))]
    words = [word_of(*record) for record in records]

    calls = [encode(harness, "pack", record) for record in records]
    packed = batch.call_each(str(harness.address), calls)
    assert [int.from_bytes(one.returned, "big") for one in packed] == words

    calls = [encode(harness, "unpack", word) for word in words]
    unpacked = batch.call_each(str(harness.address), calls)
    assert [decoded(harness, "unpack", one.returned) for one in unpacked] == records


def test_one_slot_of_the_state_holds_a_record(project: Any, cast: Cast) -> None:
    """What a storage proof has to show."""
    log, digest = deploy(project, cast.deployer), digest_of(1)
    record, _ = log.append(RecordKind.BATCH, digest, sender=cast.client, count=9, metadata="m")
    own = keccak256(encode_values(["address", "uint256"], [cast.client.address, RECORDS_SLOT]))
    slot = int.from_bytes(keccak256(digest + own), "big")
    held = log.contract.provider.web3.eth.get_storage_at(log.address, slot)
    assert int.from_bytes(held, "big") == word_of(
        record.index, record.time, record.count, record.kind, record.metadata
    )
