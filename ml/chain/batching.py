"""Recording what arrives one by one: each statement is in a batch, and on record, a moment later.

A statement is on the disk before `BatchRecorder.add` returns. Once a second, what has arrived since
becomes one batch, which one record of the log stands for. A process that is killed in between
leaves statements that the next one batches, or a batch that the next one records: none twice, none
lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from ape import project
from ape.contracts import ContractInstance

from ml.chain import batch_file
from ml.chain.batch_file import BatchFile, Kept, Recorder
from ml.chain.log_proofs import BatchProof, LogPlace
from ml.chain.log_records import MAX_COUNT, Batch, LogRecord, RecordKind, Statement
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.recording import record_once
from ml.errors import ModelproofError, NotVerified

if TYPE_CHECKING:
    from ape.api import AccountAPI

    from ml.chain.session import Session

INTERVAL_S: Final = 1.0


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
        path: a file for what has not been recorded yet, which one recorder at a time has
        interval_s: how long statements are collected

    Each future that `add` returns ends with a proof or an error, at the latest when the block is
    left, which records what there is. A batch that could not be recorded stays in the file and is
    tried again with each next one; the futures of its own statements raise why, and adding one of
    them again waits for it again.

    Raises:
        BatchFileError: the file is in use, or another recorder's, or cannot be used.
        ModelproofError: the log is not at that place.
    """

    def __init__(
        self,
        log: ProvenanceLog,
        place: LogPlace,
        sender: AccountAPI,
        path: Path,
        interval_s: float = INTERVAL_S,
    ) -> None:
        if (log.chain_id, log.address) != (place.chain_id, place.address):
            raise ModelproofError(
                f"the log {log.address} on chain {log.chain_id} is not the one that its proofs"
                f" would name, {place.address} on chain {place.chain_id}."
            )
        self._log = log
        self._place = place
        self._sender = sender
        self._path = path
        self._interval_s = interval_s
        self._recording = threading.Lock()
        """Held by the one thread that records."""
        self._lock = threading.Lock()
        """Held for a moment, by whoever adds a statement or takes a future."""
        self._futures: dict[int, Future[Proven]] = {}
        self._again: set[int] = set()
        """Batches on record of which somebody wants a proof."""
        self._is_closed = False
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._record_regularly, daemon=True)
        self._file = BatchFile(path, Recorder(place, str(sender.address)))

    def add(self, statement: Statement) -> Future[Proven]:
        """Take a statement, durably; the future holds its proof once its batch is in a block.

        A statement that the file has already, from an earlier run perhaps, is not recorded twice.

        Raises:
            BatchFileError: it cannot be written down.
            ModelproofError: the log would not take it as a record, or the recorder is closed.
        """
        _check(statement)
        with self._lock:
            if self._is_closed:
                raise ModelproofError(f"the recorder of {self._path} is closed: open another one.")
            taken = self._file.add(statement)
            if taken.is_recorded and taken.batch is not None:
                self._again.add(taken.batch)
            if taken.number not in self._futures:
                future: Future[Proven] = Future()
                future.set_running_or_notify_cancel()  # what is on the disk cannot be taken back
                self._futures[taken.number] = future
            return self._futures[taken.number]

    def record_now(self) -> list[Proven]:
        """Record what has arrived, and what earlier runs left; returns the proof of each.

        Raises:
            ModelproofError: a batch could not be recorded; the others are nevertheless.
        """
        proven, failures = self._round()
        if failures:
            raise failures[0]
        return proven

    def close(self) -> None:
        """Let others have the file; what is not recorded yet stays in it."""
        self._ends.set()
        with self._lock:
            self._is_closed = True
        waits = ModelproofError(
            f"it was not recorded before its recorder was closed: it stays in {self._path}, and"
            " the next recorder of that file records it."
        )
        with self._recording:
            self._fail(waits)
            self._file.close()

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
            self.close()

    def _record_regularly(self) -> None:
        while not self._ends.wait(self._interval_s):
            try:
                self._round()  # whoever waits for a proof is told what fails
            except BaseException as error:  # noqa: BLE001 (a thread that ended would tell nobody)
                what = f"recording was interrupted ({error!r}): add it again to wait for its proof."
                self._fail(ModelproofError(what))

    def _round(self) -> tuple[list[Proven], list[Exception]]:
        """Record each batch that is due; what fails is told to those that wait for it."""
        proven: list[Proven] = []
        failures: list[Exception] = []
        with self._recording:
            try:
                due = self._due()
            except Exception as error:  # noqa: BLE001 (passed on)
                self._fail(error)
                return [], [error]
            for number in due:
                concerned: Collection[int] | None = None
                try:
                    members = self._file.statements(number)
                    concerned = members.keys()
                    proven += self._record(number, members)
                except Exception as error:  # noqa: BLE001 (passed on)
                    self._fail(error, concerned)
                    failures.append(error)
        return proven, failures

    def _due(self) -> Sequence[int]:
        """The batches to record, now that what has arrived is in one."""
        with self._lock:
            self._file.gather()
            again, self._again = self._again, set()
        return sorted({*again, *self._file.waiting()})

    def _record(self, number: int, members: Mapping[int, Statement]) -> list[Proven]:
        batch = Batch(list(members.values()))
        entry = record_once(
            self._log, RecordKind.BATCH, batch.root, sender=self._sender, count=len(batch)
        )
        if (entry.record.kind, entry.record.count) != (RecordKind.BATCH, len(batch)):
            raise NotVerified(
                f"the node says that batch 0x{batch.root.hex()} is on record as something else:"
                " ask another node."
            )
        self._file.note(number, batch.root)
        proven = {one: self._prove(batch, entry.record, said) for one, said in members.items()}
        for one, told in proven.items():
            with self._lock:
                future = self._futures.pop(one, None)
            if future is not None:  # else nobody of this run has asked
                future.set_result(told)
        return list(proven.values())

    def _prove(self, batch: Batch, record: LogRecord, statement: Statement) -> Proven:
        siblings, sender = tuple(batch.proof(statement)), str(self._sender.address)
        return Proven(BatchProof(self._place, sender, batch.root, statement, siblings), record)

    def _fail(self, error: Exception, concerned: Collection[int] | None = None) -> None:
        """Tell those that wait for some statements, or for any, why there is no proof."""
        with self._lock:
            numbers = list(self._futures) if concerned is None else concerned
            found = [self._futures.pop(one) for one in numbers if one in self._futures]
        for future in found:
            future.set_exception(error)


