"""Rounds a minute beside Flower's simulation: ``python -m benchmarks.federated.flower``.

The same network, samples, clients a round, epochs, batches and validation part, and two processes
for clients on either side. The engines take turns of a few rounds; Flower has the project's own
kernel, and nn.Module with torch.optim.SGD beside it. Each engine is at its best: the project has
full provenance and overlapping rounds, whose clients train from a version while it is validated.
The project's rounds without provenance beside them do not overlap. Rounds after the first few
count, by the median. Ends with 1 if the project is not twice as fast.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import torch

from benchmarks.gas.report import Sheet
from ml.federated.plain import PlainTask
from ml.federated.preparation import Divided
from ml.federated.version_files import seeded_weights

from . import kept
from .alternating import BLOCK, Cost, Plain, Watch, cpu_seconds, descendants, rounds_of
from .answers import show
from .report import percent
from .settings import TWO_NN, divided, task_of
from .whole_system import WORKERS, whole_system

RESULTS: Final = kept.FOLDER / "federated_flower.json"
PEERS: Final = Path(__file__).parent / "peers"
PYTHON: Final = PEERS / "venv" / "bin" / "python"
ROUNDS: Final = 40
"""That count."""
TIMES: Final = 2.0
RATE: Final = 0.1
SEED: Final = 1
OVERLAPS: Final = True
"""Whether clients of the project train from a version while it is validated."""
KERNELS: Final = ("dense", "module")
_WARM_UP: Final = 60
"""Rounds before, in which most clients' samples are read, on either side."""
_ALIKE_PPM: Final = 20_000
"""The accuracies at the end may differ by so much: clients are drawn by other generators."""


