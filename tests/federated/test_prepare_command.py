"""`ape run prepare`: a data set divided as a user asks for it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ml.federated import prepared
from ml.federated.configuration import Preparation
from ml.federated.splits import AnySplit, ByClass, Dirichlet, Iid, Quantity, Shards
from scripts.prepare import cli
from tests.e2e.shell import APE, ROOT, TIMEOUT_S

OPTIONS = (
    *("--num-clients", "3", "--seed", "4", "--split-type", "dirichlet"),
    *("--concentration", "2", "--min-samples", "5", "--json"),
)


def prepare(*arguments: str | Path) -> Result:
    """The command in this process, which has loaded all that it needs."""
    return CliRunner(mix_stderr=False).invoke(cli, [*map(str, arguments)])


def test_data_set_is_divided_as_asked(tmp_path: Path) -> None:
    """As a user types it."""
    folder = tmp_path / "iris"
    done = subprocess.run(
        [APE, "run", "prepare", "iris", *OPTIONS, "--output-dir", folder],
        cwd=ROOT,
        env={**os.environ, "APE_DATA_FOLDER": str(tmp_path), "SOURCE_DATE_EPOCH": "1769860800"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    metadata = prepared.check_files(folder)
    assert metadata.preparation.split == Dirichlet(2.0, 5)
    assert (metadata.num_clients, metadata.split_seed) == (3, 4)
    assert metadata.created_at == "2026-01-31T12:00:00Z"
    *clients, validation, holdout = json.loads(done.stdout)["parts"]
    assert (validation["samples"], holdout["samples"]) == (15, 15)
    for client, told in enumerate(clients):
        data = prepared.read_client(folder / f"config/client_{client}_config.json")
        assert told["samples"] == len(data.part)
        assert told["root"] == "0x" + data.part.root.hex()


def test_same_options_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1769860800")
    first, again = tmp_path / "first", tmp_path / "again"
    for folder in (first, again):
        assert prepare("iris", *OPTIONS, "--output-dir", folder).exit_code == 0
    paths = sorted(path.relative_to(first) for path in first.rglob("*.*"))
    assert len(paths) == 10
    for path in paths:
        assert (first / path).read_bytes() == (again / path).read_bytes()


@pytest.mark.parametrize(
    ("split", "options", "expected"),
    [
        ("iid", (), Iid()),
        ("non_iid", (), ByClass()),
        ("class", ("--share", "0.75"), ByClass(0.75)),
        ("shard", ("--shards", "3"), Shards(3)),
        ("quantity", ("--concentration", "3"), Quantity(3.0)),
        ("dirichlet", (), Dirichlet()),
    ],
)
def test_split_is_the_one_named(
    tmp_path: Path, split: str, options: tuple[str, ...], expected: AnySplit
) -> None:
    folder = tmp_path / "iris"
    done = prepare("iris", "--split-type", split, *options, "--output-dir", folder)
    assert done.exit_code == 0, done.stderr
    assert prepared.read_metadata(folder).preparation == Preparation(2, expected)


def test_holdout_is_taken_from_where_it_is_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "iris"
    prepare("iris", "--holdout", "20", "--holdout-from", "train", "--output-dir", folder)
    service = prepared.read_service(folder / "config/main_service_config.json")
    assert (service.test_dataset_size, service.holdout_size) == (30, 20)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--num-clients", "121"), "120 samples do not go round 121 clients"),
        (("--shards", "3"), "--split-type iid has no --shards"),
        (("--split-type", "shard", "--min-samples", "3"), "shard has no --min-samples"),
        (("--split-type", "class", "--share", "0"), "above 0 and at most 1, not 0.0"),
        (("--holdout", "30"), "a holdout has from 1 to 29 of the 30 samples"),
        (("--seed", str(1 << 63)), "a seed is from 0 to 2**63 - 1"),
        (("--data", "somewhere"), "'iris' comes with scikit-learn, so it takes no folder"),
    ],
)
def test_what_cannot_be_prepared_is_refused_in_one_sentence(
    tmp_path: Path, options: tuple[str, ...], sentence: str
) -> None:
    refused = prepare("iris", *options, "--output-dir", tmp_path / "new")
    assert refused.exit_code == 2
    assert sentence in refused.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    refused = prepare("iris", "--output-dir", tmp_path)
    assert refused.exit_code == 2
    assert "is there already, and nothing in it is overwritten" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_time_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "noon")
    refused = prepare("iris", "--output-dir", tmp_path / "new")
    assert refused.exit_code == 2
    assert "SOURCE_DATE_EPOCH is 'noon'" in refused.stderr
