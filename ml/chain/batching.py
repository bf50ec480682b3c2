"""Recording what arrives one by one: each statement is in a batch, and on record, a moment later.

A statement is on the disk before `BatchRecorder.add` returns. Once a second, what has arrived since
becomes one batch, which one record of the log stands for. A process that is killed in between
leaves statements that the next one batches, or a batch that the next one records: none twice, none
lost.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from ml.chain.log_proofs import BatchProof, LogPlace
from ml.chain.log_records import MAX_COUNT, Batch, LogRecord, RecordKind, Statement
from ml.chain.recording import record_once
from ml.errors import ModelproofError

if TYPE_CHECKING:
    from ape.api import AccountAPI

    from ml.chain.provenance_log import ProvenanceLog

INTERVAL_S: Final = 1.0
_FORMAT: Final = 1
_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE batches (
    id INTEGER PRIMARY KEY,
    recorded INTEGER NOT NULL DEFAULT 0 CHECK (recorded IN (0, 1))
) STRICT;
CREATE TABLE statements (
    id INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    count INTEGER NOT NULL,
    metadata BLOB NOT NULL CHECK (length(metadata) = 32),
    batch INTEGER REFERENCES batches (id)
) STRICT;
CREATE INDEX statements_by_batch ON statements (batch);
PRAGMA user_version = {_FORMAT};
COMMIT;
"""


@dataclass(frozen=True, slots=True)
class Proven:
    """A statement that is on record, in a batch."""

    proof: BatchProof
    """From the statement to the batch's root."""
    record: LogRecord
    """The log's of that root."""


class BatchRecorder:
    """Records statements in batches, from any number of threads: ``with BatchRecorder(…) as to:``.

    Args:
        log: where to
        place: the same log, as proofs name it
        sender: who records
        path: a file for what has not been recorded yet; one per process
        interval_s: how long statements are collected

    Leaving the block records what is left. A batch that could not be recorded stays in the file and
    is tried again; the futures of its statements raise why.
    """

    def __init__(
        self,
        log: ProvenanceLog,
        place: LogPlace,
        sender: AccountAPI,
        path: Path,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._log = log
        self._place = place
        self._sender = sender
        self._path = path
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._futures: dict[int, Future[Proven]] = {}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._record_regularly, daemon=True)
        with self._failing_clearly():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self._database.execute(f"PRAGMA {pragma}").fetchall()
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._database.executescript(_SCHEMA)
            elif version != _FORMAT:
                raise ModelproofError(f"{path} has format {version}: this reads {_FORMAT}.")

    def add(self, statement: Statement) -> Future[Proven]:
        """Take a statement, durably; the future holds its proof once its batch is in a block.

        Raises:
            ModelproofError: it cannot be written down.
        """
        future: Future[Proven] = Future()
        with self._lock, self._failing_clearly():
            done = self._database.execute(
                "INSERT INTO statements (kind, digest, count, metadata) VALUES (?, ?, ?, ?)",
                (int(statement.kind), statement.digest, statement.count, statement.metadata),
            )
            self._futures[int(done.lastrowid or 0)] = future
        return future

    def record_now(self) -> list[Proven]:
        """Record what has arrived, and what earlier runs left; returns the proof of each."""
        with self._lock, self._failing_clearly():
            self._gather()
            rows = self._database.execute("SELECT id FROM batches WHERE NOT recorded ORDER BY id")
            waiting = [number for (number,) in rows.fetchall()]
        return [proven for number in waiting for proven in self._record(number)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends.set()
        self._thread.join()
        try:
            if kind is None:
                self.record_now()
        finally:
            self._database.close()

    def _record_regularly(self) -> None:
        while not self._ends.wait(self._interval_s):
            try:
                self.record_now()
            except Exception as error:  # noqa: BLE001 (whoever waits for a proof is told)
                self._fail(error)

    def _gather(self) -> None:
        """Put what has arrived into a new batch."""
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

    def _record(self, number: int) -> list[Proven]:
        with self._lock, self._failing_clearly():
            rows = self._database.execute(
                "SELECT id, kind, digest, count, metadata FROM statements WHERE batch = ?"
                " ORDER BY id",
                (number,),
            ).fetchall()
        statements = [Statement(RecordKind(kind), *rest) for _, kind, *rest in rows]
        batch = Batch(statements)
        entry = record_once(
            self._log, RecordKind.BATCH, batch.root, sender=self._sender, count=len(batch)
        )
        with self._lock, self._failing_clearly():
            self._database.execute("UPDATE batches SET recorded = 1 WHERE id = ?", (number,))
        proven = [Proven(self._prove(batch, statement), entry.record) for statement in statements]
        self._tell([number for number, *_ in rows], proven)
        return proven

    def _prove(self, batch: Batch, statement: Statement) -> BatchProof:
        siblings = tuple(batch.proof(statement))
        return BatchProof(self._place, str(self._sender.address), batch.root, statement, siblings)

    def _tell(self, numbers: Sequence[int], proven: Sequence[Proven]) -> None:
        for number, one in zip(numbers, proven, strict=True):
            with self._lock:
                future = self._futures.pop(number, None)
            if future is not None:  # else an earlier run was to be told
                future.set_result(one)

    def _fail(self, error: Exception) -> None:
        with self._lock:
            futures, self._futures = self._futures, {}
        for future in futures.values():
            future.set_exception(error)

    @contextmanager
    def _failing_clearly(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise ModelproofError(
                f"{self._path} cannot be used ({error}): what it does not hold is not recorded."
            ) from error
