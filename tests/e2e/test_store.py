"""Stored objects from registration on: encrypted, named on chain, looked after."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml.storage.encrypted import open_decrypted, put_encrypted
from ml.storage.keys import MasterKey
from ml.storage.local_store import LocalStore
from ml.storage.sidecar import Payload
from tests.artifact.builders import SMALL, file_bytes, write

from .shell import ApeRun, shell

MASTER = MasterKey.generate()
NOBODY_NEEDS = b"the weights of a model that was never registered"


@pytest.fixture(scope="module")
def run(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApeRun]:
    """``ape run`` with the master key in the environment."""
    ours = {"ENCRYPTION_KEY": MASTER.to_base64()}
    with shell({**environment, **ours}, tmp_path_factory.mktemp("output")) as run:
        yield run


def told(run: ApeRun, *command: str | Path, exit_code: int = 0) -> Any:
    done = run(*command, "--json")
    assert done.returncode == exit_code, done.stderr
    return json.loads(done.stdout)


def test_registered_model_is_stored_repaired_and_never_collected(
    run: ApeRun, tmp_path: Path
) -> None:
    one, two = LocalStore(tmp_path / "one"), LocalStore(tmp_path / "two")
    both = ("--store", one.root, "--store", two.root)
    file = write(tmp_path, file_bytes(SMALL))
    assert run("deploy").returncode == 0
    registered = told(
        run,
        *("register", file, "--model", "stored", "--test-set", "iris"),
        *("--policy", "unlimited", "--artifacts", tmp_path / "artifacts", *both),
    )
    (cid,) = one.names()
    assert registered["object"] == str(cid)
    with open_decrypted(two, two.sidecars, cid, [MASTER]) as pieces:
        assert b"".join(map(bytes, pieces)) == file.read_bytes()

    two.delete(cid)
    (one.root / f"{cid}.json").write_text("damaged")
    found = told(run, "store", "verify", "--model", "stored", *both, exit_code=1)["findings"]
    assert [each["condition"] for each in found] == ["lost", "damaged"]
    mended = told(run, "store", "repair", *both)["findings"]
    assert [each["condition"] for each in mended] == ["repaired", "repaired"]

    garbage = put_encrypted(two, two.sidecars, [NOBODY_NEEDS], [MASTER], Payload("pt")).stored.cid
    now = (*both, "--older-than", "0")
    assert told(run, "store", "gc", *now) == {"garbage": [str(garbage)], "deleted": False}
    assert two.has(garbage)
    assert told(run, "store", "gc", *now, "--delete") == {
        "garbage": [str(garbage)],
        "deleted": True,
    }
    assert list(one.names()) == list(two.names()) == [cid]
    counted = told(run, "store", "stats", *both)
    assert [each["formats"] for each in counted] == [{"safetensors": 1}] * 2

    one.delete(cid)  # what the chain names is missed though no trace of it is left
    one.sidecars.delete(cid)
    lost = told(run, "store", "verify", "--model", "stored", "--store", one.root, exit_code=1)[
        "findings"
    ]
    assert {each["condition"] for each in lost} == {"lost"}


def test_store_commands_refuse_what_they_cannot_do(run: ApeRun, tmp_path: Path) -> None:
    for command, said in (
        (("verify", "--store", "ipfs:http://127.0.0.1:1"), "keeps no sidecars"),
        (("gc", "--store", tmp_path, "--retention", "some"), "updates are kept by keep"),
    ):
        done = run("store", *command)
        assert done.returncode == 2
        assert said in done.stderr
        assert len([line for line in done.stderr.splitlines() if "Error: " in line]) == 1
