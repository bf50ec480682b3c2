"""`ape run outbox`: what was sent is shown, finished, or taken back with a warning."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address

from ml.chain.anvil import AnvilNode, RpcClient
from ml.chain.batch_file import BatchFile, Recorder
from ml.chain.log_proofs import LogPlace
from ml.chain.log_records import RecordKind, Statement
from ml.chain.session import DEV_CHAIN_ID

from .shell import ApeRun

DIGEST = "0x" + "5a" * 32
ANOTHER = "0x" + "5b" * 32
HURRY = {"MODELPROOF_TIMEOUT_S": "1"}
DEADLINE_S = 300


@pytest.fixture(scope="module")
def node() -> Iterator[AnvilNode]:
    """This module's own, as it stops mining."""
    with AnvilNode() as anvil:
        yield anvil


@pytest.fixture(scope="module")
def run(ape_run: ApeRun) -> Any:
    def run(*arguments: str, exit_code: int = 0) -> Any:
        done = ape_run(*arguments, "--json")
        assert done.returncode == exit_code, done.stderr
        return json.loads(done.stdout)

    run("deploy")
    return run


@pytest.fixture
def waiting(run: Any, node: AnvilNode, ape_run: ApeRun) -> Iterator[Any]:
    """Make an append wait: the node takes it and mines nothing, as its sender learns."""
    node.rpc("evm_setAutomine", False)

    def append(digest: str) -> dict[str, Any]:
        given_up = ape_run("log", "append", digest, "--kind", "data", variables=HURRY)
        assert given_up.returncode == 2
        assert "is in no block after 1 seconds: run this again" in given_up.stderr
        return run("outbox")[-1]

    yield append
    node.rpc("evm_setAutomine", True)
    node.rpc("anvil_mine", "0x1")


@contextmanager
def mined_once_it_is_gone(node: AnvilNode, transaction: str) -> Iterator[None]:
    """Mine a block as soon as another transaction has taken the place of one that waits."""

    def mine() -> None:
        rpc, deadline = RpcClient(node.port), time.monotonic() + DEADLINE_S
        while rpc.call("eth_getTransactionByHash", transaction) and time.monotonic() < deadline:
            time.sleep(0.02)
        rpc.call("anvil_mine", "0x1")

    thread = threading.Thread(target=mine)
    thread.start()
    yield
    thread.join()


def test_empty_outbox_says_so(run: Any, ape_run: ApeRun) -> None:
    assert run("outbox") == []
    assert "Nothing is under way." in ape_run("outbox").stdout


def test_what_waits_is_shown_and_finished_by_running_again(
    run: Any, node: AnvilNode, waiting: Any
) -> None:
    entry = waiting(DIGEST)
    assert (entry["state"], entry["what"]) == ("sent", "ProvenanceLog.append")
    node.rpc("evm_setAutomine", True)
    node.rpc("anvil_mine", "0x1")
    (again,) = run("log", "append", DIGEST, "--kind", "data")
    assert again["index"] == 0
    (mined,) = run("outbox")
    assert (mined["entry"], mined["state"]) == (entry["entry"], "mined")
    assert mined["transaction"] == entry["transactions"][0]["hash"]


def test_what_may_be_mined_is_dropped_only_with_a_word(
    run: Any, node: AnvilNode, waiting: Any, ape_run: ApeRun
) -> None:
    entry = waiting(ANOTHER)
    number = str(entry["entry"])
    refused = run("outbox", "drop", number, exit_code=2)
    assert f"entry {number} may still be mined: its nonce" in refused["error"]
    with mined_once_it_is_gone(node, entry["transactions"][0]["hash"]):
        dropped = run("outbox", "drop", number, "--cancel")
    assert dropped["state"] == "dropped"
    assert "cancelled by 0x" in dropped["failure"]
    assert not run("log", "show", ANOTHER)


def test_entry_that_there_is_not_is_refused(run: Any) -> None:
    refused = run("outbox", "drop", "99", exit_code=2)
    assert "has no entry 99" in refused["error"]


def test_retry_sends_again_what_the_node_lost(run: Any, node: AnvilNode, waiting: Any) -> None:
    entry = waiting("0x" + "5c" * 32)
    node.rpc("anvil_dropTransaction", entry["transactions"][0]["hash"])
    node.rpc("evm_setAutomine", True)
    (done,) = run("outbox", "retry")
    assert (done["entry"], done["state"], done["reported"]) == (entry["entry"], "mined", False)
    told = run("outbox", "drop", str(entry["entry"]), "--told")
    assert (told["state"], told["reported"]) == ("mined", True)


def test_records_that_a_recorder_left_are_shown_and_recorded(
    run: Any, node: AnvilNode, environment: dict[str, str], ape_run: ApeRun
) -> None:
    contracts = {one["contract"]: one["address"] for one in run("index", "status")["contracts"]}
    genesis = node.rpc("eth_getBlockByNumber", "0x0", False)["hash"]
    sender = to_checksum_address(node.rpc("eth_accounts")[1])
    path = Path(environment["MODELPROOF_OUTBOX"]) / "updates.sqlite"
    of = Recorder(LogPlace(DEV_CHAIN_ID, genesis, contracts["ProvenanceLog"]), sender)
    with closing(BatchFile(path, of)) as file:
        file.add(Statement(RecordKind.CLIENT_UPDATE, bytes.fromhex(DIGEST[2:])))
    found = run("fsck", exit_code=1)["disagreements"]
    assert [(one["place"], one["what"]) for one in found] == [("records", "records that wait")]
    assert f"Records that wait in {path}: 1" in ape_run("outbox").stderr
    assert f"Records of {path} that are in the log now: 1" in ape_run("outbox", "retry").stderr
    assert run("fsck") == {"disagreements": []}
