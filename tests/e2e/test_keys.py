"""`ape run keys`: who can read stored objects, as a user changes it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ml.storage import key_files
from ml.storage.encrypted import open_decrypted, put_encrypted
from ml.storage.errors import MissingRecipient
from ml.storage.keys import Key, MasterKey, PrivateKey
from ml.storage.local_store import LocalStore
from ml.storage.sidecar import Payload
from tools.warm_ape import WarmApe

from .shell import ApeRun, shell

PLAINTEXT = b"the weights of a model"
MASTER = MasterKey.generate()


@pytest.fixture(scope="module")
def run(warm_ape: WarmApe, tmp_path_factory: pytest.TempPathFactory) -> ApeRun:
    """``ape run`` with the master key in the environment, and no node."""
    ours = {
        "ENCRYPTION_KEY": MASTER.to_base64(),
        "APE_DATA_FOLDER": str(tmp_path_factory.mktemp("ape")),
    }
    return shell(warm_ape, {**os.environ, **ours})


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A store with two objects for the master key."""
    store = LocalStore(tmp_path / "objects")
    for _ in range(2):
        put_encrypted(store, store.sidecars, [PLAINTEXT], [MASTER], Payload("pt"))
    return store


def told(run: ApeRun, *command: str | Path) -> Any:
    done = run("keys", *command, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(run: ApeRun, *command: str | Path, exit_code: int = 2) -> str:
    done = run("keys", *command)
    assert done.returncode == exit_code, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, done.stderr
    return lines[0].removeprefix("Error: ")


def outcomes(objects: list[dict[str, str]]) -> list[str]:
    return [one["outcome"] for one in objects]


def reads(store: LocalStore, key: Key) -> bool:
    for cid in store.names():
        with open_decrypted(store, store.sidecars, cid, [key]) as pieces:
            assert b"".join(map(bytes, pieces)) == PLAINTEXT
    return True


def test_auditor_is_let_in_and_out_again(run: ApeRun, store: LocalStore, tmp_path: Path) -> None:
    objects = {str(cid): (store.root / str(cid)).read_bytes() for cid in store.names()}
    made = told(run, "generate", tmp_path / "auditor.pem")
    assert stat.S_IMODE((tmp_path / "auditor.pem").stat().st_mode) == 0o600
    auditor = key_files.read_key(tmp_path / "auditor.pem")

    everything = ("--all", "--store", store.root)
    assert outcomes(told(run, "add", made["public"], *everything)) == ["changed"] * 2
    assert reads(store, auditor)
    cid = min(objects)
    shown = told(run, "show", cid, "--store", store.root)
    assert [each["key_id"] for each in shown["recipients"]] == [
        f"0x{MASTER.key_id.hex()}",
        made["key_id"],
    ]

    assert outcomes(told(run, "remove", made["key_id"], *everything)) == ["changed"] * 2
    with pytest.raises(MissingRecipient):
        reads(store, auditor)
    assert reads(store, MASTER)
    assert {name: (store.root / name).read_bytes() for name in objects} == objects


def test_master_key_is_rotated(run: ApeRun, store: LocalStore, tmp_path: Path) -> None:
    new = tmp_path / "new.key"
    key_files.write_master_key(new, MasterKey.generate())
    first = min(map(str, store.names()))
    in_store = ("--store", store.root)
    assert outcomes(told(run, "rotate", new, first, *in_store)) == ["changed"]
    # interrupted here, and run again
    assert outcomes(told(run, "rotate", new, "--all", *in_store)) == ["as it was", "changed"]
    assert reads(store, key_files.read_key(new))


def test_wrong_key_changes_nothing_and_is_named(
    run: ApeRun, store: LocalStore, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in store.root.iterdir() if path.is_file()}
    other = tmp_path / "other.key"
    key_files.write_master_key(other, MasterKey.generate())
    new = key_files.write_key_pair(tmp_path / "auditor.pem", PrivateKey.generate())
    sentence = refused(run, "add", new, "--all", "--store", store.root, "--key", other)
    assert sentence.startswith("2 of 2 sidecars stay as they were: master key ")
    assert sentence.endswith(f"it was encrypted for {MASTER.description}")
    assert {path: path.read_bytes() for path in before} == before


def test_damaged_sidecar_is_not_verified(run: ApeRun, store: LocalStore, tmp_path: Path) -> None:
    new = key_files.write_key_pair(tmp_path / "auditor.pem", PrivateKey.generate())
    damaged = next(path for path in store.root.iterdir() if path.suffix == ".json")
    damaged.write_bytes(damaged.read_bytes().replace(b'"pt"', b'"qt"'))
    sentence = refused(run, "add", new, "--all", "--store", store.root, exit_code=1)
    assert sentence.startswith(
        f"1 of 2 sidecars stay as they were: the sidecar of {damaged.stem} is"
    )


def test_made_master_key_is_shown_without_its_secret(run: ApeRun, tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    done = run("keys", "generate", path, "--master")
    key = key_files.read_key(path)
    assert done.stdout == f"{path}: {key.description}. ENCRYPTION_KEY can be what it holds.\n"
    assert path.read_text().strip() not in done.stdout + done.stderr
    assert run("keys", "show").stdout == f"{MASTER.description}\n"


def test_wrong_input_is_refused_with_one_sentence(
    run: ApeRun, store: LocalStore, tmp_path: Path
) -> None:
    in_store, somebody = ("--store", store.root), MASTER.key_id.hex()
    existing = tmp_path / "existing"
    existing.write_text("precious")
    cid = str(next(store.names()))
    for command, sentence in (
        (("generate", existing), f"'{existing}' exists already"),
        (("remove", somebody, *in_store), "name the objects by their CIDs, or say --all."),
        (("remove", somebody, "--all", "--store", tmp_path / "empty"), "has a sidecar: name"),
        (("remove", somebody, cid, *in_store), "would have no recipient"),
        (("add", existing, cid, *in_store), "others than its owner may read"),
        (("rotate", "passphrase", cid, *in_store), "no passphrase was entered"),
    ):
        assert sentence in refused(run, *command)
    assert existing.read_text() == "precious"
    assert reads(store, MASTER)
