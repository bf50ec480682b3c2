"""Starting stays cheap: no torch, no ape, no NumPy, and no OpenSSL to verify a small model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from ml.artifact import read_manifest

from .builders import SMALL, file_bytes, write

ROOT = Path(__file__).parents[2]
HEAVY = {
    *("torch", "numpy", "ape", "web3", "eth_abi", "safetensors", "pydantic"),
    *("cryptography", "hashlib", "threading", "pathlib", "tempfile"),
}
VERIFY = """
import contextlib, json, sys
from ml.artifact.command_line import main

with contextlib.redirect_stdout(sys.stderr):
    exit_code = main(["verify", *sys.argv[1:]])
print(json.dumps([exit_code, *sys.modules]))
"""


def test_verifying_a_small_model_loads_nothing_heavy(tmp_path: Path) -> None:
    path = write(tmp_path, file_bytes(SMALL))
    arguments = [path, f"0x{read_manifest(path).weights.hex()}"]
    run = subprocess.run(
        [sys.executable, "-c", VERIFY, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    exit_code, *modules = json.loads(run.stdout)
    assert exit_code == 0
    assert HEAVY.isdisjoint(modules)
