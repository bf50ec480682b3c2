"""Where an index is kept: a SQLite file of its own for each chain, or a schema in PostgreSQL.

MODELPROOF_INDEX names another folder for the files, or a PostgreSQL by its URL.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    delete,
    event,
    insert,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import StaticPool

from ml.chain.index import tables
from ml.errors import ModelproofError

VARIABLE: Final = "MODELPROOF_INDEX"
DEFAULT_FOLDER: Final = ".index"
_BUSY_S: Final = 60
"""How long to wait for another process that writes."""
_MAKING: Final = 0x6D6F64656C70726F
"""The advisory lock in PostgreSQL under which tables are made."""


@dataclass(frozen=True, slots=True)
class ChainName:
    """Which chain an index is of."""

    chain_id: int
    genesis: str
    """The hash of block 0, as 0x and hex."""

    @property
    def label(self) -> str:
        """A name for files and schemas, of letters, digits and underscores."""
        return f"chain_{self.chain_id}_{self.genesis[2:14]}"


class IndexUnusable(ModelproofError):
    """The database of an index cannot be reached, read or written."""


def place_for(chain: ChainName, choice: str | None = None) -> URL:
    """Where the index of a chain is, by what a user named or else by MODELPROOF_INDEX.

    Args:
        chain: which one
        choice: a folder, or the URL of a PostgreSQL

    Raises:
        ModelproofError: it is a URL, and not of a PostgreSQL.
    """
    chosen = choice or os.environ.get(VARIABLE) or DEFAULT_FOLDER
    if "://" not in chosen:
        return URL.create("sqlite", database=str(Path(chosen) / f"{chain.label}.sqlite"))
    try:
        url = make_url(chosen)
        backend = url.get_backend_name()
    except (ArgumentError, ValueError):
        backend = ""
    if backend != "postgresql":
        raise ModelproofError(
            "an index is in a folder or in a PostgreSQL (postgresql://user@host/database):"
            f" see --index and {VARIABLE}."
        )
    return url.set(drivername="postgresql+psycopg")


IN_MEMORY: Final = URL.create("sqlite")
"""The place for an index that ends with the process."""


class Database:
    """The tables of one chain's index, and the two ways to them: to read, and to write."""

    def __init__(self, url: URL, chain: ChainName, *, anew: bool = False) -> None:
        """Open the tables, or make them.

        Args:
            url: where: see `place_for`
            chain: whose index it is
            anew: empty them first, even if they cannot be read

        Raises:
            IndexUnusable: there is no such database.
            ModelproofError: it is of another chain.
        """
        self.url = url
        self.chain = chain
        self._is_sqlite = url.get_backend_name() == "sqlite"
        self._in_memory = self._is_sqlite and not url.database
        self._sharing = threading.RLock() if self._in_memory else nullcontext()
        try:
            self._engine = self._connect()
        except OSError as error:
            raise self._unusable(error.strerror or type(error).__name__) from error
        with self._plainly():
            self.remake() if anew else self._make()

    def __str__(self) -> str:
        """Return where it is, without a password."""
        if self._in_memory:
            return "in memory"
        if self._is_sqlite:
            return str(self.url.database)
        return f"{self.url.render_as_string(hide_password=True)}, schema {self.chain.label}"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """See the tables as they are at one moment, whoever writes meanwhile.

        Raises:
            IndexUnusable: the database cannot be read.
        """
        with self._plainly(), self._sharing, self._engine.begin() as connection:
            self._keep_tables(connection)
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Change the tables, alone: all of it or, if the block raises or is killed, nothing.

        Raises:
            IndexUnusable: the database cannot be written.
        """
        with self._plainly(), self._sharing, self._writer() as connection:
            connection.execute(select(tables.state).with_for_update()).all()
            yield connection

    def remake(self) -> None:
        """Empty it, even if it cannot be read; who reads it meanwhile sees all of it, or nothing.

        Raises:
            IndexUnusable: the database cannot be written.
        """
        with self._plainly():
            if not self._is_sqlite and self._is_made(whole=True):
                self._empty()
                return
            try:
                self._make(anew=True)
            except DBAPIError as error:
                is_damaged = not isinstance(error, OperationalError)  # not locked, full, read-only
                if self._in_memory or not self._is_sqlite or not is_damaged:
                    raise
                self._engine.dispose()
                for suffix in ("", "-wal", "-shm"):
                    Path(f"{self.url.database}{suffix}").unlink(missing_ok=True)
                self._engine = self._connect()
                self._make()

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()

    def _connect(self) -> Engine:
        if not self._is_sqlite:
            engine = create_engine(self.url, isolation_level="REPEATABLE READ")
            return engine.execution_options(schema_translate_map={None: self.chain.label})
        options: dict[str, Any] = {"connect_args": {"timeout": _BUSY_S}}
        if self._in_memory:
            options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
        else:
            Path(str(self.url.database)).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(self.url, **options)
        event.listen(engine, "connect", _set_sqlite_up)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    @contextmanager
    def _writer(self) -> Iterator[Connection]:
        engine = self._engine.execution_options(writes=True)
        if not self._is_sqlite:  # whoever waited for a lock has to see what was done meanwhile
            engine = engine.execution_options(isolation_level="READ COMMITTED")
        with engine.begin() as connection:
            yield connection

    def _make(self, *, anew: bool = False) -> None:
        if not anew and self._is_made():
            return
        with self._sharing, self._writer() as connection:
            if not self._is_sqlite:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_MAKING})"))
                connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {self.chain.label}"))
                if inspect(connection).has_table(tables.state.name, self.chain.label):
                    self._keep_tables(connection, "ACCESS EXCLUSIVE")  # nobody is in any then
            if anew:
                tables.metadata.drop_all(connection)
            tables.metadata.create_all(connection)
            if self._format(connection) != tables.FORMAT:
                tables.metadata.drop_all(connection)
                tables.metadata.create_all(connection)
                named = {"chain_id": self.chain.chain_id, "genesis": self.chain.genesis}
                connection.execute(insert(tables.state).values(format=tables.FORMAT, **named))

    def _empty(self) -> None:
        """Delete all rows, in one step: tables that were dropped would be missed by readers."""
        with self.writing() as connection:
            for table in tables.metadata.sorted_tables:
                if table is not tables.state:
                    connection.execute(delete(table))

    def _keep_tables(self, connection: Connection, mode: str = "ACCESS SHARE") -> None:
        """Let nobody drop the tables in PostgreSQL before the transaction ends.

        Who is about to drop them takes the same lock first, and nobody else's can come in between.
        Unlike a query, this waits before the transaction's view of the rows is fixed.
        """
        if not self._is_sqlite:
            connection.execute(
                text(f"LOCK TABLE {self.chain.label}.{tables.state.name} IN {mode} MODE")
            )

    def _is_made(self, *, whole: bool = False) -> bool:
        """Whether the tables are there; where ``whole``, all of them with all of their columns."""
        try:
            with self._sharing, self._engine.begin() as connection:
                self._keep_tables(connection)
                for table in tables.metadata.sorted_tables if whole else ():
                    connection.execute(select(table).limit(0))
                return self._format(connection) == tables.FORMAT
        except DBAPIError:  # there are no tables yet; if it is anything else, making them tells
            return False

    def _format(self, connection: Connection) -> int | None:
        found = connection.execute(select(tables.state)).first()
        if found is None:
            return None
        if found.format == tables.FORMAT and found.genesis != self.chain.genesis:
            raise ModelproofError(f"the index {self} is of another chain: name another place.")
        return int(found.format)

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Say in a sentence what the database has against it."""
        try:
            yield
        except DBAPIError as error:
            lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
            raise self._unusable(lines[0]) from error

    def _unusable(self, reason: str) -> IndexUnusable:
        return IndexUnusable(
            f"the index ({self}) cannot be used: {reason}; `ape run index rebuild` makes a damaged"
            " one anew, and --index names another place."
        )


def _set_sqlite_up(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # it would begin transactions when it sees fit
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")  # the chain has all of it
        except sqlite3.OperationalError as error:  # one who changes the mode waits for nobody
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
