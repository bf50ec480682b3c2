"""What block explorers are given is what the deployed code was compiled from."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from ml.chain import builds
from ml.chain.builds import CONTRACTS, StaleBuild, build
from ml.errors import ModelproofError
from ml.storage.cid import multihash_v0
from scripts import sources

ROOT = Path(__file__).parents[2]
SOLC = next((Path(sys.prefix) / "solcx").glob("solc-v*"))


@pytest.mark.parametrize("contract", CONTRACTS)
def test_input_holds_the_contracts_own_sources_and_no_others(contract: str) -> None:
    made = build(contract)
    document = json.loads(made.compiler_input)
    assert made.source in document["sources"]
    assert not [name for name in document["sources"] if "mocks" in name]
    for name, source in document["sources"].items():
        assert source == {"content": (ROOT / name).read_text()}


@pytest.mark.parametrize("contract", CONTRACTS)
def test_input_is_named_by_its_digest(contract: str) -> None:
    made = build(contract)
    assert made.compiler_input_sha256 == "0x" + hashlib.sha256(made.compiler_input).hexdigest()
    assert replace(made).compiler_input == made.compiler_input


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `ape run sources` writes, without its own look at it."""
    monkeypatch.setattr(builds, "check_compiles", lambda _: None)
    done = CliRunner().invoke(sources.cli, [str(tmp_path / "new"), "--json"])
    assert done.exit_code == 0, done.output
    for told in json.loads(done.stdout):
        assert told["sha256"] == "0x" + hashlib.sha256(Path(told["file"]).read_bytes()).hexdigest()
    return tmp_path / "new"


@pytest.mark.slow
@pytest.mark.parametrize(
    "contract",
    [
        pytest.param(name, marks=[pytest.mark.long] if name == "ModelRegistry" else [])
        for name in CONTRACTS
    ],
)
def test_project_compiler_makes_the_deployed_code_of_the_file(written: Path, contract: str) -> None:
    """In a process that finds nothing beside it."""
    with (written / f"{contract}.json").open("rb") as file:
        done = subprocess.run(
            [SOLC, "--standard-json"], stdin=file, capture_output=True, cwd=written, check=True
        )
    made = build(contract)
    compiled = json.loads(done.stdout)["contracts"][made.source][contract]
    assert bytes.fromhex(compiled["evm"]["bytecode"]["object"]) == made.init_code


def test_code_that_does_not_name_the_sources_has_no_input() -> None:
    made = build("ProvenanceLog")
    metadata = multihash_v0(builds._all_metadata()["ProvenanceLog"].encode())
    other = replace(made, init_code=made.init_code.replace(metadata, bytes(len(metadata))))
    with pytest.raises(StaleBuild, match="the compiled ProvenanceLog is not what its sources give"):
        other.check_sources()


def test_input_that_compiles_to_other_code_is_noticed() -> None:
    made = build("ProvenanceLog")
    document = json.loads(made.compiler_input)
    document["settings"] |= {"optimizer": {"enabled": False}, "viaIR": False}
    other = replace(made)
    vars(other)["compiler_input"] = json.dumps(document)
    with pytest.raises(StaleBuild, match="ProvenanceLog alone give another code"):
        builds.check_compiles(other)


def test_input_that_does_not_compile_is_refused() -> None:
    other = replace(build("ProvenanceLog"))
    vars(other)["compiler_input"] = build("ProvenanceLog").compiler_input.replace(b"pragma", b"?")
    with pytest.raises(
        ModelproofError, match=r"solc 0\.8\.37 does not compile the contracts: \w+Error"
    ):
        builds.check_compiles(other)
