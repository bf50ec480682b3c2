"""Heads and proofs of a log as files: what is written is read, and nothing else is."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ml.artifact.log import LogTree
from ml.chain.log_proofs import (
    MAX_FILE_BYTES,
    BatchProof,
    InclusionProof,
    Kept,
    KeptHead,
    LogPlace,
    dump,
    read_head,
    read_proof,
)
from ml.chain.log_records import Batch, RecordKind, Statement, TreeHead, digest_text, leaf_of
from ml.errors import ModelproofError

SUBMITTER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
PLACE = LogPlace(31337, "0x" + "ab" * 32, "0x9732f9df14CB46e8B1819F53b767c723928a2205")
STATEMENTS = [
    Statement(RecordKind.DATA, bytes([n]) * 32, n, digest_text(f"part {n}")) for n in range(1, 8)
]
TREE = LogTree(leaf_of(SUBMITTER, 1_000 + s.count, s) for s in STATEMENTS)
BATCH = Batch(STATEMENTS)
HEAD = KeptHead(PLACE, TreeHead(7, TREE.root()))
INCLUSION = InclusionProof(
    PLACE, HEAD.head, 2, SUBMITTER, 1_003, STATEMENTS[2], tuple(TREE.inclusion_proof(2))
)
BATCHED = BatchProof(PLACE, SUBMITTER, BATCH.root, STATEMENTS[2], tuple(BATCH.proof(STATEMENTS[2])))
KEPT: dict[str, Kept] = {"head": HEAD, "inclusion": INCLUSION, "batch": BATCHED}


def read(path: Path) -> Kept:
    is_head = json.loads(path.read_bytes())["format"] == "modelproof.log-head.v1"
    return read_head(path) if is_head else read_proof(path)


@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT)
def test_what_is_written_is_read(kept: Kept, tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_text(dump(kept))
    assert read(path) == kept


@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT)
def test_file_names_its_log_and_its_format(kept: Kept) -> None:
    document = json.loads(dump(kept))
    assert document["format"].startswith("modelproof.log-")
    assert document["log"] == {
        "chainId": 31337,
        "genesis": PLACE.genesis,
        "address": PLACE.address,
    }


# --- Whether a proof holds ------------------------------------------------------------------------


def test_true_proofs_hold() -> None:
    assert INCLUSION.holds
    assert BATCHED.holds


OTHER = replace(STATEMENTS[2], count=4)


@pytest.mark.parametrize(
    "false",
    [
        replace(INCLUSION, index=3),
        replace(INCLUSION, time=1_004),
        replace(INCLUSION, submitter="0x" + "12" * 20),
        replace(INCLUSION, statement=OTHER),
        replace(INCLUSION, siblings=INCLUSION.siblings[1:]),
        replace(INCLUSION, head=TreeHead(7, bytes(32))),
        replace(INCLUSION, head=TreeHead(2, TREE.root())),
        replace(BATCHED, statement=OTHER),
        replace(BATCHED, batch=bytes(32)),
        replace(BATCHED, siblings=()),
    ],
)
def test_proof_of_anything_else_does_not_hold(false: InclusionProof | BatchProof) -> None:
    assert not false.holds


# --- Malformed files ------------------------------------------------------------------------------


def put(*path: str, value: object) -> Callable[[dict[str, Any]], None]:
    """A change of one field."""

    def change(document: dict[str, Any]) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


MALFORMED: dict[str, tuple[str, Callable[[dict[str, Any]], Any], str]] = {
    "format of tomorrow": ("head", put("format", value="modelproof.log-head.v2"), "its format is"),
    "no format": ("head", lambda d: d.pop("format"), "its format is 'None'"),
    "no root": ("head", lambda d: d.pop("root"), "the head has no 'root'"),
    "another key": ("head", put("more", value=1), "the head has the unknown key 'more'"),
    "size below 0": ("head", put("size", value=-1), "the size does not fit in 64 bits"),
    "size of a text": ("head", put("size", value="7"), "the size is not a whole number"),
    "endless size": ("head", put("size", value=1 << 64), "the size does not fit in 64 bits"),
    "short root": ("head", put("root", value="0x12"), "the root is not 0x and 64"),
    "no place": ("head", put("log", value="here"), "the log is not an object"),
    "address": ("head", put("log", "address", value="0x12"), "log's address is not an address"),
    "genesis": ("head", put("log", "genesis", value="12"), "the genesis block is not 0x and 64"),
    "submitter": (
        "inclusion",
        put("submitter", value=SUBMITTER.lower()),
        "the submitter is not an address with its checksum",
    ),
    "time": ("inclusion", put("time", value=1.5), "its JSON has 1.5 where only whole numbers"),
    "kind": ("inclusion", put("statement", "kind", value="NOVEL"), "statement's kind is 'NOVEL'"),
    "kind by number": ("inclusion", put("statement", "kind", value=1), "kind is not a string"),
    "count": ("inclusion", put("statement", "count", value=True), "count is not a whole number"),
    "siblings": ("inclusion", put("siblings", value="0x"), "list of siblings is not a list"),
    "sibling": ("batch", put("siblings", value=["0x"]), "a sibling is not 0x and 64"),
    "batch": ("batch", put("batch", value=None), "the batch is not a string"),
    "statement": ("batch", lambda d: d.pop("statement"), "the proof has no 'statement'"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_file_is_refused_with_what_is_wrong(name: str, tmp_path: Path) -> None:
    kind, change, sentence = MALFORMED[name]
    document = copy.deepcopy(json.loads(dump(KEPT[kind])))
    change(document)
    path = tmp_path / "kept.json"
    path.write_text(json.dumps(document))
    for reader in (read_head, read_proof):
        with pytest.raises(ModelproofError, match=f"kept.json' is neither .*{sentence}") as caught:
            reader(path)
        assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"format": 1, "format": 1}', "\xff"])
def test_file_of_something_else_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_text(text, "latin-1")
    with pytest.raises(ModelproofError, match="is neither a head nor a proof of a log"):
        read_proof(path)


def test_file_that_is_too_long_or_missing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    path.write_text(dump(HEAD) + " " * MAX_FILE_BYTES)
    with pytest.raises(ModelproofError, match="it is too long"):
        read_head(path)
    with pytest.raises(ModelproofError, match="cannot be read: No such file"):
        read_head(tmp_path / "nowhere.json")


def test_head_is_no_proof_and_a_proof_no_head(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_text(dump(HEAD))
    with pytest.raises(ModelproofError, match="is a head, not a proof"):
        read_proof(path)
    path.write_text(dump(BATCHED))
    with pytest.raises(ModelproofError, match="is a proof, not a head"):
        read_head(path)
