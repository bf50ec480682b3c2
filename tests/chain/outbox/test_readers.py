"""Where the journal cannot be written, what only reads goes on, and nothing is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ml.chain.anvil import AnvilNode
from ml.chain.outbox.journal import JournalError
from ml.chain.outbox.opening import journal_path
from ml.chain.session import Session
from scripts._cli import Ui
from tests.chain.places import network_at

from .test_journal import files_no_larger_than


def lock_nothing(folder: Path) -> None:
    """Put folders where the files of locks belong: even root cannot write those."""
    for lock in folder.rglob("*.lock"):
        lock.unlink()
        lock.mkdir()


@pytest.fixture
def written(open_outbox: Any, append: Any, sender: Any) -> Any:
    outbox = open_outbox()
    queue = outbox.queue(sender)
    (entry,) = queue.wait(queue.put([append(1)]))
    outbox.close(reported=False)
    return entry


def test_journal_on_a_full_disk_is_read_and_nothing_is_sent(
    written: Any, open_outbox: Any, append: Any, sender: Any, recorded: Any
) -> None:
    with files_no_larger_than(1_000):
        outbox = open_outbox()
        outbox.keeper.restore()
        assert outbox.journal.entries() == [written]
        with pytest.raises(
            JournalError, match="what it does not hold is not sent; see to the disk"
        ):
            outbox.queue(sender).put([append(2)])
    assert recorded() == [1]


def test_journal_whose_locks_cannot_be_written_is_read_and_nothing_is_sent(
    written: Any, open_outbox: Any, append: Any, sender: Any, recorded: Any, tmp_path: Path
) -> None:
    lock_nothing(tmp_path)
    outbox = open_outbox()
    assert outbox.journal.entries() == [written]
    with pytest.raises(JournalError, match=r"the journal's lock .* cannot be written"):
        outbox.queue(sender).put([append(2)])
    assert recorded() == [1]


def test_command_that_only_reads_says_that_the_journal_is_of_no_use_and_goes_on(
    connected: Session,
    node: AnvilNode,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MODELPROOF_OUTBOX", str(tmp_path))
    journal_path(connected.chain_id, connected.genesis).write_bytes(b"no database at all" * 1_000)
    ui = Ui(network_at(node), None, as_json=False, full=False, verbose=False)
    with ui.connect() as session:
        assert session.chain_id == connected.chain_id
    assert "What was sent from here is not looked after: the journal" in capsys.readouterr().err
