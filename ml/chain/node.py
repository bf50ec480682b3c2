"""A development node whose chain outlives it: ``python -m ml.chain.node``, or ``make node``.

Anvil keeps its chain in memory and writes it out when it is stopped in good order, over the file it
read: a kill loses the chain, and a kill at the wrong moment loses the copy too. Here a supervisor
keeps the chain in ``<state-dir>/state.json``, which only a whole file ever replaces:

- while the chain grows, by a snapshot every two seconds (``--interval``), taken between two blocks:
  a hard kill of Anvil, of the supervisor or of both loses what happened since, and no more;
- when it is stopped (Ctrl-C, SIGTERM, SIGHUP), by all of it, with the states of the last
  ``HISTORY_BLOCKS`` blocks, which ``eth_call`` and ``eth_getProof`` at a past block need.

Blocks, transactions, receipts, logs, code and the current state survive either way.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import gzip
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ml.chain.anvil import AnvilNode, NodeError, is_free
from ml.errors import ModelproofError
from ml.files import replacing, write_bytes, write_text

CHAIN_ID = 31337
DEFAULT_PORT = 8545
DEFAULT_STATE_DIR = Path(".node")
DEFAULT_INTERVAL_S = 2.0
# As many as a full node of a public chain keeps; each costs the size of the whole state.
HISTORY_BLOCKS = 128
# A snapshot holds up the chain, so one that took long is followed by a longer pause. This starts to
# tell at some thousands of blocks.
SHARE_OF_TIME_SAVING = 0.25
# How long a block that was being mined when mining was paused may take to become the latest. A slow
# machine takes longer, so that each attempt at a snapshot waits twice as long as the one before.
SETTLING_TIME_S = 0.02
SNAPSHOT_ATTEMPTS = 7
POLL_S = 0.05


class PersistentNode:
    """An Anvil whose chain is kept in ``state_dir``; the module says what survives what.

    Args:
        state_dir: a folder that one node at a time holds; made if missing.
        port: where the node listens on the loopback address; a free port if 0.
        interval_s: the seconds between two snapshots of a growing chain.
    """

    def __init__(
        self,
        state_dir: Path = DEFAULT_STATE_DIR,
        port: int = DEFAULT_PORT,
        interval_s: float = DEFAULT_INTERVAL_S,
    ) -> None:
        self.state_dir = state_dir
        self.state = state_dir / "state.json"
        self._port = port
        self._interval_s = interval_s
        self._saved_head = ""
        self._next_snapshot = 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[AnvilNode]:
        """Run the node for the length of the block and save everything at its end.

        Raises:
            NodeError: another node holds the folder, the port is taken, or what is kept there is no
                chain on which Anvil starts.
        """
        farewell = self.state_dir / "farewell.json"
        with _hold(self.state_dir):
            if not is_free(self._port):
                raise NodeError(
                    f"port {self._port} is taken: stop what listens there, or choose another port."
                )
            arguments = ["--chain-id", str(CHAIN_ID), "--preserve-historical-states"]
            arguments += ["--prune-history", str(HISTORY_BLOCKS), "--dump-state", str(farewell)]
            if self.state.exists():
                _keep_first_genesis(self.state)
                arguments += ["--load-state", str(self.state)]
            log = self.state_dir / "anvil.log"
            with AnvilNode(*arguments, port=self._port, log=log) as anvil:
                if self.state.exists():
                    self._saved_head = _head(anvil)
                yield anvil
                self._save_everything(anvil, farewell)

    def tick(self, anvil: AnvilNode) -> None:
        """Take a snapshot if one is due and the chain has changed.

        Raises:
            NodeError: Anvil has ended, or does not answer.
        """
        begun = time.monotonic()
        if begun < self._next_snapshot and anvil.process.poll() is None:
            return
        try:
            self._take_snapshot(anvil)
        except NodeError as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = anvil.process.wait(timeout=1)
                raise NodeError(
                    f"anvil ended by itself (exit code {code}); start the node again, and it goes"
                    f" on from the last snapshot in {self.state_dir}."
                ) from error
            raise
        spent = time.monotonic() - begun
        self._next_snapshot = begun + max(self._interval_s, spent / SHARE_OF_TIME_SAVING)

    def _take_snapshot(self, anvil: AnvilNode) -> None:
        if _head(anvil) == self._saved_head:
            return
        with _mining_paused(anvil):
            for attempt in range(SNAPSHOT_ATTEMPTS):
                head = _head(anvil)
                dump = anvil.rpc("anvil_dumpState", False)
                time.sleep(SETTLING_TIME_S * 2**attempt)
                if _head(anvil) == head:  # else it may hold a block's accounts without the block
                    break
            else:
                return
        write_bytes(self.state, gzip.decompress(bytes.fromhex(dump.removeprefix("0x"))))
        self._saved_head = head

    def _save_everything(self, anvil: AnvilNode, farewell: Path) -> None:
        """Stop Anvil and keep what it writes as it ends, or else the last snapshot."""
        self._take_snapshot(anvil)
        anvil.rpc("evm_setAutomine", False)  # what comes now waits for ever and is not mined
        time.sleep(SETTLING_TIME_S)
        height = int(anvil.rpc("eth_blockNumber"), 16)
        anvil.stop()
        with contextlib.suppress(OSError, ValueError):  # Anvil does not say when its disk is full
            if json.loads(farewell.read_bytes())["best_block_number"] >= height:
                with replacing(self.state) as temporary:
                    farewell.replace(temporary)
                return
        farewell.unlink(missing_ok=True)
        print("node: the states of past blocks could not be saved; all else was.", file=sys.stderr)


@contextlib.contextmanager
def _hold(state_dir: Path) -> Iterator[None]:
    """Keep other nodes out of ``state_dir``, for as long as this process lives at most."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NodeError(
                f"another node keeps its chain in {state_dir}: stop it, or name another folder"
                " with --state-dir."
            ) from None
        yield


