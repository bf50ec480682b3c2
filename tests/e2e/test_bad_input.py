"""Wrong input, dead nodes and hostile texts: one sentence, the right exit code, nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import ape
import pytest

from ml.artifact import read_manifest
from ml.artifact.tampering import tamper
from ml.chain import publishing
from ml.chain.anvil import AnvilNode, free_port
from ml.chain.models import NamedModel
from ml.chain.policy import PRESETS
from ml.chain.records import Details
from ml.chain.registry import NO_ACCOUNT
from ml.chain.session import connect
from ml.storage.model_files import ModelFiles
from tests.artifact.builders import SMALL, Tensors, file_bytes, raw_file, write
from tests.artifact.test_sharded import write_model
from tests.chain.lying_node import LyingNode, with_topic
from tests.chain.places import kept_apart, network_at

from .shell import ApeRun

TEST_SET = b"test set".ljust(32, b"!")
NAN: Tensors = {"fc.weight": ("F32", [1], b"\x00\x00\xc0\x7f")}
HOSTILE = "\x1b[2J[red]x[/red]\nVerified."
"""Clears a terminal, is red in rich's markup, and looks like a line of the command's own."""

Refused: TypeAlias = Callable[..., str]


@dataclass(frozen=True)
class Place:
    """A registry with a model m, of which v1 and v2 passed and v3 waits, and their files."""

    home: Path
    node: AnvilNode
    model: NamedModel

    @property
    def files(self) -> tuple[str, Path]:
        return "--artifacts", self.home / "artifacts"

    def file(self, version: int) -> Path:
        return self.home / f"v{version}.safetensors"

    def state(self) -> tuple[dict[Path, bytes], str]:
        """All that a command may have changed: files, and blocks."""
        files = {path: path.read_bytes() for path in self.home.rglob("*") if path.is_file()}
        ours = {path: data for path, data in files.items() if self.home / "ape" not in path.parents}
        return ours, self.node.rpc("eth_blockNumber")


@pytest.fixture(scope="module")
def place(node: AnvilNode, home: Path) -> Place:
    admin, trainer, validator, operator = ape.accounts.test_accounts[:4]
    with kept_apart(home), connect(network_at(node)) as session:
        registry, _ = session.deploy(admin)
        policy = PRESETS["unlimited"]
        roles = {"trainer": trainer, "validator": validator, "operator": operator}
        addresses = {role: account.address for role, account in roles.items()}
        model, _ = registry.create_model("m", TEST_SET, policy, sender=admin, **addresses)
        registry.create_model(HOSTILE, TEST_SET, policy, sender=operator)
        call = bytes(
            registry.contract.createModel.encode_input(
                "name", False, TEST_SET, (bytes(32), 0), astuple(policy), (NO_ACCOUNT,) * 3
            )
        )
        operator.transfer(registry.address, 0, data=call.replace(b"name", b"\xff\xfe\x00\x9b"))
        place = Place(home, node, NamedModel(model, "m", admin.address))
        for version in (1, 2, 3):
            tensors = {**SMALL, "steps": ("I64", [], bytes([version, *bytes(7)]))}
            manifest = read_manifest(write(home, file_bytes(tensors), f"v{version}.safetensors"))
            details = Details(parent=version - 1, iteration=version, epoch=0)
            registry.register(model, version, manifest.weights, details, "{}", sender=trainer)
            ModelFiles(home / "artifacts").keep("m", version, place.file(version), manifest)
            if version < 3:
                waiting = publishing.pending(registry, place.model)
                publishing.validate(registry, waiting, 900_000 + version, 0, "{}", sender=validator)
    return place


@pytest.fixture
def refused(place: Place, ape_run: ApeRun) -> Refused:
    """Run a command that must refuse, check how it does, and return the sentence that it says."""

    def run(*arguments: str | Path, exit_code: int = 2, **variables: str) -> str:
        before = place.state()
        done = ape_run(*arguments, "--json", variables=variables)
        assert done.returncode == exit_code, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        assert document.keys() >= {"error", "exit_code"}
        assert document["exit_code"] == exit_code
        (line,) = done.stderr.splitlines()
        assert line.startswith("Error: ")
        assert line.isprintable()
        assert "something unexpected" not in line
        assert "Traceback" not in line
        assert place.state() == before
        return line.removeprefix("Error: ")

    return run


# --- Files ----------------------------------------------------------------------------------------


def test_missing_file_is_refused_whatever_its_name(refused: Refused) -> None:
    sentence = refused("verify", HOSTILE + ".safetensors")
    assert sentence == (
        "there is no file '\\x1b[2J[red]x[/red]\\nVerified..safetensors'; check the path"
    )


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"just some text, not a model", id="text"),
        pytest.param(file_bytes(SMALL)[:-1], id="truncated"),
        pytest.param(raw_file({}, length=2**63), id="header of absurd length"),
    ],
)
def test_malformed_model_is_not_verified(refused: Refused, tmp_path: Path, data: bytes) -> None:
    sentence = refused("verify", write(tmp_path, data), exit_code=1)
    assert "is not a valid safetensors file" in sentence


def test_nan_weights_are_registered_only_where_they_are_wanted(
    refused: Refused, place: Place, ape_run: ApeRun, tmp_path: Path
) -> None:
    path = write(tmp_path, file_bytes(NAN))
    named = ("--model", "broken", "--test-set", "0x" + TEST_SET.hex(), *place.files)
    sentence = refused("register", path, *named)
    assert "NaN or infinite weights in fc.weight" in sentence
    done = ape_run("register", path, *named, "--allow-non-finite", "--json")
    assert done.returncode == 0, done.stderr
    assert read_manifest(json.loads(done.stdout)["file"]) == read_manifest(path)


def test_index_is_not_registered_without_its_folder(refused: Refused, tmp_path: Path) -> None:
    sentence = refused("register", write_model(tmp_path), "--model", "sharded")
    assert "is the index of several files: name the folder that they are in" in sentence


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"accuracy": 1.5}', "out of range"),
        ('{"f1": 0.9}', "states no accuracy"),
        ("accuracy: 0.9", "JSON"),
    ],
)
def test_metrics_that_cannot_be_are_refused(
    refused: Refused, tmp_path: Path, text: str, reason: str
) -> None:
    path = write(tmp_path, text.encode(), "metrics.json")
    assert reason in refused("validate", "m", "--metrics", path)


def test_metadata_beyond_its_limit_is_refused(
    refused: Refused, place: Place, tmp_path: Path
) -> None:
    path = write(tmp_path, b'{"x":"' + b"x" * 2**14 + b'"}', "metadata.json")
    named = ("--model", "large", "--test-set", "0x" + TEST_SET.hex(), *place.files)
    sentence = refused("register", place.file(1), *named, "--metadata", path)
    assert sentence == "the metadata has 16392 bytes and at most 16384 fit: shorten it."


# --- What the chain does not have -----------------------------------------------------------------


def test_unknown_model_is_refused_with_the_known_ones(refused: Refused) -> None:
    sentence = refused("history", "\x1b[31m[red]mnits")
    assert "has no model \\x1b[31m[red]mnits (known here:" in sentence


def test_unknown_version_is_refused(refused: Refused) -> None:
    assert "has no version 9" in refused("rollback", "m", "9", "--reason", "x")


def test_version_beyond_all_numbers_is_refused(refused: Refused) -> None:
    assert "m has no version 4294967296" in refused("lineage", "m", "--version", str(2**32))


def test_version_that_does_not_wait_is_not_validated(refused: Refused, tmp_path: Path) -> None:
    metrics = write(tmp_path, b'{"accuracy": 0.9}', "metrics.json")
    sentence = refused("validate", "m", "--metrics", metrics, "--version", "2")
    assert sentence == "version 2 of m does not wait for its validation; version 3 does."


def test_role_that_is_not_held_is_named(refused: Refused, place: Place) -> None:
    sentence = refused("rollback", "m", "1", "--reason", "x", "--account", "test:1")
    trainer = ape.accounts.test_accounts[1].address
    assert sentence.startswith(
        f"{trainer} does not hold OPERATOR on model 0x{place.model.id.hex()}"
    )


def test_text_that_is_no_utf8_is_refused(refused: Refused) -> None:
    assert "rollback cannot take this" in refused("rollback", "m", "1", "--reason", b"\xff")


# --- Networks and accounts ------------------------------------------------------------------------


def test_unknown_network_is_refused(refused: Refused) -> None:
    assert "nonsense is not a network" in refused("history", "--network", "nonsense")


def test_network_without_an_address_is_refused(refused: Refused) -> None:
    assert "set SEPOLIA_RPC_URL" in refused("history", "--network", "sepolia")


def test_dead_node_is_said_to_be_dead(refused: Refused) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    sentence = refused("history", "--network", "dev", DEV_RPC_URL=url)
    assert sentence == f"no node answers at {url}: start one with `make node`."


def test_chain_without_a_registry_asks_for_one(refused: Refused, tmp_path: Path) -> None:
    sentence = refused("history", MODELPROOF_DEPLOYMENTS=str(tmp_path))
    assert sentence == "no ModelRegistry is deployed on chain 31337: run `ape run deploy` first."


def test_malformed_deployments_file_is_refused(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "31337.json").write_text("{")
    sentence = refused("deploy", MODELPROOF_DEPLOYMENTS=str(tmp_path))
    assert f"{tmp_path / '31337.json'}" in sentence


def test_unknown_account_is_refused(refused: Refused) -> None:
    sentence = refused("rollback", "m", "1", "--reason", "x", "--account", "nobody")
    assert "there is no account nobody" in sentence


@pytest.mark.parametrize("ether", ["nan", "inf"])
def test_amount_that_cannot_be_sent_is_refused(refused: Refused, ether: str) -> None:
    assert "cannot be sent" in refused("chain", "transfer", "test:1", ether)


# --- Not verified: exit code 1 --------------------------------------------------------------------


def test_tampered_file_is_not_verified_and_the_tensor_is_named(
    refused: Refused, place: Place, tmp_path: Path
) -> None:
    tampered = tmp_path / "tampered.safetensors"
    tamper(place.file(2), tampered, "fc.bias")
    sentence = refused("verify", tampered, "--model", "m", *place.files, exit_code=1)
    assert "1 entry differs from v2 (tensor 'fc.bias' changed)" in sentence


def test_superseded_file_is_not_verified_as_the_current_one(refused: Refused, place: Place) -> None:
    required = ("--require", "current", *place.files)
    sentence = refused("verify", place.file(1), *required, exit_code=1)
    assert sentence.endswith("v1 passed and has been superseded: the current version is v2.")


def test_damaged_backup_is_not_restored(refused: Refused, place: Place, tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    shutil.copytree(place.home / "artifacts", backups)
    for path in backups.rglob("*.safetensors"):
        tamper(path, path)
    emptied = ("--artifacts", tmp_path / "lost", "--backups", backups)
    sentence = refused("restore", "m", "--version", "1", *emptied, exit_code=1)
    assert "v1 is damaged" in sentence
    assert [path for path in (tmp_path / "lost").rglob("*") if path.is_file()] == []


def test_swapped_weights_are_not_verified_by_a_lying_node(
    refused: Refused, place: Place, tmp_path: Path
) -> None:
    swapped = tmp_path / "swapped.safetensors"
    tamper(place.file(2), swapped)
    registered = "0x" + read_manifest(place.file(2)).weights.hex()
    query = {"fromBlock": "0x0", "topics": [None, None, None, registered]}
    (true,) = place.node.rpc("eth_getLogs", query)
    forged = with_topic(3, read_manifest(swapped).weights)([true])
    with LyingNode(place.node.port) as liar:
        liar.lie = lambda logs: logs or forged
        sentence = refused(
            "verify", swapped, "--model", "m", *place.files, exit_code=1, DEV_RPC_URL=liar.url
        )
    assert "event of version 2 is not what that version commits to" in sentence


# --- Without --json, and hostile texts ------------------------------------------------------------


def test_refusal_without_json_leaves_stdout_empty(place: Place, ape_run: ApeRun) -> None:
    done = ape_run("verify", "nowhere.safetensors")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: there is no file 'nowhere.safetensors'; check the path\n"


def test_wrong_usage_is_explained(place: Place, ape_run: ApeRun) -> None:
    done = ape_run("rollback", "m", "1")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert "--reason" in done.stderr
    assert "Traceback" not in done.stderr


def test_hostile_names_are_shown_harmlessly_on_a_line_each(place: Place, ape_run: ApeRun) -> None:
    shown = ape_run("history")
    assert shown.returncode == 0, shown.stderr
    names = [line.split("  ")[0] for line in shown.stdout.splitlines()]
    assert {"m", r"\x1b[2J[red]x[/red]\nVerified.", r"\udcff\udcfe\x00\udc9b"} <= set(names)
    told = json.loads(ape_run("history", "--json").stdout)
    assert {HOSTILE, "\udcff\udcfe\x00\udc9b"} <= {model["name"] for model in told}


def test_hostile_reason_is_shown_harmlessly_on_one_line(place: Place, ape_run: ApeRun) -> None:
    done = ape_run("rollback", "m", "1", "--reason", HOSTILE)
    assert done.returncode == 0, done.stderr
    shown = ape_run("history", "m")
    assert shown.returncode == 0, shown.stderr
    (line,) = [line for line in shown.stdout.splitlines() if "rolled back" in line]
    assert line.endswith(r"rolled back from v2 to v1: \x1b[2J[red]x[/red]\nVerified.")
    assert "\x1b" not in shown.stdout
    assert "Verified." not in shown.stdout.splitlines()
    told = ape_run("history", "m", "--json")
    assert json.loads(told.stdout)["events"][-1]["sentence"].endswith(HOSTILE)
    assert told.stdout.isascii()
