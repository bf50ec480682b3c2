"""Reading through an index: the registry's and the log's own readers, fed by it.

What is read is checked as if a node had said it, which is what an index is made of. A lie that one
told once is in there until it is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from ml.chain.deployments import NoDeployment
from ml.chain.index.blocks import Header
from ml.chain.index.database import IndexUnusable
from ml.chain.index.event_index import EventIndex, index_in_memory, open_index
from ml.chain.logs import Event, Topics
from ml.chain.models import UnknownModel
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session
from ml.errors import ModelproofError, NotVerified

Result = TypeVar("Result")
Warn = Callable[[IndexUnusable], None]
"""Is told why an index in memory takes the place of the one that was named."""


class IndexedRegistry(ModelRegistry):
    """A registry whose events come from an index, which every search brings up to date first."""

    def __init__(
        self, registry: ModelRegistry, index: EventIndex, warn: Warn | None = None
    ) -> None:
        """Read a registry's events from an index that has them.

        Args:
            registry: the registry
            index: of its events
            warn: if given, the index may be replaced by one in memory once it cannot be used
        """
        super().__init__(registry.contract, registry.deployed_at)
        self.index = index
        self._warn = warn
        self._as_of: Header | None = None
        self._without_index = False

    @property
    def as_of(self) -> Header:
        """The last block that the latest search knew of.

        Raises:
            ModelproofError: nothing was searched for yet.
        """
        if self._as_of is None:
            raise ModelproofError("nothing was read from the index yet.")
        return self._as_of

    def search(self, topics: Topics) -> Iterator[Event]:
        """The events that match a filter, oldest first.

        Raises:
            NotVerified: the node, or the index, says what cannot be.
            ModelproofError: the index cannot be brought up to date.
        """
        if self._without_index:
            yield from super().search(topics)
            return
        found, self._as_of = self.up_to_date(lambda index: index.search(self.address, topics))
        yield from found

    def up_to_date(self, ask: Callable[[EventIndex], Result]) -> Result:
        """What is asked of the index once it is up to date, or of one in memory instead.

        Raises:
            NotVerified: the node, or the index, says what cannot be.
            IndexUnusable: the index cannot be used, and is not to be replaced.
            ModelproofError: the index cannot be brought up to date.
        """

        def look(index: EventIndex) -> Result:
            index.update()
            return ask(index)

        return self._with_index(look)

    def _with_index(self, act: Callable[[EventIndex], Result]) -> Result:
        try:
            return act(self.index)
        except IndexUnusable as error:
            if self._warn is None:
                raise
            self._warn(error)
        self._warn = None
        unusable, self.index = self.index, self.index.beside()
        unusable.close()
        return act(self.index)

    def believed(self, read: Callable[[], Result]) -> Result:
        """What a reading comes to that believes only what it can check.

        If it does not believe what is in the index, or misses a model there, the node is asked
        itself. If that convinces, the index is made again.

        Raises:
            NotVerified: it does not believe what the node says now either.
        """
        try:
            return read()
        except (NotVerified, UnknownModel):
            self._without_index = True
            try:
                read()
            finally:
                self._without_index = False
        self._with_index(lambda index: index.rebuild())
        return read()


def indexed_registry(
    session: Session,
    choice: str | None = None,
    *,
    anew: bool = False,
    warn: Warn | None = None,
) -> IndexedRegistry:
    """The registry of a session, read through the index of its chain.

    Args:
        session: the chain
        choice: where the index is: see `open_index`
        anew: make the index again, even if it cannot be read
        warn: if given, an index that cannot be used is replaced by one in memory, and this told why

    Raises:
        NoDeployment: there is no registry on this chain.
        IndexUnusable: the index cannot be used, and is not to be replaced.
        ModelproofError: there is no place for an index.
    """
    registry = session.registry()
    try:
        contracts = [registry, session.provenance_log()]
    except NoDeployment:
        contracts = [registry]
    try:
        return IndexedRegistry(
            registry, open_index(session, contracts, choice, anew=anew), warn=warn
        )
    except IndexUnusable as error:
        if warn is None:
            raise
        warn(error)
    return IndexedRegistry(registry, index_in_memory(session, contracts))
