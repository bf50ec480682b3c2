"""`ape run log`, as it is typed: recording files, and checking them with a chain and without."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import ape
import pytest
from click.testing import CliRunner

import scripts.log
from ml.artifact.contents import contents_of
from ml.chain.anvil import AnvilNode, free_port

from .shell import ApeRun

DIGEST = "0x" + "34" * 32
HOSTILE = "\x1b[2J[red]x[/red]\nVerified."
FILES = {"labels.csv": "7,2,1\n", "images/0.txt": "zero", "images/1.txt": "one"}

Log: TypeAlias = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of three files."""
    folder = tmp_path_factory.mktemp("data") / "set"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def log(ape_run: ApeRun) -> Log:
    """Run `ape run log` with --json on a chain with a log; what it prints, or refuses with."""
    deployed = ape_run("deploy")
    assert deployed.returncode == 0, deployed.stderr

    def run(*arguments: str | Path, exit_code: int = 0, **variables: str) -> Any:
        done = ape_run("log", *arguments, "--json", variables=variables)
        assert done.returncode == exit_code, done.stderr
        printed = json.loads(done.stdout)
        return printed["error"] if exit_code else printed

    return run


@pytest.fixture(scope="module")
def recorded(log: Log, folder: Path) -> list[dict[str, Any]]:
    """The folder as a whole, by test:1, with a metadata that plays tricks."""
    return log("append", folder, "--kind", "data", "--count", "3", "--metadata", HOSTILE)


@pytest.fixture(scope="module")
def proofs(log: Log, folder: Path, recorded: object) -> Path:
    """The proofs of its files, after all of them were recorded at once."""
    where = folder.parent / "proofs"
    (batch,) = log("append", folder, "--kind", "data", "--batch", where)
    assert batch["count"] == 3
    return where


def sha256(path: Path) -> str:
    return "0x" + hashlib.sha256(path.read_bytes()).hexdigest()


# --- Recording ------------------------------------------------------------------------------------


def test_folder_is_recorded_once(
    log: Log, folder: Path, recorded: list[dict[str, Any]], node: AnvilNode
) -> None:
    (first,) = recorded
    assert first["digest"] == "0x" + contents_of(folder).digest.hex()
    assert first["submitter"] == ape.accounts.test_accounts[1].address
    before = node.rpc("eth_blockNumber")
    (again,) = log("append", folder, "--kind", "data", "--count", "3", "--metadata", HOSTILE)
    assert again == {**first, "transaction": None, "gas": 0}
    refused = log("append", folder, "--kind", "epoch", exit_code=2)
    assert "the first time stays" in refused
    assert node.rpc("eth_blockNumber") == before


def test_records_are_shown_with_what_was_said_of_them(
    log: Log, folder: Path, recorded: list[dict[str, Any]]
) -> None:
    (shown,) = log("show", folder)
    assert shown == log("show", str(recorded[0]["index"]))[0]
    assert (shown["kind"], shown["count"], shown["metadata"]) == ("DATA", 3, HOSTILE)
    assert shown in log("show", "--submitter", "test:1")
    assert log("show", "--submitter", "test:9") == []


def test_hostile_metadata_is_shown_harmlessly_on_one_line(
    ape_run: ApeRun, recorded: list[dict[str, Any]]
) -> None:
    shown = ape_run("log", "show")
    assert shown.returncode == 0, shown.stderr
    assert r"\x1b[2J[red]x[/red]\nVerified." in shown.stdout
    assert "\x1b" not in shown.stdout


# --- Verifying ------------------------------------------------------------------------------------


def test_recorded_folder_verifies_and_a_changed_one_does_not(
    log: Log, folder: Path, recorded: list[dict[str, Any]], tmp_path: Path
) -> None:
    (record,) = log("verify", folder)["records"]
    assert record["index"] == recorded[0]["index"]
    assert log("verify", recorded[0]["digest"], "--submitter", "test:1")["verified"]
    assert "was not recorded by 0x" in log("verify", folder, "--submitter", "test:2", exit_code=1)
    changed = tmp_path / "set"
    changed.mkdir()
    (changed / "labels.csv").write_text("7,2,2\n")
    assert "was not recorded in this log" in log("verify", changed, exit_code=1)


