"""Roots and proofs beside OpenZeppelin's own library, run by Node."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest

from ml.artifact import Manifest, TensorEntry
from ml.artifact.dtypes import DTYPE_BITS, tensor_nbytes

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("standard_merkle_tree.js")
LIBRARY = ROOT / "node_modules" / "@openzeppelin" / "merkle-tree"


def random_manifest(rng: random.Random, count: int) -> Manifest:
    """A model of ``count`` tensors with names in several scripts and shapes of any rank."""
    entries = []
    for index in range(count):
        name = "".join(rng.choices("abc._é層🙂", k=rng.randrange(40))) + str(index)
        dtype = rng.choice([name for name, bits in DTYPE_BITS.items() if bits % 8 == 0])
        shape = tuple(rng.choice([0, 1, 3, 4096, 2**20]) for _ in range(rng.randrange(4)))
        nbytes = tensor_nbytes(name, dtype, shape)
        entries.append(TensorEntry(name, dtype, shape, rng.randbytes(32), nbytes))
    return Manifest(tuple(entries))


@pytest.fixture(scope="module")
def compared() -> list[tuple[Manifest, dict[str, Any]]]:
    """Models of many sizes, each with what the library makes of it."""
    node = shutil.which("node")
    if node is None or not LIBRARY.is_dir():
        reason = "not compared with OpenZeppelin's library: Node or node_modules is missing"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    rng = random.Random(20)
    manifests = [random_manifest(rng, count) for count in [*range(1, 35), 100, 257]]
    rows = [
        [
            [tensor.name, tensor.dtype, [str(n) for n in tensor.shape], "0x" + tensor.digest.hex()]
            for tensor in manifest.tensors
        ]
        for manifest in manifests
    ]
    run = subprocess.run(
        [node, SCRIPT], input=json.dumps(rows), cwd=ROOT, capture_output=True, text=True, check=True
    )
    return list(zip(manifests, json.loads(run.stdout), strict=True))


def test_roots_equal(compared: list[tuple[Manifest, dict[str, Any]]]) -> None:
    ours = ["0x" + manifest.tree_root.hex() for manifest, _ in compared]
    assert ours == [theirs["root"] for _, theirs in compared]


def test_proofs_equal(compared: list[tuple[Manifest, dict[str, Any]]]) -> None:
    for manifest, theirs in compared:
        ours = [
            ["0x" + sibling.hex() for sibling in manifest.proof(tensor.name).siblings]
            for tensor in manifest.tensors
        ]
        assert ours == theirs["proofs"]


def test_multiproofs_equal(compared: list[tuple[Manifest, dict[str, Any]]]) -> None:
    for manifest, theirs in compared:
        ours = manifest.proof_of(tensor.name for tensor in manifest.tensors[::3])
        assert ours.verify(manifest.weights)
        assert {
            "names": [tensor.name for tensor in ours.tensors],
            "proof": ["0x" + sibling.hex() for sibling in ours.siblings],
            "proofFlags": list(ours.flags),
        } == theirs["multiproof"]
