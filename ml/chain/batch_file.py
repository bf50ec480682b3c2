"""The file of a `BatchRecorder`: each statement that came, and the batch that it is recorded in.

SQLite, in a write-ahead log with ``synchronous=FULL``: what was written is on the disk. One process
at a time writes a file, which a lock beside it (flock(2)) sees to: the kernel lets go of it if the
process dies. Others may read it meanwhile, as fsck does.
"""

from __future__ import annotations

import fcntl
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from ml.artifact.errors import quoted_path
from ml.chain.log_proofs import LogPlace
from ml.chain.log_records import MAX_COUNT, RecordKind, Statement
from ml.chain.outbox.opening import journal_path
from ml.errors import ModelproofError

if TYPE_CHECKING:
    from ml.chain.session import Session

_APPLICATION: Final = 0x4D504246
"""In the file's header: by it a file of batches is told from other databases."""
_FORMAT: Final = 2
_JOURNAL: Final = re.compile(r"\d+-[0-9a-f]{16}")
"""The name of a chain's journal."""
_PATIENCE_S: Final = 1.0
_PAUSE_S: Final = 0.01
_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE recorder (
    chain_id INTEGER NOT NULL,
    genesis TEXT NOT NULL,
    log TEXT NOT NULL,
    submitter TEXT NOT NULL
) STRICT;
CREATE TABLE batches (
    id INTEGER PRIMARY KEY,
    root BLOB CHECK (length(root) = 32) -- once it is on record
) STRICT;
CREATE TABLE statements (
    id INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    count INTEGER NOT NULL,
    metadata BLOB NOT NULL CHECK (length(metadata) = 32),
    batch INTEGER REFERENCES batches (id),
    UNIQUE (digest, kind, count, metadata)
) STRICT;
CREATE INDEX statements_by_batch ON statements (batch);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_FORMAT};
COMMIT;
"""


class BatchFileError(ModelproofError):
    """The file cannot be read or written, or is of something else: nothing is taken then."""


@dataclass(frozen=True, slots=True)
class Recorder:
    """Who records where."""

    place: LogPlace
    submitter: str

    def is_on(self, session: Session) -> bool:
        """Whether that is on a session's chain."""
        return (self.place.chain_id, self.place.genesis) == (session.chain_id, session.genesis)


@dataclass(frozen=True, slots=True)
class Taken:
    """A statement that is in a file."""

    number: int
    batch: int | None
    """None if it is in none yet."""
    is_recorded: bool
    """Whether the batch is on record, as far as the file knows."""


@dataclass(frozen=True, slots=True)
class KeptBatch:
    """A batch, as a file has it."""

    number: int
    root: bytes | None
    """None if it is not on record, as far as the file knows."""
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """All that is in a file."""

    of: Recorder
    loose: tuple[Statement, ...]
    """What is in no batch yet."""
    batches: tuple[KeptBatch, ...]

    @property
    def waiting(self) -> int:
        """How many statements are not on record, as far as the file knows."""
        return len(self.loose) + sum(len(b.statements) for b in self.batches if b.root is None)


