"""The npm compiler in the place of a native one."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SOLC = ROOT / ".venv/solcx/solc-v0.8.37"
HEADER = "// SPDX-License-Identifier: MIT\npragma solidity 0.8.37;\n"


def solc(*options: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([SOLC, *options], input=text, capture_output=True, text=True, check=False)


def compile_one(source: str) -> dict[str, Any]:
    sources = {"contracts/Probe.sol": {"content": HEADER + source}}
    settings = {
        "outputSelection": {"*": {"*": ["evm.bytecode.object"]}},
        "remappings": ["@openzeppelin/contracts=node_modules/@openzeppelin/contracts"],
    }
    request = {"language": "Solidity", "sources": sources, "settings": settings}
    output: dict[str, Any] = json.loads(solc("--standard-json", text=json.dumps(request)).stdout)
    return output


def test_version_is_told_as_a_native_compiler_tells_it() -> None:
    told = solc("--version").stdout.splitlines()[-1]
    assert re.fullmatch(r"Version: 0\.8\.37\+commit\.[0-9a-f]{8}\.Linux\.g\+\+", told)


def test_contract_that_imports_openzeppelin_compiles() -> None:
    output = compile_one(
        'import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";\n'
        "contract Probe is AccessControl {}"
    )
    assert "errors" not in output
    bytecode = output["contracts"]["contracts/Probe.sol"]["Probe"]["evm"]["bytecode"]["object"]
    assert len(bytecode) > 1000


def test_import_from_outside_the_packages_is_refused() -> None:
    output = compile_one('import "node_modules/../pyproject.toml";\ncontract Probe {}')
    assert "neither in the input nor in node_modules" in output["errors"][0]["message"]


def test_error_in_a_contract_is_reported_with_its_place() -> None:
    output = compile_one("contract Probe { uint256 x = true; }")
    assert "contracts/Probe.sol:3:" in output["errors"][0]["formattedMessage"]


def test_other_options_are_refused() -> None:
    done = solc("--bin", "contracts/Probe.sol")
    assert done.returncode == 1
    assert done.stderr == "solc: this stand-in answers --version and --standard-json only\n"
