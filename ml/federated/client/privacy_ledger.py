"""The noisy trainings of a client, in a file: what its privacy is counted from.

A training is written down before it begins, and the file is on the disk before the first gradient
is computed, so that nothing is spent that is not counted, whenever the process dies. The same
training done again (a task that came twice) draws the same noise and gives the same weights, so
that it spends nothing more: it is known by what its noise follows from, and counted once.
"""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ml import files
from ml.errors import ModelproofError
from ml.training import canonical
from ml.training.canonical import Digest


@dataclass(frozen=True, slots=True)
class NoisySteps:
    """Steps of DP-SGD with the same noise.

    Raises:
        ModelproofError: on construction, if there are no such steps.
    """

    noise_multiplier: float
    """Deviation of the noise, in clipping norms."""
    sample_rate: float
    """The probability of each sample to be in a step."""
    steps: int

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not (self.noise_multiplier > 0 and 0 < self.sample_rate <= 1 and self.steps > 0):
            raise ModelproofError(f"there are no noisy steps like {self}")


@dataclass(frozen=True, slots=True)
class NoisyTraining:
    """One client's training in one round."""

    run: Digest
    """SHA-256 of the run's configuration."""
    epoch: int
    iteration: int
    base_weights: Digest
    """The identity of what it started from."""
    spent: NoisySteps


@dataclass(frozen=True, slots=True)
class _Ledger:
    """What the file holds."""

    trainings: tuple[NoisyTraining, ...]
    """In the order in which they were begun."""
    format: Literal["modelproof.privacy-ledger.v1"] = "modelproof.privacy-ledger.v1"


def enter(path: Path, training: NoisyTraining) -> tuple[NoisySteps, ...]:
    """Write a training down, unless it is there already.

    Args:
        path: the ledger, which is made if there is none.
        training: that is going to be done.

    Returns:
        what was spent by all trainings before it, without its own.

    Raises:
        ModelproofError: the file is no ledger, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f".{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = read(path)
            if training not in known:
                text = canonical.dump(_Ledger((*known, training)))
                files.write_text(path, text)
                known = (*known, training)
    except OSError as error:
        raise ModelproofError(
            f"{path} cannot be written ({error.strerror}), and without it nobody knows what a"
            " client's privacy has been spent on"
        ) from None
    return tuple(each.spent for each in known[: known.index(training)])


def read(path: Path) -> tuple[NoisyTraining, ...]:
    """The trainings in a ledger, none if there is no such file.

    Raises:
        ModelproofError: the file is no ledger.
        OSError: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    return canonical.load(_Ledger, data, str(path)).trainings
