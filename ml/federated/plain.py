"""Rounds of federated averaging and nothing else: no signatures, no store, no chain, no messages.

What the whole system is measured against, and checked by: with the same seeds both make the same
weights, bit for bit. Clients train in processes of their own.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from ml.training.architectures import Architecture
from ml.training.metrics import Metrics

from . import sampling
from .aggregation import NO_STATE, ClientUpdate, Rule, ServerState, Weights, aggregate
from .client.local_training import LocalResult, round_seed, train_locally
from .measuring import measure
from .parts import Part
from .run_configuration import LocalTraining
from .sampling import RoundKey
from .version_files import seeded_weights


@dataclass(frozen=True, eq=False, slots=True)
class PlainTask:
    """A federated training without its provenance."""

    architecture: Architecture
    local: LocalTraining
    rule: Rule
    seed: int
    fraction: float
    clients: Sequence[Part]
    validation: Part


@dataclass(frozen=True, eq=False, slots=True)
class PlainRound:
    """What a round came to."""

    iteration: int
    base: Weights
    updates: tuple[ClientUpdate, ...]
    state: ServerState
    """The rule's memory before the round."""
    metrics: Metrics
    """Of the aggregate, on the validation part."""


class PlainTraining(AbstractContextManager["PlainTraining"]):
    """Runs rounds; the processes that train end with the block."""

    def __init__(self, task: PlainTask, processes: int = 1) -> None:
        """Begin with seeded weights.

        Args:
            task: what to train.
            processes: that train clients; 1 for none beside this one.
        """
        self._task: Final = task
        self.weights: Weights = seeded_weights(task.architecture, task.seed)
        self.state: ServerState = NO_STATE
        self.iteration = 0
        self._pool = (
            ProcessPoolExecutor(processes, multiprocessing.get_context("fork"), _remember, (task,))
            if processes > 1
            else None
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the processes."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def updates(self) -> tuple[ClientUpdate, ...]:
        """What the clients of the next round send, in the order of their indices."""
        task, key = self._task, RoundKey(0, self.iteration + 1)
        ranked = sampling.ranking(task.seed, key, range(len(task.clients)))
        who = sorted(sampling.participants(task.fraction, ranked, 1))
        work = [(client, self.weights, key) for client in who]
        if self._pool:
            results = list(self._pool.map(_train_remembered, work))
        else:
            results = [_train(task, *one) for one in work]
        return tuple(
            ClientUpdate(client, result.samples, result.weights)
            for client, result in zip(who, results, strict=True)
        )

    def advance(self, updates: Sequence[ClientUpdate]) -> PlainRound:
        """Aggregate a round's updates, and measure what comes of it."""
        task, base, state = self._task, self.weights, self.state
        made = aggregate(task.rule, base, updates, state)
        self.weights, self.state = made.weights, made.state
        self.iteration += 1
        metrics = measure(task.architecture, made.weights, task.validation)
        return PlainRound(self.iteration, base, tuple(updates), state, metrics)


_REMEMBERED: list[PlainTask] = []


def _remember(task: PlainTask) -> None:
    _REMEMBERED[:] = [task]


def _train_remembered(work: tuple[int, Weights, RoundKey]) -> LocalResult:
    return _train(_REMEMBERED[0], *work)


def _train(task: PlainTask, client: int, base: Weights, key: RoundKey) -> LocalResult:
    return train_locally(
        task.architecture,
        task.local,
        base,
        task.clients[client],
        seed=round_seed(task.seed, client, *key.values),
        iteration=key.iteration,
    )
