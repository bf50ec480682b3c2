"""The set-up: what it says where something is missing, and that it does nothing twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = os.path.realpath(sys.executable)  # not the virtual environment's, as on a fresh machine


def set_up(root: Path, path: str = os.defpath) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYTHON, "tools/setup.py"],
        cwd=root,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A copy of the project in which nothing was set up."""
    (tmp_path / "tools").mkdir()
    names = ("requirements.lock", "requirements-torch.lock", "package.json", "package-lock.json")
    for name in ("tools/setup.py", "tools/solc.js", *names):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def fake_program(folder: Path, name: str, answer: str) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o755)


def test_second_set_up_does_nothing_and_says_nothing() -> None:
    done = set_up(ROOT, os.environ["PATH"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_missing_node_is_refused_with_one_sentence(elsewhere: Path) -> None:
    done = set_up(elsewhere, path=str(elsewhere / "empty"))
    assert done.returncode == 2
    assert done.stderr == "setup: Node.js was not found: install Node.js 20 or newer.\n"


@pytest.mark.parametrize(
    ("answer", "found"), [("v18.19.0", "v18.19.0"), ("what?", "what?"), ("", "(unknown)")]
)
def test_node_that_is_too_old_is_refused_with_one_sentence(
    elsewhere: Path, answer: str, found: str
) -> None:
    programs = elsewhere / "programs"
    fake_program(programs, "node", answer)
    fake_program(programs, "npm", "10.0.0")
    done = set_up(elsewhere, path=f"{programs}:{os.defpath}")
    assert done.returncode == 2
    assert done.stderr == f"setup: Node.js {found} is too old: install Node.js 20 or newer.\n"


@pytest.mark.slow
def test_failed_step_shows_its_last_words_and_is_tried_again(elsewhere: Path) -> None:
    (elsewhere / "requirements.lock").write_text("this is not a lock file\n")
    for progress in ("virtual environment", "Python packages"):
        done = set_up(elsewhere, os.environ["PATH"])
        assert done.returncode == 2
        assert done.stdout.lstrip().startswith(progress)
        assert done.stdout.endswith(" failed\n")
        assert "this is not a lock file" in done.stderr
        assert ".setup.log" in done.stderr


def test_environment_needs_no_shell_that_was_prepared(tmp_path: Path) -> None:
    look = "import os, shutil, ml; print(shutil.which('anvil'), os.environ['SOLCX_BINARY_PATH'])"
    found = subprocess.run(
        [sys.executable, "-c", look],
        env={"HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert found == [str(ROOT / ".venv/bin/anvil"), str(ROOT / ".venv/solcx")]
