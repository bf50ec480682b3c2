"""Reading through an index: the registry's and the log's own readers, fed by it.

What is read is checked as if a node had said it, which is what an index is made of. A lie that one
told once is in there until it is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from ml.chain.deployments import NoDeployment
from ml.chain.index.blocks import Header
from ml.chain.index.event_index import EventIndex, open_index
from ml.chain.logs import Event, Topics
from ml.chain.models import UnknownModel
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session
from ml.errors import ModelproofError, NotVerified

Result = TypeVar("Result")


class IndexedRegistry(ModelRegistry):
    """A registry whose events come from an index, which every search brings up to date first."""

    def __init__(self, registry: ModelRegistry, index: EventIndex) -> None:
        """Read a registry's events from an index that has them."""
        super().__init__(registry.contract, registry.deployed_at)
        self.index = index
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
        self.index.update()
        found, self._as_of = self.index.search(self.address, topics)
        yield from found

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
        self.index.rebuild()
        return read()


def indexed_registry(
    session: Session, choice: str | None = None, *, anew: bool = False
) -> IndexedRegistry:
    """The registry of a session, read through the index of its chain.

    Args:
        session: the chain
        choice: where the index is: see `open_index`
        anew: make the index again, even if it cannot be read

    Raises:
        NoDeployment: there is no registry on this chain.
        ModelproofError: there is no place for an index.
    """
    registry = session.registry()
    try:
        contracts = [registry, session.provenance_log()]
    except NoDeployment:
        contracts = [registry]
    return IndexedRegistry(registry, open_index(session, contracts, choice, anew=anew))
