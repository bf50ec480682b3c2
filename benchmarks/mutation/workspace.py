"""A copy of the project in which the compiled contracts are a mutant's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from tools.warm_ape import FOR_TESTS, WarmApe

ROOT: Final = Path(__file__).parents[2]
CONTRACTS: Final = "contracts"
ARTIFACTS: Final = ".build/__local__.json"
TIMEOUT_S: Final = 3_600  # a busy machine must not pass for a killed mutant
# The legacy pipeline compiles in half the time; few runs keep the registry under the size limit.
SETTINGS: Final = {
    "remappings": ["@openzeppelin/contracts=node_modules/@openzeppelin/contracts"],
    "optimizer": {"enabled": True, "runs": 1},
    "evmVersion": "shanghai",
}
# Copies, so that a run does not see what is edited meanwhile.
_FOLDERS: Final = (CONTRACTS, "tests", ".build", "ml", "scripts", "benchmarks")
_FILES: Final = ("ape-config.yaml", "pyproject.toml")

Sources = dict[str, str]


class CompilationFailed(Exception):
    """The compiler refuses a mutant, so that no test has to."""


def sources() -> Sources:
    """The project's Solidity, by path from its root."""
    return {
        str(path.relative_to(ROOT)): path.read_text()
        for path in sorted((ROOT / CONTRACTS).rglob("*.sol"))
        if ".cache" not in path.parts
    }


def compile_contracts(code: Sources, wanted: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Compile some contracts.

    Args:
        wanted: the contracts' names and their files.

    Returns:
        ``evm`` of the compiler's output, by the contract's name.

    Raises:
        CompilationFailed: with the compiler's first error.
    """
    selection = {
        file: {name: ["evm.bytecode.object", "evm.deployedBytecode.object"]}
        for name, file in wanted.items()
    }
    request = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in code.items()},
        "settings": {**SETTINGS, "outputSelection": selection},
    }
    done = subprocess.run(
        ["node", str(ROOT / "tools/solc.js"), "--standard-json"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=True,
    )
    output = json.loads(done.stdout)
    for error in output.get("errors", []):
        if error["severity"] == "error":
            raise CompilationFailed(error["message"])
    return {name: output["contracts"][file][name]["evm"] for name, file in wanted.items()}


class Workspace:
    """The copy, in a folder of its own; a context manager, which ends its process.

    Its sources stay as they are, so that Ape sees no reason to compile them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in _FOLDERS:
            ignored = shutil.ignore_patterns(".cache", "__pycache__", "node_modules")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        (folder / "node_modules").symlink_to(ROOT / "node_modules")
        for name in _FILES:
            shutil.copy(ROOT / name, folder)
        self._artifacts = json.loads((folder / ARTIFACTS).read_bytes())
        self._ape = WarmApe(folder, os.environ, FOR_TESTS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._ape.__exit__(None, None, None)

    def install(self, compiled: Mapping[str, dict[str, Any]]) -> None:
        """Put compiled contracts in place of the project's."""
        for name, evm in compiled.items():
            contract = self._artifacts["contractTypes"][name]
            contract["deploymentBytecode"]["bytecode"] = "0x" + evm["bytecode"]["object"]
            contract["runtimeBytecode"]["bytecode"] = "0x" + evm["deployedBytecode"]["object"]
        (self.folder / ARTIFACTS).write_text(json.dumps(self._artifacts))

    def failing_test(self, tests: Sequence[str]) -> str | None:
        """The first test that fails, None if all pass."""
        options = ("-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=no", "-rfE")
        files = (f"tests/contracts/{name}" for name in tests)
        done = self._ape.run(["test", *options, *files], TIMEOUT_S)
        if done.returncode == -signal.SIGALRM:
            return f"none ended within {TIMEOUT_S} s"
        if done.returncode == 0:
            return None
        for line in done.stdout.splitlines():
            if line.startswith(("FAILED ", "ERROR ")):
                return line.split(" - ")[0].split("/")[-1]
        raise RuntimeError(f"no test failed, and not all passed:\n{done.stdout}\n{done.stderr}")
