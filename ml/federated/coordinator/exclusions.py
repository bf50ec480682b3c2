"""Clients that are excluded in the journal of their run, being too many for the chain to know."""

from __future__ import annotations

from typing import Final

from .database import Database

TABLES: Final = """
CREATE TABLE IF NOT EXISTS excluded (client INTEGER PRIMARY KEY, reason TEXT);
CREATE TABLE IF NOT EXISTS standings (
    client INTEGER, is_excluded INTEGER NOT NULL, reason TEXT, who TEXT,
    at INTEGER DEFAULT (strftime('%s', 'now')));
"""


class Exclusions(Database):
    """Who is excluded now, and who was excluded or taken back when, by whom and why."""

    def exclude(self, client: int, reason: str, who: str, most: int) -> bool:
        """Exclude a client of a training whose clients are not enrolled on chain.

        Args:
            client: its index
            reason: why
            who: excludes it
            most: so many may be excluded in all

        Returns:
            False, and nothing is written, if it is excluded already, or as many are as may be.
        """
        with self._synced(), self._transaction():
            done = self._db.execute(
                "INSERT OR IGNORE INTO excluded"
                " SELECT ?, ? WHERE (SELECT count(*) FROM excluded) < ?",
                (client, reason, most),
            ).rowcount
            return bool(done) and self._stands(client, reason, who, is_excluded=True)

    def reinstate(self, client: int, reason: str, who: str) -> bool:
        """Take back a client that was excluded here, from the next round on; False if none was."""
        with self._synced(), self._transaction():
            done = self._db.execute("DELETE FROM excluded WHERE client = ?", (client,)).rowcount
            return bool(done) and self._stands(client, reason, who, is_excluded=False)

    def standings(self) -> dict[int, tuple[str, str]]:
        """Why, and by whom, each client was excluded or taken back last that ever was."""
        rows = self._rows("SELECT client, reason, who FROM standings ORDER BY rowid")
        return {client: (reason, who) for client, reason, who in rows}

    def was_excluded(self, client: int, reason: str) -> bool:
        """Whether a client was ever excluded here for this very reason."""
        query = "SELECT 1 FROM standings WHERE client = ? AND reason = ? AND is_excluded"
        return bool(self._rows(query, client, reason))

    def excluded(self) -> set[int]:
        """The clients that are excluded here."""
        return {client for (client,) in self._rows("SELECT client FROM excluded")}

    def _stands(self, client: int, reason: str, who: str, *, is_excluded: bool) -> bool:
        self._db.execute(
            "INSERT INTO standings (client, is_excluded, reason, who) VALUES (?, ?, ?, ?)",
            (client, is_excluded, reason, who),
        )
        return True
