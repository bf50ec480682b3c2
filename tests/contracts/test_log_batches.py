"""Batches: many statements under one record, each of which can be proved to a contract."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ml.chain.log_records import MAX_COUNT, Batch, RecordKind, Statement
from ml.chain.provenance_log import ProvenanceLog
from ml.errors import ModelproofError

from .batch import Batch as Calls
from .batch import effort, encode
from .logs import about, deploy, digest_of, fields, flipped
from .story import Cast, refused

KINDS = [kind for kind in RecordKind if kind]
UPDATES = [about(RecordKind.CLIENT_UPDATE, digest_of(n), n + 1, f"client {n}") for n in range(9)]


@pytest.fixture
def log(project: Any, cast: Cast) -> ProvenanceLog:
    return deploy(project, cast.deployer)


def record(log: ProvenanceLog, sender: Any, batch: Batch) -> None:
    log.append(RecordKind.BATCH, batch.root, sender=sender, count=len(batch))


@pytest.mark.parametrize("count", range(1, len(UPDATES) + 1))
def test_every_statement_of_a_batch_is_proved(log: ProvenanceLog, cast: Cast, count: int) -> None:
    batch = Batch(UPDATES[:count])
    record(log, cast.client, batch)
    for statement in UPDATES[:count]:
        proof = batch.proof(statement)
        assert log.verify_batched(cast.client.address, batch.root, statement, proof)


def test_thousands_of_statements_are_proved_and_changed_ones_refused(
    log: ProvenanceLog, cast: Cast, batch: Calls
) -> None:
    dice = random.Random(1)
    statements = [
        Statement(dice.choice(KINDS), dice.randbytes(32), dice.randint(1, 99), dice.randbytes(32))
        for _ in range(effort(2_000))
    ]
    tree = Batch(statements)
    record(log, cast.client, tree)
    cases = []
    for statement in statements:
        proof = tree.proof(statement)
        place, bit = dice.randrange(len(proof)), dice.randrange(256)
        changed = [*proof[:place], flipped(proof[place], bit), *proof[place + 1 :]]
        cases += [(statement, proof, True), (statement, changed, False)]
        cases += [(dice.choice(other_than(statement)), proof, False), (statement, proof[1:], False)]
    calls = [
        encode(log.contract, "verifyBatched", cast.client.address, tree.root, fields(s), p)
        for s, p, _ in cases
    ]
    for start in range(0, len(calls), 500):
        outcomes = batch.call_each(log.address, calls[start : start + 500])
        for (statement, _, expected), outcome in zip(cases[start:], outcomes, strict=False):
            assert int.from_bytes(outcome.returned, "big") == expected, statement


def other_than(statement: Statement) -> list[Statement]:
    """A statement with each of its fields changed."""
    kind, digest, count, metadata = fields(statement)
    return [
        Statement(RecordKind(kind % 6 + 1), digest, count, metadata),
        Statement(RecordKind(kind), flipped(digest), count, metadata),
        Statement(RecordKind(kind), digest, count + 1, metadata),
        Statement(RecordKind(kind), digest, count, flipped(metadata)),
    ]


def test_each_field_of_a_statement_is_bound(log: ProvenanceLog, cast: Cast) -> None:
    batch = Batch(UPDATES)
    record(log, cast.client, batch)
    proof = batch.proof(UPDATES[3])
    for changed in other_than(UPDATES[3]):
        assert not log.verify_batched(cast.client.address, batch.root, changed, proof)


def test_inner_node_of_a_batch_does_not_pass_for_a_statement(
    log: ProvenanceLog, cast: Cast
) -> None:
    # a batch whose "statement" is its own root, with nothing left to prove
    batch = Batch(UPDATES[:2])
    record(log, cast.client, batch)
    forged = about(RecordKind.BATCH, batch.root, 2)
    assert not log.verify_batched(cast.client.address, batch.root, forged, [])


def test_batch_of_another_submitter_is_not_looked_at(log: ProvenanceLog, cast: Cast) -> None:
    batch = Batch(UPDATES)
    record(log, cast.client, batch)
    with refused("UnknownRecord", submitter=cast.stranger.address, digest=batch.root):
        log.verify_batched(cast.stranger.address, batch.root, UPDATES[0], batch.proof(UPDATES[0]))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not RecordKind.BATCH])
def test_record_of_another_kind_is_no_batch(
    log: ProvenanceLog, cast: Cast, kind: RecordKind
) -> None:
    batch = Batch(UPDATES)
    log.append(kind, batch.root, sender=cast.client)
    with refused("RecordIsNotABatch", submitter=cast.client.address, digest=batch.root, kind=kind):
        log.verify_batched(cast.client.address, batch.root, UPDATES[0], batch.proof(UPDATES[0]))


def test_batch_is_the_standard_merkle_tree_of_openzeppelin() -> None:
    program = """
        const { StandardMerkleTree } = require("@openzeppelin/merkle-tree");
        const values = JSON.parse(process.argv[1]);
        const tree = StandardMerkleTree.of(values, ["uint8", "bytes32", "uint32", "bytes32"]);
        const proofs = values.map((value) => tree.getProof(value));
        console.log(JSON.stringify({ root: tree.root, proofs }));
    """
    values = [
        [kind, "0x" + digest.hex(), count, "0x" + metadata.hex()]
        for kind, digest, count, metadata in map(fields, UPDATES)
    ]
    run = subprocess.run(
        ["node", "-e", program, json.dumps(values)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    theirs, ours = json.loads(run.stdout), Batch(UPDATES)
    assert theirs["root"] == "0x" + ours.root.hex()
    proofs = [["0x" + node.hex() for node in ours.proof(update)] for update in UPDATES]
    assert theirs["proofs"] == proofs


@pytest.mark.parametrize("count", [0, MAX_COUNT + 1])
def test_batch_of_nothing_or_too_much_is_refused(count: int) -> None:
    with pytest.raises(
        ModelproofError, match=f"a batch holds 1 to 1000000 statements, not {count}"
    ):
        Batch(UPDATES[:1] * count)
