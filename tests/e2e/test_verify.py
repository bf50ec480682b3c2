"""`verify`, as it is typed: whose word counts, and what it tells a program."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import ape
import pytest

from ml.artifact import read_manifest
from ml.artifact.tampering import tamper
from ml.chain.anvil import AnvilNode
from ml.chain.commitment import details_hash
from ml.chain.models import NamedModel
from ml.chain.policy import PRESETS
from ml.chain.records import Details, Evaluation
from ml.chain.registry import ModelRegistry
from ml.chain.session import connect
from ml.storage.model_files import ModelFiles
from tests.artifact.builders import SMALL, file_bytes, write
from tests.chain.places import kept_apart, network_at

from .shell import ApeRun

TEST_SET = b"test set".ljust(32, b"!")
OURS, STRANGERS = "ours", "strangers"

Verify: TypeAlias = Callable[..., Any]


def publish(registry: ModelRegistry, model: NamedModel, path: Path) -> None:
    """Register and validate a file in the name of the model's creator."""
    sender = ape.accounts.test_accounts[model.creator]
    weights = read_manifest(path).weights
    state = registry.model(model.id).state
    number = state.latest + 1
    details = Details(state.current, state.iteration + 1, state.epoch)
    registry.register(model.id, number, weights, details, "{}", sender=sender)
    hashed = details_hash(model.id, number, sender.address, details, "{}")
    evaluation = Evaluation(number, 900_000 + number, 0, True, TEST_SET, weights, hashed)
    registry.validate(model.id, evaluation, "{}", sender=sender)


@pytest.fixture(scope="module")
def place(node: AnvilNode, home: Path) -> dict[str, Path]:
    """Files of our model; "revoked" is a stranger's best too, and "twice" was revoked once."""
    files = {
        name: write(
            home,
            file_bytes({**SMALL, "steps": ("I64", [], bytes([number, *bytes(7)]))}),
            f"{name}.safetensors",
        )
        for number, name in enumerate(["revoked", "twice", "good"])
    }
    with kept_apart(home), connect(network_at(node)) as session:
        us, stranger = ape.accounts.test_accounts[:2]
        registry, _ = session.deploy(us)
        models = {}
        for name, creator in ((OURS, us), (STRANGERS, stranger)):
            roles = dict.fromkeys(("trainer", "validator", "operator"), creator.address)
            model, _ = registry.create_model(
                name, TEST_SET, PRESETS["unlimited"], sender=creator, **roles
            )
            models[name] = NamedModel(model, name, creator.address)
        for name in ("revoked", "twice", "twice", "good"):
            publish(registry, models[OURS], files[name])
        for version in (1, 2):
            registry.revoke(models[OURS].id, version, "backdoor", sender=us)
        publish(registry, models[STRANGERS], files["revoked"])
    manifest = read_manifest(files["good"])
    ModelFiles(home / "artifacts").keep(OURS, 4, files["good"], manifest)
    return files


@pytest.fixture
def verify(place: dict[str, Path], home: Path, ape_run: ApeRun) -> Verify:
    """Run verify --json, check its exit code, and return what it printed."""

    def run(*arguments: str | Path, exit_code: int = 0) -> Any:
        done = ape_run("verify", *arguments, "--artifacts", home / "artifacts", "--json")
        assert done.returncode == exit_code, done.stderr
        return json.loads(done.stdout)

    return run


def test_everybody_whose_word_it_is_is_named(verify: Verify, place: dict[str, Path]) -> None:
    told = verify(place["good"])
    us = ape.accounts.test_accounts[0].address
    assert (told["verified"], told["name"], told["version"]) == (True, OURS, 4)
    assert [told[who] for who in ("creator", "registrar", "validator")] == [us] * 3


def test_strangers_word_for_revoked_weights_is_not_taken(
    verify: Verify, place: dict[str, Path]
) -> None:
    told = verify(place["revoked"], exit_code=1)
    assert "is on record in several models: say which one you trust with --model" in told["error"]
    assert {(match["name"], match["status"]) for match in told["matches"]} == {
        (OURS, "REVOKED"),
        (STRANGERS, "PASSED"),
    }
    assert (
        "v1 passed once and was revoked since"
        in (verify(place["revoked"], "--model", OURS, exit_code=1)["error"])
    )


@pytest.mark.parametrize("model", [(), ("--model", OURS)])
def test_weights_that_were_revoked_once_are_not_verified(
    verify: Verify, place: dict[str, Path], model: tuple[str, ...]
) -> None:
    told = verify(place["twice"], *model, exit_code=1)
    assert "is v3 of ours, but the same weights were revoked there as v2" in told["error"]


def test_weights_that_were_revoked_once_are_verified_where_that_is_wanted(
    verify: Verify, place: dict[str, Path]
) -> None:
    assert verify(place["twice"], "--model", OURS, "--version", "3")["verified"]
    assert verify(place["twice"], "--model", OURS, "--require", "any")["verified"]


def test_copy_under_another_name_is_the_same_model(
    verify: Verify, place: dict[str, Path], tmp_path: Path
) -> None:
    copy = shutil.copyfile(place["good"], tmp_path / "pytorch_model.bin")
    assert verify(copy)["version"] == 4


def test_what_differs_is_told_to_programs(
    verify: Verify, place: dict[str, Path], tmp_path: Path
) -> None:
    tampered = tmp_path / "tampered.safetensors"
    tamper(place["good"], tampered, "fc.bias")
    told = verify(tampered, exit_code=1)
    assert "1 entry differs from v4 of ours (tensor 'fc.bias' changed)" in told["error"]
    assert told["differences"] == ["tensor 'fc.bias' changed"]
    nearest = told["nearest"]
    assert [nearest[key] for key in ("name", "version", "status")] == [OURS, 4, "PASSED"]


def test_file_that_resembles_nothing_is_not_compared(verify: Verify, tmp_path: Path) -> None:
    told = verify(write(tmp_path, b"pickle", "m.joblib"), exit_code=1)
    assert "is not a version of any model here, and resembles none" in told["error"]
    assert (told["nearest"], told["differences"]) == (None, [])


def test_torn_file_is_not_verified(verify: Verify, place: dict[str, Path], tmp_path: Path) -> None:
    torn = write(tmp_path, place["good"].read_bytes()[:-1])
    assert "not a valid safetensors file" in verify(torn, exit_code=1)["error"]


def test_missing_file_cannot_be_checked(verify: Verify, tmp_path: Path) -> None:
    assert "there is no file" in verify(tmp_path / "gone.safetensors", exit_code=2)["error"]


def test_tampered_copy_never_takes_the_place_of_a_file(
    place: dict[str, Path], ape_run: ApeRun, tmp_path: Path
) -> None:
    model = shutil.copyfile(place["good"], tmp_path / "v4-0.safetensors")
    first = ape_run("tamper", model)
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "tampered-v4-0.safetensors").exists()
    again = ape_run("tamper", model)
    assert again.returncode == 2
    assert "tampered-v4-0.safetensors is there already: name another --output." in again.stderr