class BatchFile:
    """A file that this process writes; any number of its threads. Close it after use.

    Args:
        path: made if missing
        of: whose it is

    Raises:
        BatchFileError: another process writes it, it cannot be used, or is somebody else's.
    """

    def __init__(self, path: Path, of: Recorder) -> None:
        self.path = path
        self._lock = threading.RLock()
        with _failing_clearly(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._held = _lock_path(path).open("w")
            try:
                _take(self._held, path)
                self._database = _connect(path)
                try:
                    self._open(of)
                except BaseException:
                    self._database.close()
                    raise
            except BaseException:
                self._held.close()
                raise

    def close(self) -> None:
        """Close it, and let others have it."""
        with self._lock:
            self._database.close()
            self._held.close()

    def add(self, statement: Statement) -> Taken:
        """Write a statement down, unless it is there already."""
        values = (statement.digest, int(statement.kind), statement.count, statement.metadata)
        with self._lock, _failing_clearly(self.path):
            self._database.execute(
                "INSERT INTO statements (digest, kind, count, metadata) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                values,
            )
            number, batch, root = self._database.execute(
                "SELECT statements.id, batch, root FROM statements"
                " LEFT JOIN batches ON batches.id = batch"
                " WHERE digest = ? AND kind = ? AND count = ? AND metadata = ?",
                values,
            ).fetchone()
        return Taken(number, batch, root is not None)

    def gather(self) -> None:
        """Put what is in no batch into new ones, of a million at most."""
        with self._lock, _failing_clearly(self.path):
            while self._gather():
                pass

    def waiting(self) -> list[int]:
        """The batches that are not noted to be on record, the oldest first."""
        with self._lock, _failing_clearly(self.path):
            rows = self._database.execute("SELECT id FROM batches WHERE root IS NULL ORDER BY id")
            return [number for (number,) in rows]

    def statements(self, batch: int) -> Mapping[int, Statement]:
        """What is in a batch, by its number in the file, in the order in which it came."""
        with self._lock, _failing_clearly(self.path):
            return _statements(self._database, "batch = ?", batch)

    def note(self, batch: int, root: bytes) -> None:
        """A batch is on record."""
        with self._lock, _failing_clearly(self.path):
            self._database.execute("UPDATE batches SET root = ? WHERE id = ?", (root, batch))

    def _gather(self) -> bool:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            number = self._database.execute("INSERT INTO batches DEFAULT VALUES").lastrowid
            done = self._database.execute(
                "UPDATE statements SET batch = ? WHERE id IN"
                " (SELECT id FROM statements WHERE batch IS NULL ORDER BY id LIMIT ?)",
                (number, MAX_COUNT),
            )
            self._database.execute("COMMIT" if done.rowcount else "ROLLBACK")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        return done.rowcount > 0

    def _open(self, of: Recorder) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._database.execute(f"PRAGMA {pragma}").fetchall()
        if not self._database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            self._database.executescript(_SCHEMA)
        version = _format(self._database)
        if version != _FORMAT:
            what = "something else" if version is None else f"a file of batches of format {version}"
            raise BatchFileError(f"{quoted_path(self.path)} is {what}: name another file.")
        values = (of.place.chain_id, of.place.genesis, of.place.address, of.submitter)
        self._database.execute(
            "INSERT INTO recorder SELECT ?, ?, ?, ? WHERE NOT EXISTS (SELECT * FROM recorder)",
            values,
        )
        found = _recorder(self._database)
        if found != of:
            raise BatchFileError(
                f"{quoted_path(self.path)} is what {found.submitter} records in the log"
                f" {found.place.address} on chain {found.place.chain_id} that began with block"
                f" {found.place.genesis[:10]}…, and this is another recorder: name another file."
            )


def read(path: Path) -> Kept | None:
    """All that is in a file, whoever writes it; None if it is of something else, or empty.

    Raises:
        BatchFileError: it cannot be read.
    """
    with _failing_clearly(path), closing(_connect(path, "ro")) as database:
        database.execute("BEGIN")  # all of one moment
        if _format(database) is None:
            return None
        if database.execute("SELECT count(*) FROM recorder").fetchone() == (0,):
            return None
        batches = database.execute("SELECT id, root FROM batches ORDER BY id").fetchall()
        return Kept(
            _recorder(database),
            tuple(_statements(database, "batch IS NULL").values()),
            tuple(
                KeptBatch(number, root, tuple(_statements(database, "batch = ?", number).values()))
                for number, root in batches
            ),
        )


def files_of(session: Session) -> list[Path]:
    """The files that may be of batches, of this chain or another: beside the chain's journal."""
    folder = journal_path(session.chain_id, session.genesis).parent
    return [one for one in sorted(folder.glob("*.sqlite")) if not _JOURNAL.fullmatch(one.stem)]


def is_in_use(path: Path) -> bool:
    """Whether a process writes a file now."""
    try:
        with _lock_path(path).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _take(file: IO[str], path: Path) -> None:
    """Hold a file's lock, which whoever asks whether it is in use holds for a moment too."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise BatchFileError(
                    f"{quoted_path(path)} is in use by another recorder: each has a file of its"
                    " own."
                ) from None
            time.sleep(_PAUSE_S)
        else:
            return


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _connect(path: Path, mode: str = "rwc") -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,  # transactions begin and end where this says so
        check_same_thread=False,
    )


def _format(database: sqlite3.Connection) -> int | None:
    """Of a file of batches; None if it is of something else."""
    if database.execute("PRAGMA application_id").fetchone() != (_APPLICATION,):
        return None
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _recorder(database: sqlite3.Connection) -> Recorder:
    row = database.execute("SELECT chain_id, genesis, log, submitter FROM recorder").fetchone()
    return Recorder(LogPlace(*row[:3]), row[3])


def _statements(
    database: sqlite3.Connection, which: str, *values: object
) -> Mapping[int, Statement]:
    rows = database.execute(
        f"SELECT id, kind, digest, count, metadata FROM statements WHERE {which}"  # noqa: S608 (ours)
        " ORDER BY id",
        values,
    )
    return {number: Statement(RecordKind(kind), *rest) for number, kind, *rest in rows}


@contextmanager
def _failing_clearly(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, ValueError) as error:  # a ValueError: no such kind
        raise BatchFileError(
            f"{quoted_path(path)} cannot be used ({error}): what it does not hold is not recorded."
        ) from error
