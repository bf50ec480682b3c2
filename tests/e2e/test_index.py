"""The event index and fsck as they are typed."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ml.chain.anvil import AnvilNode
from tests.artifact.builders import SMALL, file_bytes, write

from .shell import ApeRun

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def registered(ape_run: ApeRun, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A version of a model on a chain of its own, as it was registered."""
    folder = tmp_path_factory.mktemp("models")
    file = write(folder, file_bytes(SMALL))
    assert ape_run("deploy").returncode == 0
    done = ape_run(
        "register", file, "--model", "mine", "--artifacts", folder, "--test-set",
        "0x" + "5e" * 32, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def told(ape_run: ApeRun, *command: str, exit_code: int = 0) -> Any:
    done = ape_run(*command, "--json")
    assert done.returncode == exit_code, done.stderr
    return json.loads(done.stdout)


def test_index_made_anew_is_the_same_as_of_the_same_block(
    ape_run: ApeRun, registered: dict[str, Any], node: AnvilNode
) -> None:
    status = told(ape_run, "index", "status")
    assert status["as_of"]["block"] == int(node.rpc("eth_blockNumber"), 16)
    assert [one["contract"] for one in status["contracts"]] == ["ModelRegistry", "ProvenanceLog"]
    assert told(ape_run, "index", "rebuild") == status


def test_search_finds_a_version_by_its_weights_and_by_who_registered_it(
    ape_run: ApeRun, registered: dict[str, Any]
) -> None:
    by_digest = told(ape_run, "index", "search", "--digest", registered["weights"])
    by_account = told(
        ape_run, "index", "search", "--model", "mine", "--by", "test:1",
        "--event", "VersionRegistered", "--since", "2020-01-01",
    )  # fmt: skip
    assert by_digest == by_account
    (found,) = by_digest["events"]
    assert found["arguments"]["weights"] == registered["weights"]
    shown = ape_run("index", "search", "--event", "VersionRegistered")
    assert "VersionRegistered" in shown.stdout
    assert f"As of block {by_digest['as_of']['block']}" in shown.stderr


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["--digest", "0x12"], "0x12 is not a digest: 0x and 64 hex digits."),
        (["--since", "yesterday"], "yesterday is not a time: 2026-11-21"),
        (["--cid", "bafy"], "bafy"),
    ],
)
def test_search_for_what_cannot_be_is_refused_in_a_sentence(
    ape_run: ApeRun, registered: dict[str, Any], typed: list[str], sentence: str
) -> None:
    done = ape_run("index", "search", *typed)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_commands_that_read_work_without_a_place_for_the_index(
    ape_run: ApeRun, registered: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file/index"
    with_index = told(ape_run, "history", "mine")
    done = ape_run("history", "mine", "--index", place, "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, with_index)
    assert "Not a directory" in done.stderr
    assert "reads all events from the node, into memory" in " ".join(done.stderr.split())
    refused = ape_run("index", "status", "--index", place)
    assert refused.returncode == 2
    assert "cannot be used: Not a directory" in refused.stderr


def test_fsck_ends_with_0_where_all_agrees_and_with_1_where_something_does_not(
    ape_run: ApeRun, registered: dict[str, Any], environment: dict[str, str], tmp_path: Path
) -> None:
    told(ape_run, "index", "status")
    assert told(ape_run, "fsck") == {"disagreements": []}
    (file,) = Path(environment["MODELPROOF_INDEX"]).glob("*.sqlite")
    with sqlite3.connect(file) as database:
        database.execute("UPDATE versions SET parent = 7")
    found = told(ape_run, "fsck", exit_code=1)
    (one,) = found["disagreements"]
    assert (one["place"], one["what"]) == ("index", "wrong row")
    shown = ape_run("fsck")
    assert "1 disagreement: wrong row in the index, versions:" in shown.stderr
    assert one["which"] in shown.stdout
    told(ape_run, "index", "rebuild")
    assert told(ape_run, "fsck") == {"disagreements": []}
