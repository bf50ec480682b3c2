"""Several stores that keep the same objects, by a stated policy.

The policy says how many of them have to take an object before it counts as stored: all, any one, or
a quorum. Reading needs one that has the object whole, whichever that is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final, Generic, Self, TypeVar

from ml.artifact.errors import quoted
from ml.errors import ModelproofError, NotVerified

from .cid import Cid
from .errors import StorageError, UnknownObject, WrongContent
from .naming import Stored, name
from .pieces import Piece
from .spool import Spool, spooled
from .store import Store

Result = TypeVar("Result")

_NOTHING: Final = name([]).cid


@dataclass(frozen=True, slots=True)
class Policy:
    """How many of the stores have to succeed; None: all of them."""

    quorum: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``all``, ``any`` or a number.

        Raises:
            StorageError: it is something else.
        """
        if text == "all":
            return cls(None)
        if text == "any":
            return cls(1)
        if text.isdecimal() and int(text) > 0:
            return cls(int(text))
        raise StorageError(f"the policy of replicas is all, any or a number, not {quoted(text)}")

    def needed(self, count: int) -> int:
        """How many of ``count`` stores that is.

        Raises:
            StorageError: there are fewer.
        """
        needed = count if self.quorum is None else self.quorum
        if not 1 <= needed <= count:
            raise StorageError(f"{needed} replicas are asked for, and there are {count} stores")
        return needed


ALL: Final = Policy(None)
ANY: Final = Policy(1)


@dataclass(frozen=True, slots=True)
class Failure:
    """What one of the stores did not do, and why."""

    store: Store
    error: ModelproofError

    def __str__(self) -> str:
        return f"{self.store}: {self.error}"


Report = Callable[[Failure], None]
"""Called for each store that failed where enough of the others did not."""


def _warn(failure: Failure) -> None:
    logging.getLogger(__name__).warning("a replica failed: %s", failure)


@dataclass(frozen=True, slots=True)
class _Done(Generic[Result]):
    """What became of asking all stores."""

    results: list[Result]
    failures: list[Failure]


class TooFewReplicas(StorageError):
    """Fewer stores than the policy asks for did it."""


class DamagedReplicas(NotVerified):
    """Fewer stores than needed have the object whole, and one has it damaged."""


class Replicas(Store):
    """Stores that keep the same objects."""

    def __init__(
        self, stores: Sequence[Store], policy: Policy = ALL, report: Report | None = None
    ) -> None:
        """Combine stores; objects are read from the first that has them whole.

        Raises:
            StorageError: there are fewer than the policy asks for.
        """
        self.stores: Final = tuple(stores)
        self.policy: Final = policy
        self._needed: Final = policy.needed(len(self.stores))
        self._report: Final = report or _warn

    def __str__(self) -> str:
        return f"{self._needed} of {', '.join(map(str, self.stores))}"

    def put(self, pieces: Iterable[Piece]) -> Stored:
        """Put an object into all stores at once; enough of them have to take it.

        Raises:
            TooFewReplicas, DamagedReplicas: too few did. It stays where it is; put it again.
        """
        with spooled(pieces) as spool:
            done = self._each(lambda store: store.put(spool))
            self._settle(
                f"store {spool.stored.cid}", len(done.results), self._needed, done.failures
            )
            return spool.stored

    @contextmanager
    def open(self, cid: Cid) -> Iterator[Iterator[Piece]]:
        """Give an object's bytes from the first store that has them whole; they are checked before.

        Raises:
            UnknownObject: no store has it.
            DamagedReplicas: some have, but none whole.
            TooFewReplicas: no store could be asked.
        """
        with ExitStack() as stack:
            yield iter(self._whole(cid, stack))

    def has(self, cid: Cid) -> bool:
        """Tell whether as many stores as the policy asks for have something under this name.

        Raises:
            TooFewReplicas: so many cannot be asked that this is not known.
        """
        done = self._each(lambda store: store.has(cid))
        having = sum(done.results)
        if having >= self._needed:
            return True
        if having + len(done.failures) >= self._needed:
            self._settle(f"tell whether {cid} is stored", having, self._needed, done.failures)
        return False

    def delete(self, cid: Cid) -> None:
        """Have no store keep the object.

        Raises:
            TooFewReplicas: a store could not be told so.
        """
        done = self._each(lambda store: store.delete(cid))
        self._settle(f"delete {cid}", len(done.results), len(self.stores), done.failures)

    def check(self) -> None:
        """See that as many stores answer as the policy asks for; they are asked for nothing.

        Raises:
            TooFewReplicas: they do not.
        """
        done = self._each(lambda store: store.has(_NOTHING))
        self._settle("find an answer", len(done.results), self._needed, done.failures)

    def names(self) -> Iterator[Cid]:
        """What at least one of the stores has.

        Raises:
            TooFewReplicas: a store could not be asked.
        """
        done = self._each(lambda store: set(store.names()))
        self._settle("list objects", len(done.results), len(self.stores), done.failures)
        return iter(set().union(*done.results))

    def verify(self, cid: Cid) -> Stored:
        """Read an object whole from all stores; as many as the policy asks for must have it so.

        Raises:
            UnknownObject: no store has it.
            TooFewReplicas, DamagedReplicas: too few have it whole.
        """
        done = self._each(lambda store: store.verify(cid))
        self._settle(f"verify {cid}", len(done.results), self._needed, done.failures)
        return done.results[0]

    def _whole(self, cid: Cid, stack: ExitStack) -> Spool:
        failures: list[Failure] = []
        for store in self.stores:
            try:
                with store.open(cid) as pieces:
                    spool = stack.enter_context(spooled(pieces))
                if spool.stored.cid != cid:
                    raise WrongContent(cid, spool.stored.cid)
            except ModelproofError as error:
                failures.append(Failure(store, error))
                continue
            for failure in failures:
                self._report(failure)
            return spool
        self._settle(f"read {cid}", 0, 1, failures)
        raise AssertionError("no store failed, and none succeeded")

    def _each(self, ask: Callable[[Store], Result]) -> _Done[Result]:
        """Ask all stores at once."""
        done: _Done[Result] = _Done([], [])
        with ThreadPoolExecutor(len(self.stores)) as pool:
            for store, future in [(store, pool.submit(ask, store)) for store in self.stores]:
                try:
                    done.results.append(future.result())
                except ModelproofError as error:
                    done.failures.append(Failure(store, error))
        return done

    def _settle(self, what: str, count: int, needed: int, failures: Sequence[Failure]) -> None:
        """Report failures that do not matter, or raise the one error that says all of them."""
        if count >= needed:
            for failure in failures:
                self._report(failure)
            return
        errors = [failure.error for failure in failures]
        said = "; ".join(map(str, failures))
        if errors and all(isinstance(error, UnknownObject) for error in errors) and not count:
            raise UnknownObject(f"cannot {what}: {said}")
        damaged = any(isinstance(error, NotVerified) for error in errors)
        kind = DamagedReplicas if damaged else TooFewReplicas
        raise kind(f"cannot {what} in {needed} of {len(self.stores)} stores: {said}")
