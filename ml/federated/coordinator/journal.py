"""What a coordinator has done, on disk: after it was killed at any step, it goes on from there.

The chain decides what happened to versions; here is what the chain does not know: who takes part in
a round, which updates came, what was made of them and where it is stored, and which clients have
come back after a rollback. SQLite in WAL mode. A write that the machine's loss of power undoes is
one that is done again with the same result; what could not be is on the disk before it counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from ml.federated.sampling import RoundKey
from ml.federated.tasks import FinalModelInfo
from ml.training import canonical

from . import exclusions
from .database import RunJournalError
from .exclusions import Exclusions
from .news import RoundOver
from .records import BegunRound, MadeVersion, TakenUpdate

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS run (digest BLOB PRIMARY KEY, cid TEXT);
CREATE TABLE IF NOT EXISTS final (
    epoch INTEGER, version INTEGER, report TEXT NOT NULL, PRIMARY KEY (epoch, version));
CREATE TABLE IF NOT EXISTS rounds (
    epoch INTEGER, iteration INTEGER, base INTEGER NOT NULL, deadline INTEGER,
    is_closed INTEGER NOT NULL DEFAULT 0, version INTEGER, made TEXT, report TEXT,
    PRIMARY KEY (epoch, iteration));
CREATE INDEX IF NOT EXISTS by_version ON rounds (version);
CREATE TABLE IF NOT EXISTS participants (
    epoch INTEGER, iteration INTEGER, client INTEGER, failed TEXT,
    PRIMARY KEY (epoch, iteration, client));
CREATE TABLE IF NOT EXISTS updates (
    epoch INTEGER, iteration INTEGER, client INTEGER, digest BLOB NOT NULL, taken TEXT NOT NULL,
    PRIMARY KEY (epoch, iteration, client));
CREATE TABLE IF NOT EXISTS refusals (
    epoch INTEGER, iteration INTEGER, client INTEGER, refusal TEXT, reason TEXT, at INTEGER);
CREATE TABLE IF NOT EXISTS tasks (task_id TEXT PRIMARY KEY, task_type TEXT, body BLOB);
CREATE TABLE IF NOT EXISTS acknowledgements (
    epoch INTEGER, client INTEGER, reply BLOB, PRIMARY KEY (epoch, client));
CREATE TABLE IF NOT EXISTS rollbacks (
    epoch INTEGER PRIMARY KEY, target INTEGER NOT NULL, weights BLOB NOT NULL,
    is_settled INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS diagnoses (
    version INTEGER, iteration INTEGER, found TEXT, PRIMARY KEY (version, iteration));
"""


