"""What a whole command costs: wall clock, processor time and memory, as the system counts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from benchmarks.artifacts import launch

PEER: Final = "model_signing 1.1.1"
PEER_LOCK: Final = Path("tests/artifact/model_signing_peer/requirements.lock")
"""The packages of the peer, as the tests have them."""


class Cost(NamedTuple):
    """One run of a command."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def run(command: Sequence[str | Path], environment: Mapping[str, str]) -> Cost:
    """Run a command to its end, which must be a good one."""
    launched = [sys.executable, "-S", launch.__file__, *map(str, command)]
    done = subprocess.run(launched, env=environment, check=True, capture_output=True, text=True)
    return Cost(**json.loads(done.stdout))


def measure(
    commands: Mapping[str, Sequence[str | Path]], rounds: int, environment: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """Run the commands in turn, round by round: the best and the median of each figure.

    Whatever else the machine does meets all of them alike; the first round, in which files come
    into the cache and modules are compiled, does not count.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            cost = run(command, environment)
            if number:
                costs[name].append(cost)
    return {name: _summary(found) for name, found in costs.items()}


def _summary(costs: Sequence[Cost]) -> dict[str, float]:
    walls, cpus = [cost.wall_s for cost in costs], [cost.cpu_s for cost in costs]
    return {
        "wall_s": round(min(walls), 4),
        "wall_s_median": round(median(walls), 4),
        "cpu_s": round(min(cpus), 4),
        "cpu_s_median": round(median(cpus), 4),
        "peak_mb": round(max(cost.peak_mb for cost in costs), 1),
    }


def environment(folder: Path) -> dict[str, str]:
    """The environment of all commands, in which Python keeps what it compiles, as installed."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**variables, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}


def install_peer(folder: Path, lock: Path) -> Path:
    """Install OpenSSF Model Signing in a virtual environment of its own; returns its ``bin``."""
    if not (folder / "bin" / "model_signing").exists():
        print(f"Installing {PEER} …", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps")
        subprocess.run([*pip, "--require-hashes", "--requirement", lock], check=True)
    return folder / "bin"