def test_file_of_a_batch_verifies_by_its_proof(log: Log, folder: Path, proofs: Path) -> None:
    names = sorted(path.relative_to(proofs).as_posix() for path in proofs.rglob("*.json"))
    assert names == ["set/images/0.txt.json", "set/images/1.txt.json", "set/labels.csv.json"]
    file, proof = folder / "images/0.txt", proofs / "set/images/0.txt.json"
    (record,) = log("verify", file, "--proof", proof)["records"]
    assert (record["kind"], record["count"]) == ("BATCH", 3)
    assert "was not recorded" in log("verify", file, exit_code=1)
    other = log("verify", folder / "labels.csv", "--proof", proof, exit_code=1)
    assert f"the proof is about {sha256(file)}" in other
    theirs = log("verify", file, "--proof", proof, "--submitter", "test:2", exit_code=1)
    assert "not of 0x" in theirs


def test_changed_or_malformed_proof_is_refused(
    log: Log, folder: Path, proofs: Path, tmp_path: Path
) -> None:
    file, changed = folder / "images/0.txt", tmp_path / "proof.json"
    text = (proofs / "set/images/0.txt.json").read_text()
    changed.write_text(text.replace('"count": 1', '"count": 2'))
    refused = log("verify", file, "--proof", changed, exit_code=1)
    assert "does not lead from the statement to the batch's root" in refused
    changed.write_text("{}")
    assert "neither a head nor a proof" in log("verify", file, "--proof", changed, exit_code=2)


def test_proof_and_kept_head_verify_a_file_without_a_chain(
    log: Log, folder: Path, recorded: list[dict[str, Any]], tmp_path: Path
) -> None:
    kept, proof = tmp_path / "head.json", tmp_path / "proof.json"
    size = log("head", "--output", kept)["size"]
    log("append", "0x" + "12" * 32, "--kind", "epoch", "--account", "test:3")
    later = log("head", "--since", kept, "--publish")
    assert (later["since"], later["size"]) == (size, size + 1)
    assert later["transaction"].startswith("0x")

    assert log("prove", folder, "--at", kept, "--output", proof)["size"] == size
    nowhere = {"DEV_RPC_URL": f"http://127.0.0.1:{free_port()}"}
    offline = ("verify", folder, "--proof", proof, "--head", kept, "--network", "dev")
    shown = log(*offline, **nowhere)
    assert (shown["verified"], shown["index"]) == (True, recorded[0]["index"])
    assert log("verify", folder, "--proof", proof)["verified"]
    kept.write_text(kept.read_text().replace(later["log"], ape.accounts.test_accounts[0].address))
    assert "this is about the log at" in log(*offline, exit_code=2, **nowhere)
    assert "this is about the log at" in log("head", "--since", kept, exit_code=2)


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("append", "0x" + "00" * 32, "--kind", "data"), "the digest is zero"),
        (("show", "9999"), "the log has no record 9999"),
    ],
)
def test_what_the_log_cannot_have_is_refused_in_a_sentence(
    log: Log, arguments: tuple[str, ...], sentence: str
) -> None:
    assert sentence in log(*arguments, exit_code=2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("verify", "nowhere"), "there is no file 'nowhere'; check the path"),
        (("verify", "0x12"), "0x12 is not a digest: 0x and 64 hex digits"),
        (("verify", DIGEST, "--head", "h.json"), "name one with --proof"),
        (("append", "nowhere", "--kind", "data"), "there is no file 'nowhere'; check the path"),
        (("prove", DIGEST, "--output", "p.json", "--at", "no"), "'no' cannot be read"),
        (("head", "--since", "no"), "'no' cannot be read"),
        (("append", "a", "--kind", "novel"), "'novel' is not one of"),
        (("append", "a"), "Missing option '--kind'"),
        (("append", "--kind", "data"), "Missing argument 'WHAT...'"),
        (("append", "a", "--kind", "data", "--count", "0"), "'--count': 0 is not in the range"),
        (("append", "a", "--kind", "data", "--count", "2", "--batch", "p"), "leave --count out"),
        (("append", "a", "--kind", "batch"), "--kind batch is for the root of a batch"),
    ],
)
def test_wrong_input_is_refused_before_a_chain_is_asked(
    arguments: tuple[str, ...], sentence: str
) -> None:
    done = CliRunner().invoke(scripts.log.cli, [*arguments, "--network", "nonsense"])
    assert done.exit_code == 2
    assert sentence in done.output
    assert "Traceback" not in done.output
