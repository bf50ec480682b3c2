"""Stored versions from registration on: encrypted, named on chain, fetched, looked after."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ape
import pytest
import torch

from ml.artifact import read_manifest
from ml.storage import key_files
from ml.storage.cid import Cid
from ml.storage.encrypted import put_encrypted
from ml.storage.keys import MasterKey, PrivateKey
from ml.storage.local_store import LocalStore
from ml.storage.sidecar import Payload
from tests.artifact.builders import SMALL, file_bytes, write
from tests.artifact.test_sharded import write_model
from tests.storage.versions import base, changed
from tools.warm_ape import WarmApe

from .shell import ApeRun, shell

pytestmark = pytest.mark.slow

MASTER = MasterKey.generate()
NOBODY_NEEDS = b"the weights of a model that was never registered"


@pytest.fixture(scope="module")
def run(warm_ape: WarmApe, environment: dict[str, str]) -> ApeRun:
    """``ape run`` with the master key in the environment, on a chain with the contracts."""
    ours = {"ENCRYPTION_KEY": MASTER.to_base64()}
    run = shell(warm_ape, {**environment, **ours})
    assert run("deploy").returncode == 0
    return run


def told(run: ApeRun, *command: str | Path, exit_code: int = 0, **variables: str) -> Any:
    done = run(*command, "--json", variables=variables)
    assert done.returncode == exit_code, done.stderr
    return json.loads(done.stdout)


def refused(run: ApeRun, *command: str | Path, exit_code: int = 2, **variables: str) -> str:
    done = run(*command, variables=variables)
    assert done.returncode == exit_code, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "Error: " in line]
    return line


@dataclass
class Kept:
    """A model of two versions in two stores: a whole file, and a delta to it."""

    files: list[Path]
    stores: tuple[LocalStore, LocalStore]
    objects: list[Cid]
    by_option: tuple[str | Path, ...]

    def restored(self, folder: Path) -> Kept:
        """The same stores, copied, to be damaged."""
        one, two = (
            LocalStore(shutil.copytree(store.root, folder / store.root.name))
            for store in self.stores
        )
        return Kept(self.files, (one, two), self.objects, by_option(one, two))


def by_option(*stores: LocalStore) -> tuple[str | Path, ...]:
    return tuple(each for store in stores for each in ("--store", store.root))


@pytest.fixture(scope="module")
def original(run: ApeRun, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("original")
    stores = LocalStore(folder / "one"), LocalStore(folder / "two")
    kept = Kept([], stores, [], by_option(*stores))
    (metrics := folder / "metrics.json").write_text('{"accuracy_ppm": 900000}')
    create = ("--test-set", "iris", "--policy", "unlimited")
    for number, (model, more) in enumerate(((base(), create), (changed(base()), ())), 1):
        file = write(folder, file_bytes(model), f"v{number}.safetensors")
        register = ("register", file, "--model", "kept", *more, *kept.by_option)
        cid = Cid.parse(told(run, *register, "--artifacts", folder / "artifacts")["object"])
        kept.files.append(file)
        kept.objects.append(cid)
        if number == 1:
            told(run, "validate", "kept", "--metrics", metrics)
    return kept


@pytest.fixture
def kept(original: Kept, tmp_path: Path) -> Kept:
    return original.restored(tmp_path)


# --- Fetching -------------------------------------------------------------------------------------


def test_version_is_fetched_on_another_machine_and_verifies(
    run: ApeRun, kept: Kept, tmp_path: Path
) -> None:
    elsewhere = ("--artifacts", tmp_path / "elsewhere")
    fetched = told(run, "fetch", "kept", "2", *kept.by_option, *elsewhere)
    assert Path(fetched["file"]).read_bytes() == kept.files[1].read_bytes()
    verified = told(run, "verify", fetched["file"], "--model", "kept", "--require", "any")
    assert verified["version"] == fetched["version"] == 2


def test_current_version_is_fetched_to_where_it_is_wanted(
    run: ApeRun, kept: Kept, tmp_path: Path
) -> None:
    """With the places in the environment, where all commands find them."""
    places = " ".join(str(store.root) for store in kept.stores)
    output = tmp_path / "current.safetensors"
    assert told(run, "fetch", "kept", "--output", output, MODELPROOF_STORE=places)["version"] == 1
    assert output.read_bytes() == kept.files[0].read_bytes()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


Damage = Callable[[LocalStore, Cid], None]


def damage(store: LocalStore, cid: Cid) -> None:
    flip(store.root / str(cid))


@pytest.mark.parametrize(
    ("what", "number", "exit_code", "says"),
    [
        (LocalStore.delete, 2, 2, "cannot read {1}: {one}: there is no object {1}"),
        (damage, 2, 1, "cannot read {1} in 1 of 2 stores: {one}: what is stored as {1} is damaged"),
        (LocalStore.delete, 1, 2, "v2 of kept is kept as a delta, and what it builds on cannot be"),
        (damage, 1, 1, "v2 of kept is kept as a delta, and what it builds on cannot be had"),
    ],
)
def test_what_cannot_be_fetched_is_told_apart(
    run: ApeRun, kept: Kept, tmp_path: Path, what: Damage, number: int, exit_code: int, says: str
) -> None:
    for store in kept.stores:
        what(store, kept.objects[number - 1])
    output = tmp_path / "output.safetensors"
    said = refused(
        run,
        *("fetch", "kept", "2", "--output", output, *kept.by_option),
        exit_code=exit_code,
        MODELPROOF_CACHE=str(tmp_path / "cache"),
    )
    assert says.format(*kept.objects, one=kept.stores[0]) in said
    assert not output.exists()


def test_keys_that_open_nothing_are_told_apart(run: ApeRun, kept: Kept, tmp_path: Path) -> None:
    auditor = tmp_path / "auditor.pem"
    key_files.write_key_pair(auditor, PrivateKey.generate())
    fetch = ("fetch", "kept", "1", "--artifacts", tmp_path / "elsewhere", *kept.by_option)
    for keys, says in (
        ({"ENCRYPTION_KEY": MasterKey.generate().to_base64()}, "does not open"),
        ({"ENCRYPTION_KEY": "", "ENCRYPTION_KEY_FILE": str(auditor)}, "and not for X25519 key"),
    ):
        assert says in refused(run, *fetch, MODELPROOF_CACHE=str(tmp_path / "cache"), **keys)
    assert not (tmp_path / "elsewhere").exists()


def test_auditor_who_is_added_in_all_folders_at_once_can_fetch(
    run: ApeRun, kept: Kept, tmp_path: Path
) -> None:
    auditor = tmp_path / "auditor.pem"
    public = key_files.write_key_pair(auditor, PrivateKey.generate())
    added = told(run, "keys", "add", public, "--all", *kept.by_option)
    assert [each["outcome"] for each in added] == ["changed"] * 4
    fetch = ("fetch", "kept", "2", "--artifacts", tmp_path / "theirs", *by_option(kept.stores[1]))
    theirs = {"ENCRYPTION_KEY": "", "ENCRYPTION_KEY_FILE": str(auditor)}
    told(run, *fetch, MODELPROOF_CACHE=str(tmp_path / "cache"), **theirs)


# --- Looking after --------------------------------------------------------------------------------


def test_versions_show_what_they_build_on(run: ApeRun, kept: Kept) -> None:
    shown = told(run, "store", "stats", "--model", "kept", *kept.by_option)
    assert [each["formats"] for each in shown["stores"]] == [
        {"safetensors": 1, "modelproof-delta-v1": 1}
    ] * 2
    assert [each["builds_on"] for each in shown["versions"]] == [[], ["v1 of kept"]]


def test_lost_object_is_told_with_all_versions_that_need_it_and_repaired(
    run: ApeRun, kept: Kept
) -> None:
    one, two = kept.stores
    two.delete(kept.objects[0])
    flip(one.root / f"{kept.objects[1]}.json")
    verify = ("store", "verify", "--model", "kept", *kept.by_option)
    found = told(run, *verify, exit_code=1)["findings"]
    assert {(each["condition"], *each["needed_by"]) for each in found} == {
        ("lost", "v1 of kept", "v2 of kept"),
        ("damaged", "v2 of kept"),
    }
    mended = told(run, "store", "repair", *kept.by_option)["findings"]
    assert [each["condition"] for each in mended] == ["repaired", "repaired"]


def test_place_that_does_not_answer_is_unknown_and_the_others_are_looked_after(
    run: ApeRun, kept: Kept, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    one, broken = kept.stores[0], LocalStore(tmp_path / "file" / "objects")
    one.delete(kept.objects[0])
    repair = ("store", "repair", *by_option(broken), *kept.by_option)
    found = told(run, *repair, exit_code=1)["findings"]
    assert {(each["cid"], each["condition"]) for each in found} == {
        (None, "unknown"),
        *((str(cid), "unknown") for cid in kept.objects),
        (str(kept.objects[0]), "repaired"),
    }
    only_broken = ("store", "verify", "--store", broken.root)
    assert f"what {broken.root} has is unknown" in refused(run, *only_broken, exit_code=1)


def test_what_a_version_names_or_builds_on_is_never_collected(run: ApeRun, kept: Kept) -> None:
    one, two = kept.stores
    garbage = put_encrypted(two, two.sidecars, [NOBODY_NEEDS], [MASTER], Payload("pt")).stored.cid
    now = (*kept.by_option, "--older-than", "0")
    rule = ("--retention", "drop:0")
    assert told(run, "store", "gc", *now, *rule) == {"garbage": [str(garbage)], "deleted": False}
    assert two.has(garbage)
    told(run, "store", "gc", *now, "--delete")
    assert set(one.names()) == set(two.names()) == set(kept.objects)


def test_object_that_left_no_trace_is_missed(run: ApeRun, kept: Kept) -> None:
    one = kept.stores[0]
    one.delete(kept.objects[1])
    one.sidecars.delete(kept.objects[1])
    verify = ("store", "verify", "--model", "kept", "--store", one.root)
    found = told(run, *verify, exit_code=1)["findings"]
    assert {(each["condition"], *each["needed_by"]) for each in found} == {("lost", "v2 of kept")}


# --- Training -------------------------------------------------------------------------------------


def test_trained_version_is_validated_used_and_continued_where_only_the_stores_are(
    run: ApeRun, tmp_path: Path
) -> None:
    one, two = LocalStore(tmp_path / "one"), LocalStore(tmp_path / "two")
    train = ("train", "iris", "--architecture", "sklearn", *by_option(one, two))

    def on(machine: str) -> tuple[str, Path]:
        return "--artifacts", tmp_path / machine

    nobody_here = ("--validator", ape.accounts.test_accounts[2].address)
    trained = told(run, *train, *on("the trainer's"), *nobody_here)
    assert trained["status"] == "PENDING"
    model = trained["name"]
    validated = told(run, "validate", model, *on("the validator's"), *by_option(one))
    assert validated["status"] == "PASSED"
    served = told(run, "predict", model, "--sample", "3", *on("the server's"), *by_option(two))
    assert served["weights"] == trained["weights"]
    again = told(run, *train, *on("another trainer's"))
    assert (again["version"], again["parent"]) == (2, 1)
    collect = ("store", "gc", *by_option(one, two), "--older-than", "0")
    assert told(run, *collect)["garbage"] == []


def test_folder_is_registered_stored_and_fetched_with_all_that_is_in_it(
    run: ApeRun, kept: Kept, tmp_path: Path
) -> None:
    (folder := tmp_path / "folder").mkdir()
    write_model(folder)
    write(folder, b"{}", "config.json")
    one = ("--store", kept.stores[0].root)
    files = ("--artifacts", tmp_path / "artifacts")
    done = told(run, "register", folder, "--model", "folder", "--test-set", "iris", *one, *files)
    archive = Path(done["file"])
    assert archive.suffix == ".tar"
    weights = f"0x{read_manifest(folder).weights.hex()}"
    any_version = ("--model", "folder", "--require", "any", *files)
    for path in (folder, archive):
        assert told(run, "verify", path, *any_version)["weights"] == done["weights"] == weights
    backups = ("--backups", tmp_path / "backups")
    told(run, "backup", "folder", *files, *backups)
    original = archive.read_bytes()
    archive.unlink()
    told(run, "restore", "folder", *files, *backups)
    assert archive.read_bytes() == original
    elsewhere = ("--artifacts", tmp_path / "elsewhere")
    fetched = Path(told(run, "fetch", "folder", "1", *one, *elsewhere)["file"])
    assert fetched.read_bytes() == original
    write(folder, b"[]", "config.json")
    assert told(run, "verify", folder, *any_version, exit_code=1)["differences"] == [
        "file 'config.json' changed"
    ]


def test_entry_of_a_checkpoint_is_registered_stored_and_fetched(
    run: ApeRun, kept: Kept, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    torch.save({name: {"w": torch.ones(3)} for name in ("model", "average")}, checkpoint)
    register = ("register", checkpoint, "--model", "entry", "--test-set", "iris")
    where = ("--store", kept.stores[0].root, "--artifacts", tmp_path / "artifacts")
    assert "has the state dicts 'average', 'model'" in refused(run, *register, *where)
    done = told(run, *register, "--key", "average", *where)
    assert done["weights"] == f"0x{read_manifest(checkpoint, key='average').weights.hex()}"
    verify = ("verify", checkpoint, "--key", "average", "--model", "entry", "--require", "any")
    assert told(run, *verify)["weights"] == done["weights"]
    fetch = ("fetch", "entry", "1", *where[:2], "--artifacts", tmp_path / "elsewhere")
    assert Path(told(run, *fetch)["file"]).read_bytes() == Path(done["file"]).read_bytes()


# --- What is refused ------------------------------------------------------------------------------


def test_nothing_is_registered_that_is_not_stored(run: ApeRun, tmp_path: Path) -> None:
    file = write(tmp_path, file_bytes(SMALL))
    good, full = LocalStore(tmp_path / "objects"), LocalStore(tmp_path / "full")
    full.root.mkdir()
    (in_the_way := full.root / ".partial").write_text("in the way")  # it answers, and takes nothing
    register = ("register", file, "--model", "refused", "--test-set", "iris")
    artifacts = ("--artifacts", tmp_path / "artifacts")
    broken = LocalStore(in_the_way / "objects")
    one = by_option(good)
    for more, variables, says in (
        (one, {"ENCRYPTION_KEY": ""}, "there is no key to encrypt for"),
        ((*one, "--replicas", "2"), {}, "2 replicas are asked for, and there are 1 stores"),
        (one, {"MODELPROOF_CACHE_BYTES": "much"}, "MODELPROOF_CACHE_BYTES is a number of"),
        (by_option(good, broken), {}, "cannot find an answer in 2 of 2 stores"),
        (by_option(good, full), {}, "cannot store"),
    ):
        assert says in refused(run, *register, *artifacts, *more, **variables)
    assert told(run, "store", "stats", "--model", "refused", *one)["versions"] == []


def test_version_that_was_registered_without_a_store_is_said_to_be(
    run: ApeRun, tmp_path: Path
) -> None:
    file, artifacts = write(tmp_path, file_bytes(SMALL)), ("--artifacts", tmp_path / "artifacts")
    told(run, "register", file, "--model", "unstored", "--test-set", "iris", *artifacts)
    shutil.rmtree(tmp_path / "artifacts")
    fetch = ("fetch", "unstored", "1", "--store", tmp_path / "objects", *artifacts)
    assert "v1 of unstored was registered without an object" in refused(run, *fetch)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("verify", "--store", "ipfs:http://127.0.0.1:1"), "keeps no sidecars"),
        (("gc", "--store", "objects", "--retention", "some"), "updates are kept by keep"),
        (("gc", "--store", "objects", "--older-than", "nan"), "older than nan days cannot be told"),
    ],
)
def test_store_commands_refuse_what_they_cannot_do(
    run: ApeRun, command: tuple[str, ...], says: str
) -> None:
    assert says in refused(run, "store", *command)
