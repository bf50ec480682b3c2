"""Kills a sender at every step it takes, by ``kill -9``, and lets the next one finish.

Run as a program of its own, since it forks: ``python -m tests.chain.outbox.killing OPERATION PORT
FOLDER``, with an Anvil at the port. A step is a request to the node, a statement to SQLite or an
fsync; a sender dies right before it, which is right after the one before it. Prints, as JSON, what
it saw; ends with a traceback if anything was ever lost, done twice or left unfinished.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ape
import requests
from ape.logging import logger

from ml.chain.anvil import HOST, RpcClient
from ml.chain.fsck.batch_check import check_batches
from ml.chain.outbox import journal
from ml.chain.outbox.entry import State
from ml.chain.outbox.opening import close_outbox_of
from ml.chain.session import Session, connect
from tests.chain.places import kept_apart
from tests.contracts.story import Cast

from .agreement import disagreements
from .scenes import REPORTED, SCENES, Scene


class Fuse:
    """Counts steps, and kills its own process at one of them."""

    def __init__(self, last: int) -> None:
        self.left = last

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with a step before it."""

        def stepping(*arguments: Any, **named: Any) -> Any:
            self.step()
            return function(*arguments, **named)

        return stepping

    def lay(self) -> None:
        """Count what goes to the node and to the disk from now on."""
        fuse = self

        class Watched(sqlite3.Connection):
            def execute(self, *arguments: Any) -> sqlite3.Cursor:
                return fuse.before(super().execute)(*arguments)

        journal.sqlite3.connect = Watched  # type: ignore[assignment,misc]
        requests.Session.send = fuse.before(requests.Session.send)  # type: ignore[method-assign]
        os.fsync = fuse.before(os.fsync)


def fork(work: Callable[[], None]) -> int:
    """Do something in a child, and return how that ended."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 (a child that lived on would be a second parent)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


class Stage:
    """An Anvil with contracts, on which the same happens again and again.

    All senders are forked from one process that is connected already.
    """

    def __init__(self, session: Session, port: int, folder: Path) -> None:
        self.session = session
        self.folder = folder
        self.rpc = RpcClient(port).call
        self.cast = Cast(*ape.accounts.test_accounts[: len(Cast._fields)])

    def set(self, operation: str) -> Scene:
        """Prepare one operation, up to right before it."""
        os.environ["MODELPROOF_OUTBOX"] = str(self.folder / "before")
        scene = SCENES[operation](self.cast)
        close_outbox_of(self.session.provider, reported=True)
        return scene

    def run(self, scene: Scene, fuse: Fuse | None = None) -> None:
        """Be the process that does it, with a socket of its own.

        One that is not to be killed looks at all there is when it is done.
        """
        self._own_socket()
        if fuse is not None:
            fuse.lay()
        scene.work(self.cast)
        self.session.outbox.keyless_queue(scene.sender).settle()
        if fuse is None:
            self.check(scene)
        close_outbox_of(self.session.provider, reported=True)

    def check(self, scene: Scene) -> None:
        """Hold the chain against itself and the journal against the chain, as fsck does."""
        wrong = disagreements(self.session.outbox, scene.contract)
        wrong += check_batches(self.session)
        assert not wrong

    def begin(self, scene: Scene) -> None:
        """Do what is done before, each time again."""
        if scene.begin is None:
            return
        snapshot = self.rpc("evm_snapshot")
        self.rpc("evm_setAutomine", scene.is_mined)
        assert fork(partial(self._begin, scene)) == 0
        if scene.is_undone:
            self.rpc("evm_revert", snapshot)

    def _begin(self, scene: Scene) -> None:
        self._own_socket()
        if scene.begin:
            scene.begin(self.cast)
        close_outbox_of(self.session.provider, reported=False)

    def end(self, snapshot: Any) -> None:
        """Go back to where it began."""
        self.rpc("anvil_dropAllTransactions")
        self.rpc("evm_revert", snapshot)
        self.rpc("evm_setAutomine", True)

    def _own_socket(self) -> None:
        provider: Any = self.session.provider.web3.provider
        provider._active_provider._request_session_manager.session_cache.clear()

    def nonce(self, scene: Scene) -> int:
        return int(self.rpc("eth_getTransactionCount", scene.sender, "pending"), 16)

    def events(self, scene: Scene) -> list[Any]:
        query = {"address": scene.contract.address, "fromBlock": "0x0", "toBlock": "latest"}
        return list(self.rpc("eth_getLogs", query))


def at_each_step(stage: Stage, scene: Scene) -> Counter[str]:
    """Do the same again and again, killed one step later each time, until it is done.

    Returns:
        how the journal's first entry was found afterwards, and how often
    """
    seen: Counter[str] = Counter()
    nonce, told = stage.nonce(scene), len(stage.events(scene))
    for last in itertools.count(1):
        snapshot = stage.rpc("evm_snapshot")
        folder = stage.folder / str(last)
        os.environ["MODELPROOF_OUTBOX"] = str(folder)
        stage.begin(scene)
        code = fork(partial(stage.run, scene, Fuse(last)))
        assert code in (0, -signal.SIGKILL), f"the sender ended with {code} at step {last}"
        left = _found_in(folder)
        seen[left] += 1
        if left != REPORTED:
            assert fork(partial(stage.run, scene)) == 0, f"killed at step {last}: not finished"
        assert stage.nonce(scene) == nonce + 1, f"killed at step {last}: another transaction"
        found = len(stage.events(scene)) - told
        assert found == scene.events, f"killed at step {last}: recorded {found} times"
        assert _found_in(folder) in scene.ends, f"killed at step {last}: {left}"
        stage.end(snapshot)
        if code == 0:
            return seen
    raise AssertionError


def _found_in(folder: Path) -> str:
    """The state of the first entry."""
    for file in folder.glob("*-*.sqlite"):
        database = sqlite3.connect(file)
        try:
            rows = database.execute("SELECT state, reported FROM entries ORDER BY id").fetchall()
        except sqlite3.OperationalError:  # it has no tables yet
            rows = []
        finally:
            database.close()
        if not rows:
            return "nothing"
        state, reported = rows[0]
        if reported:
            assert state in {State.MINED, State.FINAL}
        return REPORTED if reported else str(state)
    return "nothing"


def main(operation: str, port: int, folder: Path) -> None:
    with kept_apart(folder), connect(f"ethereum:dev:http://{HOST}:{port}") as session:
        logger.set_level("ERROR")
        stage = Stage(session, port, folder)
        print(json.dumps(at_each_step(stage, stage.set(operation))))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
