"""What validators type who have to agree: each on a machine of their own, on one chain."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import ape
import pytest

from .shell import ROOT, ApeRun

pytestmark = pytest.mark.slow

GOLDEN = ROOT / "tests/golden/weights_v1/model.safetensors"
VALIDATORS = ("test:2", "test:5", "test:6")
SIGNERS = VALIDATORS[:2]
"""Each with a folder of its own for what it signs, as on a machine of its own."""

Run: TypeAlias = Callable[..., Any]


def address(name: str) -> str:
    return str(ape.accounts.test_accounts[int(name.removeprefix("test:"))].address)


@pytest.fixture(scope="module")
def run(ape_run: ApeRun, home: Path) -> Run:
    """Run a command with --json on a validator's machine; what it prints, or its sentence."""

    def run(*arguments: str | Path, machine: str = "", exit_code: int = 0) -> Any:
        variables = {"MODELPROOF_SIGNATURES": str(home / f"signed on {machine}")}
        done = ape_run(*arguments, "--json", variables=variables)
        assert done.returncode == exit_code, done.stderr
        assert "Traceback" not in done.stderr
        printed = json.loads(done.stdout)
        return printed["error"] if exit_code else printed

    return run


@pytest.fixture(scope="module")
def artifacts(home: Path) -> tuple[str, Path]:
    return "--artifacts", home / "artifacts"


@pytest.fixture(scope="module")
def model(run: Run, artifacts: tuple[str, Path]) -> str:
    """A model trained here, two of whose three validators have to agree; v1 waits for them."""
    run("deploy")
    train = ("train", "iris", "--architecture", "sklearn", "--model", "flowers")
    trained = run(*train, "--limit", "quorum=2", *artifacts)
    assert trained["status"] == "PENDING"
    for validator in VALIDATORS[1:]:
        run("roles", "grant", "flowers", "validator", validator)
    return "flowers"


@pytest.fixture(scope="module")
def files(run: Run, model: str, artifacts: tuple[str, Path]) -> dict[str, Path]:
    """What each validator signed, having verified and measured the version."""
    signed = {}
    for validator in SIGNERS:
        sign = ("validate", model, "--sign", "--account", validator)
        said = run(*sign, *artifacts, machine=validator)
        assert (said["version"], said["signer"]) == (1, address(validator))
        assert json.loads(said["metrics"]).keys() == {"accuracy_ppm", "correct", "samples"}
        signed[validator] = Path(said["file"])
    return signed


def test_validators_who_measured_alike_signed_alike(files: dict[str, Path]) -> None:
    one, other = (json.loads(path.read_bytes()) for path in files.values())
    assert {key for key in one if one[key] != other[key]} == {"signer", "signature"}


def test_one_validator_alone_is_refused(run: Run, model: str, artifacts: tuple[str, Path]) -> None:
    refused = run("validate", model, *artifacts, exit_code=2)
    assert refused.startswith("the policy of flowers asks for 2 validators: each signs with")


def test_validator_is_kept_from_signing_a_contradiction(
    run: Run, model: str, files: dict[str, Path], tmp_path: Path
) -> None:
    metrics = tmp_path / "metrics.json"
    metrics.write_text('{"accuracy_ppm": 1}')
    sign = ("validate", model, "--sign", "--metrics", metrics, "--account", "test:5")
    refused = run(*sign, machine="test:5", exit_code=2)
    assert f"{address('test:5')} has signed another evaluation of the same content" in refused
    assert "equivocation" in refused


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (("--submit", "test:2"), 2, "1 of the 2 validators whom the policy asks for have signed"),
        (("--submit", "test:2", "forged"), 1, "the signature is not"),
        (("--submit",), 2, "say which files to submit"),
        (("--submit", "--sign", "test:2"), 2, "say either --sign or --submit"),
        (("test:2",), 2, "files are for --submit alone"),
        (("--submit", "--reject", "test:2"), 2, "is submitted as it is: nothing else"),
    ],
)
def test_what_cannot_be_submitted_is_told_in_a_sentence(
    run: Run,
    model: str,
    files: dict[str, Path],
    tmp_path: Path,
    arguments: tuple[str, ...],
    exit_code: int,
    says: str,
) -> None:
    forged = json.loads(files["test:5"].read_bytes())
    forged["evaluation"]["accuracy"] += 1
    (tmp_path / "forged").write_text(json.dumps(forged))
    places = {**files, "forged": tmp_path / "forged"}
    given = [places.get(argument, argument) for argument in arguments]
    assert says in run("validate", model, *given, exit_code=exit_code)


def test_quorum_is_submitted_by_anyone_and_then_on_record(
    run: Run, model: str, files: dict[str, Path], artifacts: tuple[str, Path]
) -> None:
    submit = ("validate", model, "--submit", *files.values(), "--account", "test:9")
    said = run(*submit)
    ordered = sorted(map(address, SIGNERS), key=lambda one: int(one, 16))
    assert said["signers"] == said["validation"]["signers"] == ordered
    assert said["validation"]["validator"] == address("test:9")
    assert said["status"] == "PASSED"
    (file,) = (artifacts[1] / model).glob("v1-*.joblib")
    verified = run("verify", file, "--model", model, *artifacts)
    assert (verified["verified"], verified["signers"]) == (True, ordered)


def test_contradiction_across_machines_is_put_on_record_by_anyone(
    run: Run, ape_run: ApeRun, tmp_path: Path, artifacts: tuple[str, Path]
) -> None:
    """The second machine does not know what the first has signed."""
    register = ("register", GOLDEN, "--model", "disputed", "--test-set", "iris")
    run(*register, "--policy", "unlimited", *artifacts)
    signed = []
    for machine, accuracy in (("one machine", 900_000), ("another", 910_000)):
        metrics = tmp_path / f"{machine}.json"
        metrics.write_text(json.dumps({"accuracy_ppm": accuracy}))
        sign = ("validate", "disputed", "--sign", "--metrics", metrics)
        signed.append(run(*sign, machine=machine)["file"])
    report = ("evidence", "equivocation", "disputed", *signed, "--account", "test:9")
    assert run(*report)["validator"] == address("test:2")
    shown = ape_run("status", "disputed").stdout
    assert f"Evidence: {address('test:9')} proved that {address('test:2')} signed two" in shown
