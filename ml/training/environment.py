"""What a training ran on: training is bit-reproducible only where all of this is equal."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

_LIBRARIES: Final = ("joblib", "numpy", "safetensors", "scikit-learn", "torch")
_SOURCE: Final = Path(__file__).resolve().parent
_GIT_TIMEOUT_S: Final = 10


@dataclass(frozen=True, slots=True)
class Environment:
    """The machine and the software that trained a model."""

    python: str
    libraries: dict[str, str]
    """Versions by name."""
    machine: str
    cpu_capability: str
    """The instruction set that torch's kernels use here, as AVX2."""
    threads: int
    git_commit: str | None
    """Of this code, if it is in a git repository."""
    git_dirty: bool | None
    """Whether a tracked file differed from that commit."""


def describe_environment(threads: int) -> Environment:
    """Look at the running process; ``threads`` is how many train."""
    import torch

    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no") if commit else None
    return Environment(
        python=platform.python_version(),
        libraries={name: version(name) for name in _LIBRARIES},
        machine=platform.machine(),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        threads=threads,
        git_commit=commit,
        git_dirty=None if changes is None else changes != "",
    )


def _git(*arguments: str) -> str | None:
    """Run git on this code's repository; None where there is no git, repository or commit."""
    try:
        done = subprocess.run(
            ["git", "-C", str(_SOURCE), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