def _keep_first_genesis(state: Path) -> None:
    """Drop the genesis blocks that Anvil made at later starts.

    It makes one at each start, keeps it beside the one it then loads, saves both, and answers after
    the next start with whichever it loads last: block 0 would change its hash.
    """
    try:
        chain = json.loads(state.read_bytes())
        numbers = [int(block["header"]["number"], 16) for block in chain["blocks"]]
        times = [int(block["header"]["timestamp"], 16) for block in chain["blocks"]]
    except (ValueError, KeyError, TypeError) as error:
        raise NodeError(
            f"{state} does not hold a chain ({error}): move it away to begin a new one."
        ) from error
    if numbers.count(0) > 1:
        first = min(made for made, number in zip(times, numbers, strict=True) if number == 0)
        chain["blocks"] = [
            block
            for block, number, made in zip(chain["blocks"], numbers, times, strict=True)
            if number > 0 or made == first
        ]
        write_text(state, json.dumps(chain))


def _head(anvil: AnvilNode) -> str:
    """The hash of the latest block."""
    return str(anvil.rpc("eth_getBlockByNumber", "latest", False)["hash"])


@contextlib.contextmanager
def _mining_paused(anvil: AnvilNode) -> Iterator[None]:
    """Let transactions wait for the length of the block, unless the user has seen to that."""
    if not anvil.rpc("anvil_getAutomine"):
        yield
        return
    anvil.rpc("evm_setAutomine", False)
    try:
        time.sleep(SETTLING_TIME_S)
        yield
    finally:
        anvil.rpc("evm_setAutomine", True)


def _greeting(anvil: AnvilNode, options: argparse.Namespace) -> str:
    height = int(anvil.rpc("eth_blockNumber"), 16)
    lines = [
        f"A development chain at {anvil.url}, at block {height}, kept in {options.state_dir}/.",
        "Its accounts are Anvil's public test accounts: everybody has their keys, so that nothing",
        "of value belongs here. Ape calls it ethereum:dev, and our scripts use it by themselves.",
        f"Ctrl-C stops it and saves all; a hard kill loses up to {options.interval:g} seconds.",
    ]
    if anvil.port != DEFAULT_PORT:
        lines.insert(3, f"Other shells have to know where it is: export DEV_RPC_URL={anvil.url}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until a signal asks it to stop; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ml.chain.node",
        description="A development chain that survives restarts.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="on 127.0.0.1")
    parser.add_argument("--state-dir", type=Path, default=DEFAULT_STATE_DIR, metavar="DIR")
    parser.add_argument(
        "--interval",
        type=float,
        default=DEFAULT_INTERVAL_S,
        metavar="SECONDS",
        help="how much of the chain a hard kill may lose",
    )
    options = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    node = PersistentNode(options.state_dir, options.port, options.interval)
    try:
        with node.running() as anvil:
            print(_greeting(anvil, options), flush=True)
            while not stop.is_set():
                node.tick(anvil)
                time.sleep(POLL_S)
            print("Saving the chain.", flush=True)
    except ModelproofError as error:
        print(f"node: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
