"""The environment names the code that trained, also where there is no repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from ml.training import environment
from ml.training.environment import describe_environment


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(environment, "_SOURCE", tmp_path)
    git(tmp_path, "init")
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-m", "Start")
    return tmp_path


def test_commit_of_the_code_is_named(repository: Path) -> None:
    found = describe_environment(threads=1)
    assert (found.git_commit, found.git_dirty) == (git(repository, "rev-parse", "HEAD"), False)


def test_changed_code_is_noted(repository: Path) -> None:
    (repository / "code.py").write_text("2")
    assert describe_environment(threads=1).git_dirty is True


def test_new_file_beside_the_code_is_not_a_change(repository: Path) -> None:
    (repository / "model.safetensors").write_text("")
    assert describe_environment(threads=1).git_dirty is False


def test_no_repository_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_SOURCE", tmp_path)
    found = describe_environment(threads=1)
    assert (found.git_commit, found.git_dirty) == (None, None)


def test_no_git_is_no_fault(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert describe_environment(threads=1).git_commit is None


def test_versions_and_threads_are_named() -> None:
    found = describe_environment(threads=2)
    assert (found.libraries["torch"], found.threads) == (torch.__version__, 2)
