"""`ape run prepare`: a data set divided as a user asks for it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.federated import prepared
from ml.federated.splits import Dirichlet
from tests.e2e.shell import ApeRun, shell


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApeRun]:
    ours = {
        "APE_DATA_FOLDER": str(tmp_path_factory.mktemp("ape")),
        "SOURCE_DATE_EPOCH": "1769860800",
    }
    with shell({**os.environ, **ours}) as run:
        yield run


OPTIONS = ("--num-clients", "3", "--split-type", "dirichlet", "--concentration", "2", "--seed", "4")


def test_data_set_is_divided_as_asked_and_the_same_options_give_the_same_bytes(
    run: ApeRun, tmp_path: Path
) -> None:
    first, again = (
        run("prepare", "iris", *OPTIONS, "--min-samples", "5", "--output-dir", folder, "--json")
        for folder in (tmp_path / "first", tmp_path / "again")
    )
    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr

    metadata = prepared.check_files(tmp_path / "first")
    assert metadata.preparation.split == Dirichlet(2.0, 5)
    assert (metadata.num_clients, metadata.split_seed) == (3, 4)
    assert metadata.created_at == "2026-01-31T12:00:00Z"
    assert prepared.check_files(tmp_path / "again") == metadata

    *clients, validation, holdout = json.loads(first.stdout)["parts"]
    assert (validation["samples"], holdout["samples"]) == (15, 15)
    for client, told in enumerate(clients):
        data = prepared.read_client(tmp_path / f"first/config/client_{client}_config.json")
        assert told["samples"] == len(data.part)
        assert told["root"] == "0x" + data.part.root.hex()


def test_what_cannot_be_prepared_is_refused_in_one_sentence(run: ApeRun, tmp_path: Path) -> None:
    refused = run("prepare", "iris", "--num-clients", "121", "--output-dir", tmp_path / "new")
    assert refused.returncode == 2
    assert refused.stderr == (
        "Error: 120 samples do not go round 121 clients: ask for fewer clients\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_parameter_of_another_split_is_refused(run: ApeRun) -> None:
    refused = run("prepare", "iris", "--shards", "3")
    assert refused.returncode == 2
    assert refused.stderr.endswith("Error: --split-type iid has no --shards\n")