def install() -> None:
    """Make the environment of the peers, if it is not there: their packages as locked, and PyTorch.

    Raises:
        SystemExit: they cannot be installed.
    """
    lock = PEERS / "requirements.lock"
    done = PEERS / "venv" / "requirements.lock"
    wanted = f"{lock.read_text()}\ntorch=={torch.__version__}\n"
    if done.exists() and done.read_text() == wanted:
        return
    pip = [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "--quiet"]
    pip += ["--no-input", "--disable-pip-version-check", "--no-compile", "--no-deps"]
    packages = [*pip, "--require-hashes", "--only-binary=:all:", "--requirement", str(lock)]
    try:
        venv.create(PEERS / "venv", clear=True, with_pip=False)
        subprocess.run(packages, check=True)
        subprocess.run([*pip, f"torch=={torch.__version__}"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"the peers cannot be installed in {PEERS / 'venv'}: {error}") from None
    done.write_text(wanted)


@dataclass(frozen=True, slots=True)
class Flower:
    """A simulation that waits for its next round to be asked for."""

    process: subprocess.Popen[str]
    pids: tuple[int, ...]
    accuracies: list[int]

    def round(self) -> Cost:
        """Run one: what its server's clock says, and the processor time of all its processes."""
        pids = (self.process.pid, *descendants(self.process.pid))
        cpu = cpu_seconds(pids)
        told = self._ask()
        return Cost(told["seconds"], cpu_seconds(pids) - cpu)

    def _ask(self) -> dict[str, Any]:
        if self.process.stdin is None:
            raise TypeError
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        told = self.hear()
        self.accuracies.append(told["ppm"])
        return told

    def hear(self) -> dict[str, Any]:
        """What it says of the round that is over.

        Raises:
            SystemExit: it has ended.
        """
        if self.process.stdout is None:
            raise TypeError
        for line in self.process.stdout:
            if line.startswith('{"round"'):
                return dict(json.loads(line))
        raise SystemExit("Flower's simulation has ended: see what it said above.")


@contextmanager
def flower(folder: Path, task: PlainTask, kernel: str, rounds: int) -> Iterator[Flower]:
    """Start a simulation; its files are in a folder, and all its processes end with the block."""
    _write_data(folder, task)
    architecture = {**asdict(task.architecture), "name": str(task.architecture.name.value)}
    stated = {
        "data": str(folder),
        "project": str(Path(__file__).parents[2]),
        "kernel": kernel,
        "architecture": architecture,
        "clients": len(task.clients),
        "fraction": task.fraction,
        "batch": task.local.batch_size,
        "rate": task.local.learning_rate,
        "rounds": rounds,
        "workers": WORKERS,
    }
    path = folder / f"{kernel}.json"
    path.write_text(json.dumps(stated))
    environment = {
        **os.environ,
        "PATH": f"{PYTHON.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(PEERS),
        "FLWR_TELEMETRY_ENABLED": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "FLWR_HOME": str(folder / "flwr"),
        "OMP_NUM_THREADS": "1",
    }
    with (folder / f"{kernel}.log").open("w") as log:
        process = subprocess.Popen(
            [PYTHON, "-c", "import flower_app; flower_app.main()", path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
            process_group=0,  # of its own: an interrupt is for this process alone
        )
        try:
            simulation = Flower(process, (), [])
            simulation.hear()  # round 0: the first weights were measured
            found = (process.pid, *descendants(process.pid))
            yield Flower(process, found, simulation.accuracies)
        except SystemExit:
            print((folder / f"{kernel}.log").read_text()[-3000:], file=sys.stderr)
            raise
        finally:
            _end(process)


def _write_data(folder: Path, task: PlainTask) -> None:
    if (folder / "initial.npz").exists():
        return
    named = {f"client_{number}": part for number, part in enumerate(task.clients)}
    for name, part in {**named, "validation": task.validation}.items():
        np.savez(folder / f"{name}.npz", inputs=part.inputs, labels=part.labels)
    np.savez(folder / "initial.npz", **seeded_weights(task.architecture, task.seed))


def _end(process: subprocess.Popen[str]) -> None:
    """End a simulation and all that it has started."""
    others = descendants(process.pid)
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in others):
        time.sleep(0.1)
    for pid in others:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def measure(kernel: str, rounds: int = ROUNDS) -> dict[str, Any]:
    """The project with and without provenance and Flower with a kernel, in turns.

    Flower would begin one round more than it is asked for, as the project does: it must not end
    before its last round is measured. Accuracies are those after as many rounds as Flower ran.
    """
    data: Divided = divided("IID", SEED)
    task = task_of(data, TWO_NN, RATE, SEED)
    total = rounds_of(rounds, _WARM_UP, BLOCK)
    with (
        tempfile.TemporaryDirectory(prefix="modelproof-flower-") as name,
        Plain(task) as plain,
        flower(Path(name), task, kernel, total) as other,
        whole_system(data, task, overlaps=OVERLAPS) as system,
    ):
        foreign = {*other.pids, *plain.pids}
        watch = Watch({"flower": other.round, "plain": plain.round}, foreign, _WARM_UP)
        outcome = system.train(total, watch.tell)
        last = outcome.rounds[len(other.accuracies) - 1]
        accuracies = [last.accuracy_ppm, other.accuracies[-1]]
    if accuracies[1] < accuracies[0] - _ALIKE_PPM:
        raise SystemExit(f"Flower's clients did not learn: {accuracies[1]} ppm; see what they say.")
    ours, theirs = watch.ours, watch.theirs["flower"]
    return {
        "ours": _engine(ours, accuracies[0]),
        "flower": _engine(theirs, accuracies[1]),
        "plain": _engine(watch.theirs["plain"], accuracies[0]),
        "times": round(
            median(one.wall_s for one in theirs) / median(one.wall_s for one in ours), 2
        ),
        "load_average": round(os.getloadavg()[0], 1),
    }


def _engine(costs: list[Cost], accuracy: int) -> dict[str, Any]:
    seconds = median(one.wall_s for one in costs)
    return {
        "rounds": len(costs),
        "ms": round(1000 * seconds, 1),
        "cpu_ms": round(1000 * sum(one.cpu_s for one in costs) / len(costs), 1),
        "rounds_per_minute": round(60 / seconds, 1),
        "accuracy_ppm": accuracy,
    }


_ENGINES: Final = {
    "plain": "Modelproof's rounds, no provenance",
    "ours": "Modelproof, full provenance, overlapping",
    "flower": "Flower",
}
_KERNEL_NAMES: Final = {"dense": "Modelproof's kernel", "module": "nn.Module and SGD"}


def sheet(results: dict[str, Any]) -> Sheet:
    """A line for each engine, a group for each kernel of Flower's."""
    rows: list[tuple[str, ...]] = []
    for kernel, case in results.items():
        rows.append((f"Flower with {_KERNEL_NAMES[kernel]}: {case['times']} times", *[""] * 4))
        for engine, name in _ENGINES.items():
            one = case[engine]
            rows.append(
                (
                    name,
                    f"{one['ms']:,.0f}",
                    f"{one['cpu_ms']:,.0f}",
                    f"{one['rounds_per_minute']:,.0f}",
                    percent(one["accuracy_ppm"]),
                )
            )
    headings = ("engine", "ms a round", "CPU, ms", "rounds a minute", "accuracy at the end, %")
    return Sheet("Beside Flower's simulation", headings, rows)


def run() -> int:
    """Measure, keep and report; return the exit code."""
    install()
    settings = {"seed": SEED, "rate": RATE, "rounds": ROUNDS, "overlaps": OVERLAPS}
    results = kept.measure(RESULTS, settings, KERNELS, measure)
    show("bench-flower", "flower", sheet(results))
    best = min(case["times"] for case in results.values())
    if best < TIMES:
        print(f"{best} times Flower's rounds a minute; the target is {TIMES:g}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run())
