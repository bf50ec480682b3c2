"""`backup` and `restore` as programs see them: one JSON document, whatever became of the files."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import ape
import pytest
from rich.console import Console

from ml.artifact import read_manifest
from ml.chain.anvil import AnvilNode
from ml.chain.policy import PRESETS
from ml.chain.records import Details
from ml.chain.session import connect
from ml.storage.model_files import ModelFiles, StoredVersion
from scripts._cli import Ui, failing_clearly
from scripts._copies import copy

from .conftest import flip_last_bit


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A node of the test's own, which keeps its deployments in the test's folder."""
    monkeypatch.setattr(ape.config, "DATA_FOLDER", tmp_path / "ape")
    monkeypatch.setenv("MODELPROOF_DEPLOYMENTS", str(tmp_path / "deployments"))
    monkeypatch.setenv("MODELPROOF_INDEX", str(tmp_path / "index"))
    monkeypatch.setenv("MODELPROOF_OUTBOX", str(tmp_path / "outbox"))
    with AnvilNode() as node:
        yield f"ethereum:dev:{node.url}"


@pytest.fixture
def stored(network: str, kept: ModelFiles, source: Path) -> StoredVersion:
    """The files of version 1 of the model m, which is on the chain."""
    manifest = read_manifest(source)
    with connect(network) as session:
        owner = ape.accounts.test_accounts[0]
        registry, _ = session.deploy(owner)
        model, _ = registry.create_model(
            "m", bytes(31) + b"1", PRESETS["unlimited"], sender=owner, trainer=owner.address
        )
        registry.register(model, 1, manifest.weights, Details(0, 1, 0), "{}", sender=owner)
    return kept.keep("m", 1, source, manifest)


def printed(ui: Ui, source: ModelFiles, target: ModelFiles) -> int:
    """Run the command and return its exit code."""
    try:
        with failing_clearly(ui):
            copy(ui, "m", None, source, target)
    except SystemExit as ended:
        return int(str(ended.code))
    return 0


def test_json_of_copies_is_one_document_also_where_a_file_is_damaged(
    network: str, kept: ModelFiles, stored: StoredVersion, tmp_path: Path
) -> None:
    out = io.StringIO()
    ui = Ui(network, None, as_json=True, full=False, verbose=False, out=Console(file=out))
    backups = ModelFiles(tmp_path / "backups")
    assert printed(ui, kept, backups) == 0
    (copied,) = json.loads(out.getvalue())
    assert (copied["version"], copied["outcome"]) == (1, "copied")

    out.truncate(out.seek(0))
    flip_last_bit(stored.artifact)
    assert printed(ui, kept, ModelFiles(tmp_path / "others")) == 1
    document = json.loads(out.getvalue())
    assert document["exit_code"] == 1
    assert "v1 is damaged" in document["error"]
    assert document["versions"] == [
        {"version": 1, "outcome": "damaged", "file": str(stored.artifact)}
    ]
