"""The project's contracts as they are deployed: code, interface, and the compiler input behind it.

The compiler input (Solidity's "standard JSON") is what block explorers take to verify a contract:
the sources that this contract is made of and the settings, nothing else. That it is what the code
was compiled from is read off the code itself: the compiler ends it with the IPFS hash of its
metadata, which name every source by its hash (Solidity documentation, "Contract Metadata").
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import solcx
from ape import project
from solcx.exceptions import SolcError

from ml import files
from ml.artifact.keccak import keccak256
from ml.errors import ModelproofError
from ml.storage.cid import multihash_v0

CONTRACTS: Final = ("ModelRegistry", "ProvenanceLog")
"""All that the project deploys."""
_CODE: Final = ("abi", "evm.bytecode.object", "evm.deployedBytecode.object", "metadata")


class StaleBuild(ModelproofError):
    """The compiled contracts are not those of the sources."""


@dataclass(frozen=True)
class Build:
    """One compiled contract."""

    contract: str
    init_code: bytes
    """What a transaction that creates it carries; the constructors take no arguments."""
    abi: list[dict[str, Any]]
    source: str
    """The file that it stands in, by its path in the project."""
    compiler: str
    """Its version with its commit."""

    @property
    def init_code_hash(self) -> bytes:
        """keccak256 of the init code."""
        return keccak256(self.init_code)

    @functools.cached_property
    def compiler_input(self) -> bytes:
        """The standard JSON that the code was compiled from, the same bytes on every machine.

        Raises:
            StaleBuild: the code was compiled from other sources or settings.
        """
        metadata = _all_metadata()[self.contract]
        if multihash_v0(metadata.encode()) not in self.init_code:
            raise StaleBuild(
                f"the compiled {self.contract} is not what its sources give now: run"
                " `ape compile --force`."
            )
        sources = _read(Path(project.path), json.loads(metadata)["sources"])
        return _standard_json(sources, _settings(), {self.source: {self.contract: list(_CODE)}})

    def check_sources(self) -> None:
        """Raise StaleBuild where the code was compiled from other sources or settings."""
        _ = self.compiler_input

    @property
    def compiler_input_sha256(self) -> str:
        """The input's digest, as 0x and hex."""
        return "0x" + hashlib.sha256(self.compiler_input).hexdigest()


@functools.cache
def build(contract: str) -> Build:
    """A contract of the project, compiled where that has not been done."""
    compiled = getattr(project, contract).contract_type
    return Build(
        contract=contract,
        init_code=bytes.fromhex(compiled.deployment_bytecode.bytecode.removeprefix("0x")),
        abi=json.loads(compiled.model_dump_json())["abi"],
        source=compiled.source_id,
        compiler=_compiler().version,
    )


def check_compiles(made: Build) -> None:
    """Compile a build's input, to see that it gives the build's code, byte for byte.

    Raises:
        StaleBuild: it gives another.
        ModelproofError: the compiler refuses it.
    """
    output = _compile(made.compiler_input)
    code = output[made.source][made.contract]["evm"]["bytecode"]["object"]
    if bytes.fromhex(code) != made.init_code:
        raise StaleBuild(
            f"the sources of {made.contract} alone give another code than all contracts together"
            " did: run `ape compile --force`, and if that does not help, report it."
        )


def _compiler() -> Any:
    """The compiler that made the contracts, with its settings, as Ape keeps them with its build."""
    made_by = [one for one in project.manifest.compilers or () if one.name == "solidity"]
    if not made_by:
        raise StaleBuild("nothing says how the contracts were compiled: run `ape compile --force`.")
    return made_by[-1]  # of one version and one configuration, if there are several


def _settings() -> dict[str, Any]:
    settings = {**_compiler().settings}
    settings.pop("outputSelection")
    return settings


@functools.cache
def _all_metadata() -> dict[str, str]:
    """What the compiler says about each contract, from all sources as they are now.

    Kept beside the build, for the same sources: asking takes seconds.
    """
    root = Path(project.path)
    names = sorted(str(path.relative_to(root)) for path in root.glob("contracts/**/*.sol"))
    sources = _read(root, [name for name in names if ".cache" not in Path(name).parts])
    selection = {build(name).source: {name: ["metadata"]} for name in CONTRACTS}
    question = _standard_json(sources, _settings(), selection)
    digest = hashlib.sha256(_compiler().version.encode() + question).hexdigest()
    kept = root / ".build" / "metadata.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        answer: dict[str, str] = json.loads(kept.read_bytes())[digest]
        return answer
    output = _compile(question)
    answer = {name: output[build(name).source][name]["metadata"] for name in CONTRACTS}
    with suppress(OSError):
        files.write_text(kept, json.dumps({digest: answer}))
    return answer


def _read(root: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: (root / name).read_bytes().decode() for name in names}


def _standard_json(
    sources: dict[str, str], settings: dict[str, Any], selection: dict[str, Any]
) -> bytes:
    """The compiler's input, the same bytes for the same content."""
    document = {
        "language": "Solidity",
        "sources": {name: {"content": content} for name, content in sources.items()},
        "settings": {**settings, "outputSelection": selection},
    }
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def _compile(standard_json: bytes) -> Any:
    """The contracts of the compiler's output, by file and name."""
    version = _compiler().version.partition("+")[0]
    try:
        output = solcx.compile_standard(
            json.loads(standard_json), base_path=project.path, solc_version=version
        )
    except SolcError as error:
        first = str(error).strip().partition("\n")[0]
        raise ModelproofError(f"solc {version} does not compile the contracts: {first}") from error
    return output["contracts"]
