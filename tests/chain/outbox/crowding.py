"""Several processes that send from one account at the same time.

Run as a program of its own, since it forks: ``python -m tests.chain.outbox.crowding PORT FOLDER``,
with an Anvil at the port. Prints, as JSON, what the journal and the chain have afterwards.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import ape
from ape.logging import logger

from ml.chain.anvil import HOST
from ml.chain.log_records import RecordKind
from ml.chain.outbox.opening import close_outbox_of
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.session import Session, connect
from tests.chain.places import kept_apart

from .agreement import disagreements

PROCESSES, RECORDS = 3, 8


def own_sockets(session: Session) -> None:
    """What a forked process needs, as sockets are shared with its parent."""
    provider: Any = session.provider.web3.provider
    provider._active_provider._request_session_manager.session_cache.clear()


def send(session: Session, log: ProvenanceLog, process: int) -> None:
    """Be one of the processes."""
    own_sockets(session)
    sender = ape.accounts.test_accounts[6]
    for number in range(RECORDS):
        digest = (1 + process * RECORDS + number).to_bytes(32, "big")
        log.append(RecordKind.DATA, digest, sender=sender)
    close_outbox_of(session.provider, reported=True)


def fork(session: Session, log: ProvenanceLog, process: int) -> int:
    child = os.fork()
    if child == 0:
        try:
            send(session, log, process)
        except BaseException:  # noqa: BLE001 (a child that lived on would be a second parent)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def main(port: int, folder: Path) -> None:
    with kept_apart(folder), connect(f"ethereum:dev:http://{HOST}:{port}") as session:
        logger.set_level("ERROR")
        sender = ape.accounts.test_accounts[6]
        log = ProvenanceLog(ape.accounts.test_accounts[0].deploy(ape.project.ProvenanceLog))
        children = [fork(session, log, process) for process in range(PROCESSES)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        own_sockets(session)
        entries = session.outbox.journal.entries(str(sender.address))
        print(
            json.dumps(
                {
                    "codes": codes,
                    "nonces": sorted(entry.nonce for entry in entries),
                    "attempts": sum(len(entry.attempts) for entry in entries),
                    "states": sorted({entry.state for entry in entries}),
                    "recorded": sorted(
                        int.from_bytes(one.statement.digest, "big") for one in log.recorded()
                    ),
                    "nonce": sender.nonce,
                    "wrong": [one.why for one in disagreements(session.outbox, log)],
                }
            )
        )


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
