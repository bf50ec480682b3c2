"""A run's journal as a file of SQLite: WAL mode, plain statements, and errors in one sentence."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml.errors import ModelproofError


class RunJournalError(ModelproofError):
    """The journal of a run cannot be used, or is that of another run."""


class Database:
    """A database for one thread.

    Args:
        path: of the file, which is made if there is none; None for one in memory
        tables: statements that make what is not there

    Raises:
        RunJournalError: it cannot be used.
    """

    def __init__(self, path: Path | None, tables: str) -> None:
        self._path = path
        with self._said():
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=10)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(tables)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _rows(self, query: str, *values: object) -> list[Any]:
        with self._said():
            return self._db.execute(query, values).fetchall()

    def _write(self, statement: str, *values: object) -> None:
        with self._said():
            self._db.execute(statement, values)

    @contextmanager
    def _synced(self) -> Iterator[None]:
        """Have what is written in the block on the disk at its end."""
        with self._said():
            self._db.execute("PRAGMA synchronous = FULL")
            try:
                yield
            finally:
                self._db.execute("PRAGMA synchronous = NORMAL")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._said():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except (OSError, OverflowError, sqlite3.Error) as error:
            raise RunJournalError(
                f"the run's journal {self._path} cannot be used ({error}): see that its disk has"
                " room and can be written."
            ) from error
