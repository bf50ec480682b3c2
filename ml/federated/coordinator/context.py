"""What all parts of a coordinator work with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ml.chain.records import Model
from ml.federated.chain_view import ChainView
from ml.federated.objects import Objects
from ml.federated.parts import Part
from ml.federated.run_configuration import RunConfiguration
from ml.training.environment import Environment

from .bases import Bases
from .journal import RunJournal
from .news import Tell
from .post import Post

if TYPE_CHECKING:
    from ape.api import AccountAPI

LOOK_AGAIN_S = 1.0
"""So long without a message, and the coordinator looks at the chain again."""


@dataclass(frozen=True)
class Context:
    """One training, and what it is run with."""

    run: RunConfiguration
    run_cid: str
    """The object that holds the run's configuration."""
    chain: ChainView
    objects: Objects
    received: Objects
    """The same stores, opened by nothing but the coordinator's X25519 key."""
    journal: RunJournal
    post: Post
    bases: Bases
    validation: Part
    """The validation part: a diagnosis measures on it."""
    trainer: AccountAPI
    """Registers versions."""
    operator: AccountAPI
    """Excludes clients."""
    environment: Environment
    tell: Tell
    overlaps: bool = False
    """Whether clients train from a version already while it is validated."""
    now: Callable[[], float] = time.time
    """Seconds since 1970."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long the parts of the round took that is going on."""

    keeping: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    """Writes what need not be waited for at once."""

    reminded: set[tuple[int, int]] = field(default_factory=set)
    """Epoch and client: who was sent ROLLBACK since the coordinator was started."""

    @contextmanager
    def clocked(self, part: str) -> Iterator[None]:
        """Count how long a part of a round takes."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - begun

    def answering(self, model: Model) -> list[int]:
        """The clients that may be asked: active, and back from the latest rollback if any."""
        active, epoch = self.active(model), model.state.epoch
        if epoch == 0:
            return active
        back = self.journal.acknowledged(epoch)
        return [client for client in active if client in back]

    def active(self, model: Model) -> list[int]:
        """The clients that may contribute now, by their indices; silent ones among them."""
        excluded = self.journal.excluded()
        if not self.run.is_enrolled:
            return [one.index for one in self.run.clients if one.index not in excluded]
        bits = model.active_clients
        return [
            one.index
            for one in self.run.clients
            if one.index not in excluded and bits >> one.index & 1
        ]

    def is_active(self, client: int, model: Model) -> bool:
        """Whether one of them may."""
        if client in self.journal.excluded():
            return False
        return not self.run.is_enrolled or bool(model.active_clients >> client & 1)
