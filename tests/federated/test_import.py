"""What an auditor recomputes an aggregate with needs numpy, and no torch, Ape or chain."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FRAMEWORKS = {"torch", "sklearn", "scipy", "joblib", "ape", "web3"}
ALL_BUT_NUMPY = FRAMEWORKS | {"pydantic", "safetensors", "eth_keys", "eth_abi"}


@pytest.mark.parametrize(
    ("modules", "unneeded"),
    [
        (("splits", "aggregation", "server_optimizers", "robust", "diagnosis"), ALL_BUT_NUMPY),
        (("preparation", "prepared", "version_files", "tasks", "admission"), FRAMEWORKS),
    ],
    ids=["rules", "files"],
)
def test_import_loads_nothing_heavy(modules: tuple[str, ...], unneeded: set[str]) -> None:
    names = ", ".join(f"ml.federated.{module}" for module in modules)
    run = subprocess.run(
        [sys.executable, "-c", f"import json, sys, {names}; print(json.dumps(list(sys.modules)))"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert unneeded.isdisjoint(json.loads(run.stdout))
