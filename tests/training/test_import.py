"""What a command's help needs costs no torch and no scikit-learn."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "sklearn", "scipy", "joblib", "ape"}


@pytest.mark.parametrize(
    "module",
    [
        "checkpoint",
        "classifiers",
        "datasets",
        "metadata",
        "predict",
        "progress",
        "recipes",
        "train",
    ],
)
def test_import_loads_nothing_heavy(module: str) -> None:
    program = f"import json, sys, ml.training.{module}; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert HEAVY.isdisjoint(json.loads(run.stdout))