def finish(session: Session, account: Callable[[str], AccountAPI]) -> list[tuple[Path, int]]:
    """Record what ended recorders left in the files beside a chain's journal.

    Args:
        session: the chain
        account: the account of an address

    Returns:
        the files, and how many statements of each are on record now that were not

    Raises:
        BatchFileError: a file cannot be read, or has come into use.
        ModelproofError: a batch could not be recorded, or ``account`` has none.
    """
    done = []
    for path, kept in left_in(session):
        contract = ContractInstance(kept.of.place.address, project.ProvenanceLog.contract_type)
        log, sender = ProvenanceLog(contract), account(kept.of.submitter)
        with closing(BatchRecorder(log, kept.of.place, sender, path)) as recorder:
            done.append((path, len(recorder.record_now())))
    return done


def left_in(session: Session) -> list[tuple[Path, Kept]]:
    """The files beside a chain's journal in which statements wait that no recorder is at.

    Raises:
        BatchFileError: one cannot be read.
    """
    idle = [path for path in batch_file.files_of(session) if not batch_file.is_in_use(path)]
    found = [(path, batch_file.read(path)) for path in idle]
    return [
        (path, kept) for path, kept in found if kept and kept.of.is_on(session) and kept.waiting
    ]


def _check(statement: Statement) -> None:
    """Refuse what the log would refuse, had it to record the statement by itself.

    Raises:
        ModelproofError: it would.
    """
    if statement.kind not in set(RecordKind) - {RecordKind.NONE}:
        raise ModelproofError("a statement has to be of a kind: name one.")
    if len(statement.digest) != 32 or not any(statement.digest):
        raise ModelproofError("a statement's digest has 32 bytes, not all of them zero.")
    if not 1 <= statement.count <= MAX_COUNT:
        raise ModelproofError(
            f"a statement stands for 1 to {MAX_COUNT} things, not for {statement.count}."
        )
    if len(statement.metadata) != 32:
        raise ModelproofError("the digest of a statement's metadata has 32 bytes.")
