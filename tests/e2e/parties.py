"""What some who take part in a training do otherwise than they should."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml.federated.client import worker
from ml.federated.client.local_training import LocalResult
from ml.federated.transport import broker
from tests.chain.outbox.killing import Fuse

PATIENCE_S = 300.0


def patient() -> None:
    """Wait for a broker that restarts as long as it takes on a machine that is busy."""
    assert broker.connect.__kwdefaults__
    broker.connect.__kwdefaults__["patience_s"] = PATIENCE_S


def holding(marker: str, iteration: str) -> None:
    """A worker that trains for ever in one round, and shows that it does by a file."""

    def hold(_base: Mapping[str, Any], result: LocalResult) -> LocalResult:
        Path(marker).touch()
        while True:
            time.sleep(1)
        return result

    _altering(lambda at: at == int(iteration), hold)


def poisoning(iteration: str) -> None:
    """A client that sends the opposite of what it learned, ten times as far, from one round on."""

    def poison(base: Mapping[str, Any], result: LocalResult) -> LocalResult:
        weights = {name: base[name] - 10 * (result.weights[name] - base[name]) for name in base}
        return replace(result, weights=weights)

    _altering(lambda at: at >= int(iteration), poison)


def dying(steps: str) -> None:
    """Whoever is killed at a step: a request to the node, a statement to SQLite, or an fsync."""
    Fuse(int(steps)).lay()


def _altering(
    is_due: Callable[[int], bool],
    alter: Callable[[Mapping[str, Any], LocalResult], LocalResult],
) -> None:
    module: Any = worker
    train = module.train_locally

    def altered(architecture: Any, local: Any, base: Any, part: Any, **named: Any) -> LocalResult:
        result = train(architecture, local, base, part, **named)
        return alter(base, result) if is_due(named["iteration"]) else result

    module.train_locally = altered
