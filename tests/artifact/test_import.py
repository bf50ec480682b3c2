"""Importing the package stays cheap: no torch, no ape, no NumPy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HEAVY = {"torch", "numpy", "ape", "web3", "eth_abi", "safetensors", "pydantic"}


def test_import_loads_nothing_heavy() -> None:
    program = "import json, sys, ml.artifact; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert HEAVY.isdisjoint(json.loads(run.stdout))
