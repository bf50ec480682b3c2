"""Files of what was signed: what was written is read, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from ml.chain.head import text_digest
from ml.chain.records import Evaluation, Update
from ml.chain.signed_files import (
    MAX_FILE_BYTES,
    EvaluationFile,
    UpdateFile,
    dump_evaluation,
    dump_update,
    read_evaluation,
    read_update,
)
from ml.chain.signing import Domain, evaluation_hash, sign, update_hash
from ml.errors import ModelproofError, NotVerified

SIGNER = Account.from_key(b"\x07" * 32)
OTHER = Account.from_key(b"\x08" * 32)
DOMAIN = Domain(31337, "0x5FbDB2315678afecb367f032d93F642f64180aa3")
MODEL = b"m" * 31 + b"\0"
METRICS = '{"accuracy_ppm":986800,"correct":9868,"samples":10000}'
DEADLINE = 1_800_000_000


def signed_evaluation(**changes: Any) -> EvaluationFile:
    evaluation = Evaluation(3, 986_800, 991_000, True, b"t" * 32, b"w" * 32, b"d" * 32)
    evaluation = replace(evaluation, **changes)
    struct = evaluation_hash(MODEL, evaluation, text_digest(METRICS), DEADLINE)
    signature = sign(SIGNER, DOMAIN, struct)
    return EvaluationFile(DOMAIN, MODEL, evaluation, METRICS, DEADLINE, SIGNER.address, signature)


def signed_update() -> UpdateFile:
    update = Update(1, 2, 3, b"u" * 32, 600)
    signature = sign(SIGNER, DOMAIN, update_hash(MODEL, update))
    return UpdateFile(DOMAIN, MODEL, update, 255, SIGNER.address, signature, (b"p" * 32,))


EVALUATION, UPDATE = signed_evaluation(), signed_update()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "signed.json"


# --- What was written -----------------------------------------------------------------------------


def test_evaluation_that_was_written_is_read_again(path: Path) -> None:
    path.write_text(dump_evaluation(EVALUATION))
    assert read_evaluation(path) == EVALUATION
    EVALUATION.check_signature()


def test_update_that_was_written_is_read_again(path: Path) -> None:
    path.write_text(dump_update(UPDATE))
    assert read_update(path) == UPDATE
    UPDATE.check_signature()


def test_file_says_in_words_what_was_signed() -> None:
    document = json.loads(dump_evaluation(EVALUATION))
    assert document["domain"] == {
        "name": "Modelproof",
        "version": "1",
        "chainId": 31337,
        "verifyingContract": DOMAIN.registry,
    }
    assert document["evaluation"]["accuracy"] == 986_800
    assert document["evaluation"]["accepted"] is True
    assert document["metrics"] == METRICS
    assert document["signer"] == SIGNER.address


@pytest.mark.parametrize(
    "change",
    [
        lambda file: replace(file, signer=OTHER.address),
        lambda file: replace(file, deadline=DEADLINE + 1),
        lambda file: replace(file, metrics="{}"),
        lambda file: replace(file, model=bytes(32)),
        lambda file: replace(file, evaluation=replace(file.evaluation, accuracy=986_801)),
        lambda file: replace(file, evaluation=replace(file.evaluation, accepted=False)),
        lambda file: replace(file, domain=replace(file.domain, chain_id=1)),
        lambda file: replace(file, signature=replace(file.signature, r=bytes(32))),
        lambda file: replace(file, signature=replace(file.signature, vs=b"\xff" * 32)),
    ],
)
def test_signature_of_a_file_that_was_changed_does_not_hold(
    change: Callable[[EvaluationFile], EvaluationFile],
) -> None:
    changed = change(EVALUATION)
    with pytest.raises(NotVerified, match=f"is not {changed.signer}'s"):
        changed.check_signature()


def test_update_that_another_client_signed_does_not_hold() -> None:
    with pytest.raises(NotVerified, match=f"is not {OTHER.address}'s"):
        replace(UPDATE, client=OTHER.address).check_signature()


# --- What was not ---------------------------------------------------------------------------------


def without(*keys: str) -> Callable[[Any], Any]:
    def change(document: Any) -> Any:
        for key in keys[:-1]:
            document = document[key]
        del document[keys[-1]]

    return change


def having(value: object, *keys: str) -> Callable[[Any], Any]:
    def change(document: Any) -> Any:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without("format"), "the document has no 'format'"),
        (having("modelproof.signed-evaluation.v2", "format"), "its format is"),
        (without("metrics"), "the document has no 'metrics'"),
        (having(1, "note"), "the document has the unknown key 'note'"),
        (having([], "evaluation"), "the evaluation is not an object"),
        (without("evaluation", "details"), "the evaluation has no 'details'"),
        (having(1, "evaluation", "verdict"), "unknown key 'verdict'"),
        (having("3", "evaluation", "version"), "version of the evaluation is not a whole number"),
        (having(True, "evaluation", "version"), "version of the evaluation is not a whole number"),
        (having(-1, "evaluation", "accuracy"), "does not fit in uint32"),
        (having(2**32, "evaluation", "accuracy"), "does not fit in uint32"),
        (having(2**64, "deadline"), "the deadline does not fit in uint64"),
        (having(1, "evaluation", "accepted"), "is neither true nor false"),
        (having("0x" + "AB" * 32, "evaluation", "weights"), "64 lower-case hexadecimal digits"),
        (having("0x12", "signature", "r"), "64 lower-case hexadecimal digits"),
        (having(SIGNER.address.lower(), "signer"), "is not an address with its checksum"),
        (having("me", "signer"), "is not an address with its checksum"),
        (having("Someone", "domain", "name"), "the domain is not Modelproof, version 1"),
        (having("2", "domain", "version"), "the domain is not Modelproof, version 1"),
        (having({}, "metrics"), "the metrics' text is not a string"),
        (having("\udc00", "metrics"), "the metrics' text is not Unicode"),
    ],
)
def test_evaluations_file_of_another_form_is_refused(
    path: Path, change: Callable[[Any], Any], says: str
) -> None:
    document = json.loads(dump_evaluation(EVALUATION))
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(ModelproofError, match=says) as refused:
        read_evaluation(path)
    assert str(refused.value).startswith(f"{str(path)!r} is not a file of what was signed: ")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (having(2**32, "index"), "the client's index does not fit in uint32"),
        (having("0x", "proof"), "the proof is not a list"),
        (having(["0x"], "proof"), "a sibling of the proof is not 0x and 64"),
        (having(2**64, "update", "samples"), "samples of the update does not fit in uint64"),
        (without("client"), "the document has no 'client'"),
    ],
)
def test_updates_file_of_another_form_is_refused(
    path: Path, change: Callable[[Any], Any], says: str
) -> None:
    document = json.loads(dump_update(UPDATE))
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(ModelproofError, match=says):
        read_update(path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "it is not JSON"),
        (b"[]", "the document is not an object"),
        (b"\xff", "it is not UTF-8"),
        (b'{"format": 1, "format": 2}', "has the key 'format' twice"),
        (b'{"deadline": 1.5}', "where only whole numbers are allowed"),
        (b" " * (MAX_FILE_BYTES + 1), "it is too long"),
    ],
    ids=["empty", "a list", "no UTF-8", "a key twice", "a fraction", "too long"],
)
def test_what_is_no_such_file_is_refused(path: Path, data: bytes, says: str) -> None:
    path.write_bytes(data)
    with pytest.raises(ModelproofError, match=says):
        read_evaluation(path)


def test_file_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(ModelproofError, match=r"signed.json' cannot be read: No such file"):
        read_evaluation(path)


def test_update_is_not_taken_for_an_evaluation(path: Path) -> None:
    path.write_text(dump_update(UPDATE))
    with pytest.raises(ModelproofError, match=r"its format is 'modelproof\.signed-update\.v1'"):
        read_evaluation(path)