class RunJournal(Exclusions):
    """The journal of one run; for one thread.

    Args:
        path: of the file, which is made if there is none; None for one in memory
        run: the SHA-256 of the run's configuration

    Raises:
        RunJournalError: it cannot be used, or is that of another run.
    """

    def __init__(self, path: Path | None, run: bytes) -> None:
        super().__init__(path, _TABLES + exclusions.TABLES)
        self._write("INSERT OR IGNORE INTO run VALUES (?, NULL)", run)
        runs = self._rows("SELECT digest FROM run")
        if len(runs) > 1:
            self._write("DELETE FROM run WHERE digest = ?", run)
            raise RunJournalError(
                f"{path} is the journal of another run: name another --folder, or go on with the"
                " configuration that it was begun with."
            )
        self._earlier = self._digests()

    # The run

    @property
    def run_cid(self) -> str | None:
        """The object that holds the run's configuration, if it was stored."""
        ((cid,),) = self._rows("SELECT cid FROM run")
        return None if cid is None else str(cid)

    def store_run(self, cid: str) -> None:
        """Note where the run's configuration is stored."""
        self._write("UPDATE run SET cid = ?", cid)

    def final(self, epoch: int, version: int) -> FinalModelInfo | None:
        """The final report on a version in an epoch, if it was made: the holdout is read once."""
        rows = self._rows(
            "SELECT report FROM final WHERE epoch = ? AND version = ?", epoch, version
        )
        return canonical.load(FinalModelInfo, rows[0][0].encode(), "the report") if rows else None

    def finish(self, epoch: int, info: FinalModelInfo) -> None:
        """Note the final report of an epoch."""
        row = (epoch, info.final_model_version_id, canonical.dump(info))
        with self._synced():
            self._write("INSERT OR IGNORE INTO final VALUES (?, ?, ?)", *row)

    def participants(self) -> int:
        """How many clients have had an update taken."""
        ((count,),) = self._rows("SELECT count(DISTINCT client) FROM updates")
        return int(count)

    def bytes_stored(self) -> int:
        """How large the objects of all versions are, with what describes them."""
        ((total,),) = self._rows("SELECT sum(json_extract(made, '$.bytes_stored')) FROM rounds")
        return int(total or 0)

    def rounds(self) -> int:
        """How many rounds were begun, without those that were given up."""
        ((count,),) = self._rows("SELECT count(*) FROM rounds")
        return int(count)

    def note(self, task_id: str, task_type: str, body: bytes) -> None:
        """Write a task down, once; for whoever looks into what happened."""
        self._write("INSERT OR IGNORE INTO tasks VALUES (?, ?, ?)", task_id, task_type, body)

    def note_all(self, tasks: Iterable[tuple[str, str, bytes]]) -> None:
        """Write several down; each a task's id, its type and its body."""
        with self._transaction():
            self._db.executemany("INSERT OR IGNORE INTO tasks VALUES (?, ?, ?)", tasks)

    # Rounds

    def begin(
        self, key: RoundKey, base: int, clients: Iterable[int], deadline: int | None
    ) -> BegunRound:
        """Begin a round, or find how it was begun; one from another base is begun anew."""
        with self._transaction():
            gone = self._db.execute(
                "DELETE FROM rounds WHERE epoch = ? AND iteration = ? AND base != ?",
                (*key.values, base),
            ).rowcount
            if gone:
                self._delete(key)
            done = self._db.execute(
                "INSERT OR IGNORE INTO rounds (epoch, iteration, base, deadline)"
                " VALUES (?, ?, ?, ?)",
                (*key.values, base, deadline),
            )
            if done.rowcount:
                self._add(key, clients)
        if gone:
            self._earlier = self._digests()
        return self.begun(key)

    def begun(self, key: RoundKey) -> BegunRound:
        """How a round was begun.

        Raises:
            RunJournalError: it was not.
        """
        rows = self._rows(
            "SELECT base, deadline, is_closed FROM rounds WHERE epoch = ? AND iteration = ?",
            *key.values,
        )
        if not rows:
            raise RunJournalError(f"round {key.iteration} of epoch {key.epoch} was not begun here.")
        ((base, deadline, is_closed),) = rows
        who = self._rows(
            "SELECT client, failed FROM participants WHERE epoch = ? AND iteration = ?"
            " ORDER BY client",
            *key.values,
        )
        clients = tuple(client for client, _ in who)
        failed = tuple(client for client, reason in who if reason is not None)
        return BegunRound(key, base, clients, failed, deadline, bool(is_closed))

    def ask_more(self, key: RoundKey, clients: Iterable[int], deadline: int | None) -> BegunRound:
        """Let more clients take part, and give all until another deadline."""
        with self._transaction():
            self._add(key, clients)
            self._db.execute(
                "UPDATE rounds SET deadline = ? WHERE epoch = ? AND iteration = ?",
                (deadline, *key.values),
            )
        return self.begun(key)

    def try_again(self, key: RoundKey) -> BegunRound:
        """Wait again for those who said earlier that they cannot take part."""
        self._write(
            "UPDATE participants SET failed = NULL WHERE epoch = ? AND iteration = ?", *key.values
        )
        return self.begun(key)

    def fail(self, key: RoundKey, client: int, reason: str) -> None:
        """Note that a client cannot take part."""
        self._write(
            "UPDATE participants SET failed = ? WHERE epoch = ? AND iteration = ? AND client = ?",
            reason,
            *key.values,
            client,
        )

    def take(self, key: RoundKey, digest: bytes, update: TakenUpdate) -> None:
        """Note an update that was admitted."""
        row = (*key.values, update.client, digest, canonical.dump(update))
        self._write("INSERT OR IGNORE INTO updates VALUES (?, ?, ?, ?, ?)", *row)
        self._earlier.add(digest)

    def taken(self, key: RoundKey) -> list[TakenUpdate]:
        """The updates of a round, in the order of their clients."""
        query = "SELECT taken FROM updates WHERE epoch = ? AND iteration = ? ORDER BY client"
        rows = self._rows(query, *key.values)
        return [canonical.load(TakenUpdate, text.encode(), "an update") for (text,) in rows]

    def is_repetition(self, key: RoundKey, client: int, digest: bytes) -> bool:
        """Whether this very update is in the round already."""
        if digest not in self._earlier:
            return False
        query = (
            "SELECT 1 FROM updates WHERE epoch = ? AND iteration = ? AND client = ? AND digest = ?"
        )
        return bool(self._rows(query, *key.values, client, digest))

    @property
    def digests(self) -> frozenset[bytes] | set[bytes]:
        """The digests of all updates that were taken."""
        return self._earlier

    def refuse(self, key: RoundKey, client: int, refusal: str, reason: str, at: int) -> None:
        """Note an update that was refused, and why."""
        row = (*key.values, client, refusal, reason, at)
        self._write("INSERT INTO refusals VALUES (?, ?, ?, ?, ?, ?)", *row)

    def refusals(self) -> list[tuple[int, int, int, str, str]]:
        """All updates that were refused: epoch, iteration, client, refusal, reason."""
        return self._rows(
            "SELECT epoch, iteration, client, refusal, reason FROM refusals ORDER BY rowid"
        )

    def unmade(self, epoch: int) -> list[RoundKey]:
        """The rounds before an epoch of which no version was made."""
        query = "SELECT epoch, iteration FROM rounds WHERE made IS NULL AND epoch < ?"
        return [RoundKey(*row) for row in self._rows(query, epoch)]

    def forget(self, key: RoundKey) -> None:
        """Forget a round from which no version is going to be made."""
        with self._transaction():
            self._delete(key)
        self._earlier = self._digests()

    def close_round(self, key: RoundKey) -> None:
        """Take no more updates."""
        self._write(
            "UPDATE rounds SET is_closed = 1 WHERE epoch = ? AND iteration = ?", *key.values
        )

    def make(self, key: RoundKey, made: MadeVersion) -> None:
        """Note what was made of a round, and stored; not even a loss of power undoes it."""
        with self._synced():
            self._write(
                "UPDATE rounds SET made = ?, version = ? WHERE epoch = ? AND iteration = ?",
                canonical.dump(made),
                made.version,
                *key.values,
            )

    def made(self, key: RoundKey) -> MadeVersion | None:
        """What was made of a round, if anything was."""
        return _made(
            self._rows("SELECT made FROM rounds WHERE epoch = ? AND iteration = ?", *key.values)
        )

    def round_of(self, version: int) -> tuple[RoundKey, MadeVersion] | None:
        """The round that a version was made of, if it was made here; the last one, if several."""
        rows = self._rows(
            "SELECT epoch, iteration, made FROM rounds WHERE version = ?"
            " ORDER BY epoch DESC LIMIT 1",
            version,
        )
        made = _made([row[2:] for row in rows])
        return (RoundKey(*rows[0][:2]), made) if made else None

    def unmake(self, key: RoundKey, gone: Iterable[int]) -> None:
        """Open a round again, whose version has to be made without the updates of some clients."""
        with self._transaction():
            self._db.executemany(
                "DELETE FROM updates WHERE epoch = ? AND iteration = ? AND client = ?",
                [(*key.values, client) for client in gone],
            )
            self._db.execute(
                "UPDATE rounds SET made = NULL, version = NULL, is_closed = 0"
                " WHERE epoch = ? AND iteration = ?",
                key.values,
            )
        self._earlier = self._digests()

    def report(self, key: RoundKey, over: RoundOver) -> None:
        """Note how a round went, for tables."""
        self._write(
            "UPDATE rounds SET report = ? WHERE epoch = ? AND iteration = ?",
            canonical.dump(over),
            *key.values,
        )

    def is_reported(self, key: RoundKey) -> bool:
        """Whether it is noted how a round went."""
        query = "SELECT report FROM rounds WHERE epoch = ? AND iteration = ?"
        return self._rows(query, *key.values) not in ([], [(None,)])

    def reports(self) -> list[RoundOver]:
        """How the rounds went that are over, in their order."""
        rows = self._rows(
            "SELECT report FROM rounds WHERE report NOT NULL ORDER BY iteration, epoch"
        )
        return [canonical.load(RoundOver, text.encode(), "a report") for (text,) in rows]

    # Rollbacks

    def go_back(self, epoch: int, target: int, weights: bytes) -> None:
        """Note the version that clients are brought back to in an epoch, and its identity.

        If it was another one before, since the chain has been reorganised, nothing counts that was
        acknowledged.
        """
        if self.target(epoch) in (None, (target, weights)):
            self._write(
                "INSERT OR IGNORE INTO rollbacks VALUES (?, ?, ?, FALSE)", epoch, target, weights
            )
            return
        with self._transaction():
            self._db.execute("DELETE FROM acknowledgements WHERE epoch = ?", (epoch,))
            self._db.execute(
                "INSERT OR REPLACE INTO rollbacks VALUES (?, ?, ?, FALSE)", (epoch, target, weights)
            )

    def target(self, epoch: int) -> tuple[int, bytes] | None:
        """The version that clients are brought back to in an epoch, and its identity."""
        rows = self._rows("SELECT target, weights FROM rollbacks WHERE epoch = ?", epoch)
        return (rows[0][0], bytes(rows[0][1])) if rows else None

    def acknowledge(self, epoch: int, client: int, reply: bytes) -> None:
        """Note that a client has come back after the rollback that began an epoch."""
        self._write("INSERT OR IGNORE INTO acknowledgements VALUES (?, ?, ?)", epoch, client, reply)

    def acknowledged(self, epoch: int) -> set[int]:
        """Who has come back after the rollback that began an epoch."""
        rows = self._rows("SELECT client FROM acknowledgements WHERE epoch = ?", epoch)
        return {client for (client,) in rows}

    def settle(self, epoch: int) -> None:
        """Go on in an epoch; who has not acknowledged takes no part until it does."""
        with self._synced():
            self._write("UPDATE rollbacks SET is_settled = TRUE WHERE epoch = ?", epoch)

    def is_settled(self, epoch: int) -> bool:
        """Whether clients have been brought to an epoch."""
        return bool(self._rows("SELECT 1 FROM rollbacks WHERE epoch = ? AND is_settled", epoch))

    # Diagnoses

    def diagnose(self, version: int, iteration: int, found: str) -> None:
        """Note what was found out about a round of a version that failed."""
        self._write("INSERT OR IGNORE INTO diagnoses VALUES (?, ?, ?)", version, iteration, found)

    def diagnoses(self, version: int) -> dict[int, str]:
        """What was found out about a version that failed, by the iteration of the round."""
        query = "SELECT iteration, found FROM diagnoses WHERE version = ? ORDER BY iteration"
        return dict(self._rows(query, version))

    def _digests(self) -> set[bytes]:
        return {bytes(digest) for (digest,) in self._rows("SELECT digest FROM updates")}

    def _delete(self, key: RoundKey) -> None:
        for table in ("rounds", "participants", "updates"):
            query = f"DELETE FROM {table} WHERE epoch = ? AND iteration = ?"  # noqa: S608
            self._db.execute(query, key.values)

    def _add(self, key: RoundKey, clients: Iterable[int]) -> None:
        self._db.executemany(
            "INSERT OR IGNORE INTO participants VALUES (?, ?, ?, NULL)",
            [(*key.values, client) for client in clients],
        )


def _made(rows: list[Any]) -> MadeVersion | None:
    if not rows or rows[0][0] is None:
        return None
    return canonical.load(MadeVersion, rows[0][0].encode(), "the version of a round")
