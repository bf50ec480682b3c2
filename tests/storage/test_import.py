"""Importing the package stays cheap: no torch, no ape, nothing that a network needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HEAVY = {"torch", "ape", "web3", "eth_abi", "pydantic", "httpx", "requests", "ml.chain"}
NETWORKED = {"ipfs", "kubo"}
MODULES = sorted(
    f"ml.storage.{path.stem}"
    for path in (Path(__file__).parents[2] / "ml" / "storage").glob("[a-z]*.py")
    if path.stem not in NETWORKED
)


def test_import_loads_nothing_heavy() -> None:
    program = f"import json, sys, {', '.join(MODULES)}; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert HEAVY.isdisjoint(json.loads(run.stdout))
