"""Processes that share a sender never use one nonce for two things."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ml.chain.anvil import AnvilNode
from ml.chain.outbox.locks import Locks, StillHeld

from .crowding import PROCESSES, RECORDS

ROOT = Path(__file__).parents[3]


def test_processes_with_one_sender_use_each_nonce_once(tmp_path: Path) -> None:
    with AnvilNode() as node:
        done = subprocess.run(
            [sys.executable, "-m", "tests.chain.outbox.crowding", str(node.port), tmp_path],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    count = PROCESSES * RECORDS
    assert seen == {
        "codes": [0] * PROCESSES,
        "nonces": list(range(count)),
        "attempts": count,
        "states": ["mined"],
        "recorded": list(range(1, count + 1)),
        "nonce": count,
        "wrong": [],
    }, done.stderr


def test_lock_that_another_holds_is_waited_for_and_told_of(tmp_path: Path) -> None:
    with (
        Locks(tmp_path).hold("sender"),
        pytest.raises(StillHeld, match=r"another process has held .*sender\.lock for 0\.05 sec"),
        Locks(tmp_path, patience_s=0.05).hold("sender"),
    ):
        pass


def test_lock_is_held_again_within_itself_and_free_afterwards(tmp_path: Path) -> None:
    locks = Locks(tmp_path)
    with locks.hold("sender"), locks.hold("sender"):
        pass
    with Locks(tmp_path, patience_s=0).hold("sender"):
        pass
