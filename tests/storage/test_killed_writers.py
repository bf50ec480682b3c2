"""A writer killed at any moment leaves the old or the new, never a torn file, and no litter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ml.storage.local_store import LocalStore

ROOT = Path(__file__).parents[2]


def killed_writers(how: str, folder: Path) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.storage.killed_writers", how, folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, int] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize("how", ["puts", "replaces"])
def test_writer_killed_at_any_line_leaves_the_old_or_the_new(how: str, tmp_path: Path) -> None:
    seen = killed_writers(how, tmp_path)
    assert seen["old"] > 10  # before the rename, and after it
    assert seen["new"] > 1


def test_writer_killed_between_an_object_and_its_sidecar_leaves_no_sidecar_alone(
    tmp_path: Path,
) -> None:
    seen = killed_writers("encrypts", tmp_path)
    assert seen["old"] > 1
    assert seen["nobody's"] > 1  # an object that nobody can read, and no version names
    assert seen["new"] > 1


@pytest.mark.parametrize("how", ["keeps versions", "gets versions"])
def test_process_killed_at_any_line_on_a_version_leaves_the_old_or_the_new(
    how: str, tmp_path: Path
) -> None:
    seen = killed_writers(how, tmp_path)
    assert seen["old"] > 10
    assert seen["new"] > 1


def test_writer_killed_at_random_moments_loses_nothing_it_was_told_of(tmp_path: Path) -> None:
    seen = killed_writers("random", tmp_path)
    assert seen["killed"] == 25
    assert seen["told of"] >= 25


def test_next_writer_sweeps_up_after_a_killed_one(tmp_path: Path) -> None:
    left = tmp_path / ".partial" / "left"
    left.parent.mkdir()
    left.write_bytes(b"half an object")
    stored = LocalStore(tmp_path).put([b"whole"])
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {str(stored.cid)}
