"""A sender killed at any step leaves what the next run finishes: nothing twice, nothing lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ml.chain.anvil import AnvilNode

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.parametrize(
    "operation",
    [
        "register",
        pytest.param("validate", marks=pytest.mark.long),
        pytest.param("rollback", marks=pytest.mark.long),
        pytest.param("append", marks=pytest.mark.long),
        pytest.param("batch", marks=pytest.mark.long),
    ],
)
def test_sender_killed_at_any_step_is_finished_by_the_next_run(
    operation: str, tmp_path: Path
) -> None:
    seen = killed_at_each_step(operation, tmp_path)
    assert set(seen) == {"nothing", "prepared", "sent", "mined", "reported"}
    assert seen["prepared"] >= 2  # before it was sent, and after that


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(
    ("operation", "found"),
    [
        ("restore", {"mined", "sent"}),
        ("replace", {"mined", "sent"}),
        ("cancel", {"sent", "dropped"}),
    ],
)
def test_repair_killed_at_any_step_is_finished_by_the_next_run(
    operation: str, found: set[str], tmp_path: Path
) -> None:
    assert set(killed_at_each_step(operation, tmp_path)) == found


def killed_at_each_step(operation: str, folder: Path) -> dict[str, int]:
    """How the first entry was found after each kill, and how often."""
    with AnvilNode() as node:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.chain.outbox.killing",
                operation,
                str(node.port),
                folder,
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    seen: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return seen
