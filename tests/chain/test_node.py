"""The development node: what survives which end, and what it refuses. Every kill is a real one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ml.chain.anvil import AnvilNode, NodeError, RpcClient, free_port, is_free

INTERVAL_S = 0.5
ALICE = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
BOB = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"
# a constructor that logs one byte (LOG0) and leaves the one-byte code 0x2a
LOGGING_CONTRACT = "0x" + "60016000a0" + "602a600053" + "60016000f3"
CODE = "0x2a"


class Node:
    """A node in a process of its own, as a user runs it."""

    def __init__(self, state_dir: Path, port: int | None = None) -> None:
        self.state_dir = state_dir
        self.port = port or free_port()
        self.rpc = RpcClient(self.port).call
        command = [sys.executable, "-m", "ml.chain.node", "--port", str(self.port)]
        command += ["--state-dir", str(state_dir), "--interval", str(INTERVAL_S)]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a process group of its own, as a terminal gives it
        )

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("Ctrl-C"):
                return
        pytest.fail(f"the node did not start: {self.process.communicate()[1]}")

    def ended(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; the exit code and what stood on standard error."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=120)
        return self.process.returncode, errors

    def anvil_pid(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        assert self.process.poll() is None, self.process.communicate()
        return int(children.read_text())

    def transact(self, **transaction: str) -> dict[str, Any]:
        digest = self.rpc("eth_sendTransaction", {"from": ALICE, **transaction})
        return eventually(lambda: self.rpc("eth_getTransactionReceipt", digest))


def eventually(look: Callable[[], Any], timeout_s: float = 120.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


@contextmanager
def running(state_dir: Path, port: int | None = None) -> Iterator[Node]:
    node = Node(state_dir, port)
    try:
        node.wait_until_ready()
        yield node
    finally:
        if node.process.poll() is None:
            node.process.kill()
        node.process.communicate()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not yet waited for does not."""
    with suppress(FileNotFoundError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


def blocks(node: Node) -> list[dict[str, Any]]:
    numbers = range(int(node.rpc("eth_blockNumber"), 16) + 1)
    return [node.rpc("eth_getBlockByNumber", hex(number), False) for number in numbers]


def block_hashes(node: Node) -> list[str]:
    return [block["hash"] for block in blocks(node)]


def history(node: Node, deployment: dict[str, Any]) -> dict[str, Any]:
    """What anybody could ask about a small chain with one deployment."""
    address = deployment["contractAddress"]
    return {
        "blocks": block_hashes(node),
        "receipt": node.rpc("eth_getTransactionReceipt", deployment["transactionHash"]),
        "logs": node.rpc("eth_getLogs", {"fromBlock": "0x0", "address": address}),
        "code": node.rpc("eth_getCode", address, "latest"),
        "balance": node.rpc("eth_getBalance", ALICE, "latest"),
        "nonce": node.rpc("eth_getTransactionCount", ALICE, "latest"),
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_chain_stopped_in_good_order_survives_whole(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as node:
        deployment = node.transact(data=LOGGING_CONTRACT)
        for _ in range(5):
            node.transact(to=BOB, value="0x1")
        before = history(node, deployment)
        assert before["code"] == CODE
        assert len(before["logs"]) == 1
        assert node.ended(number) == (0, "")

    with running(tmp_path, node.port) as again:
        assert history(again, deployment) == before


def test_past_states_survive_a_stop(tmp_path: Path) -> None:
    with running(tmp_path) as node:
        deployment = node.transact(data=LOGGING_CONTRACT)
        old = deployment["blockNumber"]
        node.transact(to=BOB, value="0x1")
        proof = node.rpc("eth_getProof", deployment["contractAddress"], [], old)
        balance = node.rpc("eth_getBalance", BOB, old)
        node.ended(signal.SIGTERM)

    with running(tmp_path, node.port) as again:
        assert again.rpc("eth_getProof", deployment["contractAddress"], [], old) == proof
        assert again.rpc("eth_getBalance", BOB, old) == balance
        assert again.rpc("eth_getBalance", BOB, "latest") != balance


def test_ctrl_c_in_a_terminal_saves_everything(tmp_path: Path) -> None:
    with running(tmp_path) as node:
        deployment = node.transact(data=LOGGING_CONTRACT)
        before = history(node, deployment)
        os.killpg(node.process.pid, signal.SIGINT)  # a terminal signals the whole group
        assert node.process.wait(120) == 0

    with running(tmp_path, node.port) as again:
        assert history(again, deployment) == before


def test_every_block_keeps_its_hash_over_many_restarts(tmp_path: Path) -> None:
    port, seen = free_port(), list[str]()
    for _ in range(6):
        with running(tmp_path, port) as node:
            assert block_hashes(node) == seen or not seen
            node.transact(to=BOB, value="0x1")
            seen = block_hashes(node)
            time.sleep(1)  # a genesis block made in another second is another block
            node.ended(signal.SIGTERM)


def test_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    with running(tmp_path) as node:
        deployment = node.transact(data=LOGGING_CONTRACT)
        node.ended(signal.SIGTERM)

    with running(tmp_path, node.port) as again:
        receipt = again.transact(to=BOB, value="0x1")
        assert int(receipt["blockNumber"], 16) == int(deployment["blockNumber"], 16) + 1


def kill_supervisor(node: Node) -> None:
    node.process.kill()


def kill_anvil(node: Node) -> None:
    os.kill(node.anvil_pid(), signal.SIGKILL)


def kill_both(node: Node) -> None:
    anvil = node.anvil_pid()
    node.process.kill()
    with suppress(ProcessLookupError):  # it may have followed already
        os.kill(anvil, signal.SIGKILL)


@pytest.mark.parametrize("kill", [kill_supervisor, kill_anvil, kill_both])
def test_hard_kill_loses_nothing_that_a_snapshot_has_seen(
    tmp_path: Path, kill: Callable[[Node], None]
) -> None:
    with running(tmp_path) as node:
        deployment = node.transact(data=LOGGING_CONTRACT)
        before = history(node, deployment)
        height = int(deployment["blockNumber"], 16)
        eventually(lambda: saved_height(tmp_path) == height)  # nobody asked for the snapshot
        kill(node)
        node.process.wait(120)

    with running(tmp_path, node.port) as again:
        assert history(again, deployment) == before


def test_anvil_does_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    with running(tmp_path) as node:
        anvil = node.anvil_pid()
        node.process.kill()
        eventually(lambda: not is_alive(anvil))
        eventually(lambda: is_free(node.port))


def test_killed_anvil_ends_the_supervisor_with_one_sentence(tmp_path: Path) -> None:
    with running(tmp_path) as node:
        kill_anvil(node)
        _, errors = node.process.communicate(timeout=120)

    assert node.process.returncode == 2
    assert errors.startswith("node: anvil ended by itself (exit code -9)")
    assert errors.count("\n") == 1


def saved_height(state_dir: Path) -> int:
    """The latest block in the saved chain, -1 if nothing is saved yet."""
    state = state_dir / "state.json"
    return int(json.loads(state.read_bytes())["best_block_number"]) if state.exists() else -1


def wait_for_snapshots(state_dir: Path, count: int) -> None:
    state = state_dir / "state.json"
    for _ in range(count):
        last = state.stat().st_mtime_ns if state.exists() else 0
        eventually(lambda last=last: state.exists() and state.stat().st_mtime_ns > last)


def pay(port: int, stop: threading.Event) -> None:
    """Send one payment after the other until told to stop, or until the node is gone.

    A pause between two keeps the chain small: a snapshot of a long one takes a slow machine longer
    than anybody waits for it.
    """
    client = RpcClient(port)
    with suppress(NodeError):
        while not stop.wait(0.005):
            client.call("eth_sendTransaction", {"from": ALICE, "to": BOB, "value": "0x1"})
    client.close()


@pytest.mark.slow
def test_kills_under_load_leave_blocks_and_accounts_in_step(tmp_path: Path) -> None:
    port, sent = free_port(), 0
    for round_number in range(4):
        with running(tmp_path, port) as node:
            stop = threading.Event()
            payer = threading.Thread(target=pay, args=[port, stop])
            payer.start()
            wait_for_snapshots(tmp_path, 2)  # the second holds payments
            time.sleep(0.13 * round_number)
            (kill_both, kill_anvil)[round_number % 2](node)
            node.process.wait(120)
            stop.set()
            payer.join()

        with running(tmp_path, port) as again:
            chain = blocks(again)
            recorded = sum(len(block["transactions"]) for block in chain)
            parents = [block["parentHash"] for block in chain[1:]]
            assert int(again.rpc("eth_getTransactionCount", ALICE, "latest"), 16) == recorded
            assert parents == [block["hash"] for block in chain[:-1]]
            assert recorded > sent
            sent = recorded


def test_state_torn_by_a_kill_while_saving_is_not_used(tmp_path: Path) -> None:
    with running(tmp_path) as node:
        deployment = node.transact(data=LOGGING_CONTRACT)
        before = history(node, deployment)
        node.ended(signal.SIGTERM)

    whole = (tmp_path / "state.json").read_bytes()
    (tmp_path / "farewell.json").write_bytes(whole[: len(whole) // 2])
    (tmp_path / ".state.torn.json").write_bytes(whole[:100])
    with running(tmp_path, node.port) as again:
        assert history(again, deployment) == before


def refused(state_dir: Path, port: int) -> str:
    """The sentence with which a node refuses to start."""
    node = Node(state_dir, port)
    _, errors = node.process.communicate(timeout=120)
    assert node.process.returncode == 2
    assert errors.count("\n") == 1
    return errors


def test_second_node_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with running(tmp_path):
        assert f"another node keeps its chain in {tmp_path}" in refused(tmp_path, free_port())


def test_taken_port_is_refused(tmp_path: Path) -> None:
    with running(tmp_path / "one") as node:
        assert f"port {node.port} is taken" in refused(tmp_path / "two", node.port)


def test_state_that_is_no_chain_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"block": ')
    assert f"{tmp_path}/state.json does not hold a chain" in refused(tmp_path, free_port())
    assert (tmp_path / "state.json").read_text() == '{"block": '


def test_plain_node_answers_with_what_it_was_asked_for_and_ends() -> None:
    with AnvilNode("--chain-id", "11155111") as node:
        assert int(node.rpc("eth_chainId"), 16) == 11155111
        pid = node.process.pid
    assert not is_alive(pid)
    assert is_free(node.port)


def test_plain_nodes_run_side_by_side() -> None:
    with AnvilNode() as one, AnvilNode() as two:
        one.rpc("anvil_mine", "0x3")
        assert int(one.rpc("eth_blockNumber"), 16) == 3
        assert int(two.rpc("eth_blockNumber"), 16) == 0


def test_plain_node_that_cannot_start_says_why() -> None:
    with pytest.raises(NodeError, match=r"anvil did not start .*--no-such-option"):
        AnvilNode("--no-such-option").start()


def test_refused_call_names_the_method() -> None:
    with AnvilNode() as node, pytest.raises(NodeError, match="refused eth_noSuchMethod"):
        node.rpc("eth_noSuchMethod")


def test_dead_node_is_named_by_its_address() -> None:
    port = free_port()
    with pytest.raises(NodeError, match=f"no answer to eth_chainId from http://127.0.0.1:{port}"):
        RpcClient(port).call("eth_chainId")
