"""An index of one chain's events: brought up to date, then read, as of one block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection

from ml.chain import logs
from ml.chain.contract import DeployedContract
from ml.chain.index import queries, tables
from ml.chain.index.blocks import BlockSource, Header
from ml.chain.index.database import IN_MEMORY, ChainName, Database, place_for
from ml.chain.index.following import MOST_READINGS, Follower, Progress, tip_of
from ml.chain.index.queries import Ancestor, Search
from ml.chain.index.rows import Followed, events_of
from ml.chain.logs import Event, Topics
from ml.chain.outbox.rpc import Rpc
from ml.chain.outbox.settings import finality_depth
from ml.chain.session import Session
from ml.errors import ModelproofError

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Found:
    """An event that a search found."""

    event: Event
    contract: str
    """Whose it is."""
    time: int
    """Of its block, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """What is in an index."""

    place: str
    tip: Header
    """The last block that it has."""
    final: int
    """The last block that will stay, as far as one can tell on this network."""
    events: Sequence[tuple[Followed, int]]
    """The contracts, and how many of each there are."""
    digest: bytes
    """Of all of it: the same for whoever indexed the same blocks."""


class EventIndex:
    """The events of some contracts on one chain."""

    def __init__(
        self,
        database: Database,
        source: BlockSource,
        contracts: Sequence[Followed],
        finality: int,
    ) -> None:
        """Put an index together; nothing is read.

        Args:
            database: where it is
            source: the chain
            contracts: whose events
            finality: after how many blocks a block stays
        """
        self.database = database
        self._source = source
        self._follower = Follower(database, source, contracts, finality)
        self._finality = finality
        self._reached: Header | None = None
        """How far it was brought up to date here."""

    def __str__(self) -> str:
        """Return where it is."""
        return str(self.database)

    @property
    def contracts(self) -> Mapping[bytes, Followed]:
        """The contracts whose events it has, by their addresses."""
        return self._follower.contracts

    def update(self) -> Progress:
        """Bring it up to the chain's last block.

        Raises:
            NotVerified: the node tells what cannot be.
            IndexUnusable: the database cannot be read or written.
            ModelproofError: the chain changes faster than it can be read, or the node refuses.
        """
        progress = self._follower.update()
        self._reached = progress.tip
        return progress

    def rebuild(self) -> Progress:
        """Forget everything and read it from the chain again.

        Raises:
            NotVerified: the node tells what cannot be.
            IndexUnusable: the database cannot be written.
            ModelproofError: the chain changes faster than it can be read, or the node refuses.
        """
        self.database.remake()
        return self.update()

    def close(self) -> None:
        """Close its database."""
        self.database.close()

    def beside(self) -> EventIndex:
        """Another index of the same, empty and in memory."""
        chain = self.database.chain
        contracts = list(self.contracts.values())
        return EventIndex(Database(IN_MEMORY, chain), self._source, contracts, self._finality)

    def search(self, address: str, topics: Topics) -> tuple[list[Event], Header]:
        """The events of a contract that match a filter, oldest first, and as of which block.

        Raises:
            NotVerified: what is in the index cannot be.
        """
        contract = bytes.fromhex(address[2:])
        rows, tip = self._read(lambda connection: queries.matching(connection, contract, topics))
        return events_of(rows, self.contracts), tip

    def find(self, search: Search, limit: int | None = None) -> tuple[list[Found], Header]:
        """The events that a search finds, the latest first, and as of which block.

        Raises:
            NotVerified: what is in the index cannot be.
        """
        rows, tip = self._read(lambda connection: queries.found(connection, search, limit))
        events = events_of(rows, self.contracts)
        return [
            Found(event, self.contracts[row.contract].text, row.time)
            for event, row in zip(events, rows, strict=True)
        ], tip

    def lineage(self, address: str, model: bytes, version: int) -> tuple[list[Ancestor], Header]:
        """A version and where it comes from, across forks, and as of which block.

        This is what the node said when it was indexed: `history.lineage` holds it against the
        heads on chain.

        Raises:
            ModelproofError: there is no such version in the index.
        """
        contract = bytes.fromhex(address[2:])
        return self._read(lambda reader: queries.lineage(reader, contract, model, version))

    def status(self) -> IndexStatus:
        """What is in it."""
        (counted, digest), tip = self._read(
            lambda connection: (
                queries.counts(connection, self.contracts),
                tables.content_digest(connection),
            )
        )
        return IndexStatus(
            place=str(self.database),
            tip=tip,
            final=max(tip.number - self._finality, 0),
            events=[(self.contracts[address], count) for address, count in counted.items()],
            digest=digest,
        )

    def _read(self, query: Callable[[Connection], Result]) -> tuple[Result, Header]:
        """Read at one moment, and no earlier block than the index was brought up to here.

        Others may have made it anew since, or gone back to another branch.

        Raises:
            ModelproofError: it is empty, or others take it back faster than it can be read.
        """
        for _ in range(MOST_READINGS):
            with self.database.reading() as connection:
                tip = tip_of(connection)
                if self._reached is None or (tip and tip.number >= self._reached.number):
                    return query(connection), _there(tip)
            self.update()
        raise ModelproofError(
            f"the index was taken back {MOST_READINGS} times while it was read: find out what makes"
            " it anew, and try again."
        )

    def topics_of(self, names: Sequence[str]) -> tuple[bytes, ...]:
        """The first topics of events of some names.

        Raises:
            ModelproofError: no contract has events of such a name.
        """
        abis = [abi for contract in self.contracts.values() for abi in contract.abis]
        for name in names:
            if name not in {abi.name for abi in abis}:
                known = ", ".join(sorted({abi.name for abi in abis}))
                raise ModelproofError(f"there are no events {name}: use one of {known}.")
        chosen = {logs.topic_of(abi) for abi in abis if abi.name in names}
        return tuple(sorted(bytes.fromhex(topic[2:]) for topic in chosen))


def open_index(
    session: Session,
    contracts: Sequence[DeployedContract],
    choice: str | None = None,
    *,
    anew: bool = False,
) -> EventIndex:
    """The index of a session's chain; in memory, if the chain ends with the process.

    Args:
        session: the chain
        contracts: whose events are to be in it, besides those that are
        choice: where, instead of where MODELPROOF_INDEX says: a folder, or a PostgreSQL's URL
        anew: empty it first, even if it cannot be read

    Raises:
        ModelproofError: there is no such place.
    """
    chain = ChainName(session.chain_id, session.genesis)
    if not session.is_lasting:
        return index_in_memory(session, contracts)
    return _index(session, contracts, Database(place_for(chain, choice), chain, anew=anew))


def index_in_memory(session: Session, contracts: Sequence[DeployedContract]) -> EventIndex:
    """An index of a session's chain that ends with the process."""
    chain = ChainName(session.chain_id, session.genesis)
    return _index(session, contracts, Database(IN_MEMORY, chain))


def _index(
    session: Session, contracts: Sequence[DeployedContract], database: Database
) -> EventIndex:
    return EventIndex(
        database,
        BlockSource(Rpc.of(session.provider)),
        [followed(contract) for contract in contracts],
        finality_depth(session.network),
    )


def followed(contract: DeployedContract) -> Followed:
    """A deployed contract as one whose events are indexed."""
    kind = contract.contract.contract_type
    address = bytes.fromhex(contract.address[2:])
    return Followed(str(kind.name), address, contract.deployed_at, list(kind.events))


def _there(tip: Header | None) -> Header:
    if tip is None:
        raise ModelproofError("the index is empty: bring it up to date first.")
    return tip
