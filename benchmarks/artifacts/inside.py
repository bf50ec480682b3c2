"""Figures of one process, its start left out: ``python inside.py WHAT ROUNDS [PATH]``.

Prints, as JSON, the processor time and the wall clock that each thing took, best of the rounds.
Runs in our environment and in the peer's, so it imports what it measures where it measures it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Final

PIECE_BYTES: Final = 1 << 20
LEAVES: Final = 10**6


def ours(path: str) -> Callable[[], object]:
    """Our manifest and its identity."""
    from ml.artifact import read_manifest

    return lambda: read_manifest(path).weights


def load(path: str) -> Callable[[], object]:
    """Our tensors, verified as they are loaded."""
    from ml.artifact import load_verified, read_manifest

    weights = read_manifest(path).weights
    return lambda: load_verified(path, weights)


def peer(path: str) -> Callable[[], object]:
    """Model Signing's manifest, its library told to use BLAKE3."""
    hashing = import_module("model_signing.hashing")
    config = hashing.Config().use_file_serialization(hashing_algorithm="blake3")
    folder = os.path.dirname(path)  # noqa: PTH120 - a string to both libraries
    return lambda: config.hash(folder)


def raw(path: str) -> Callable[[], object]:
    """BLAKE3 of the same bytes, read as a plain program reads them."""
    from blake3 import blake3

    def digest() -> bytes:
        hasher, buffer = blake3(), bytearray(PIECE_BYTES)
        view = memoryview(buffer)
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            while count := file.readinto(buffer):
                hasher.update(view[:count])
        return hasher.digest()

    return digest


def hash_alone(path: str) -> Callable[[], object]:
    """BLAKE3 of as many bytes, none of which is read from anywhere."""
    from blake3 import blake3

    pieces, buffer = os.path.getsize(path) // PIECE_BYTES, os.urandom(PIECE_BYTES)  # noqa: PTH202

    def digest() -> bytes:
        hasher = blake3()
        for _ in range(pieces):
            hasher.update(buffer)
        return hasher.digest()

    return digest


def tree(_: str) -> Callable[[], object]:
    """A tree from a million leaf hashes."""
    from ml.artifact.merkle import MerkleTree

    leaves = [os.urandom(32) for _ in range(LEAVES)]
    return lambda: MerkleTree(leaves).root


def encoded_tree(_: str) -> Callable[[], object]:
    """A tree from a million tensors, whose leaves are still to be encoded and hashed."""
    from ml.artifact import TensorEntry
    from ml.artifact.merkle import MerkleTree

    entries = [
        TensorEntry(
            f"model.layers.{i}.weight", "BF16", (64, i % 1000), os.urandom(32), 128 * (i % 1000)
        )
        for i in range(LEAVES)
    ]
    return lambda: MerkleTree([entry.leaf for entry in entries]).root


def many(path: str) -> Callable[[], object]:
    """The layout of a file with a million tiny tensors: its header, read and checked."""
    from ml.artifact import open_model

    def read() -> None:
        with open_model(path):
            pass

    return read


def main() -> None:
    """Measure what is named."""
    what, rounds = sys.argv[1], int(sys.argv[2])
    work = globals()[what](sys.argv[3] if len(sys.argv) > 3 else "")
    best = {"cpu_s": float("inf"), "wall_s": float("inf")}
    for _ in range(rounds):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        best["cpu_s"] = min(best["cpu_s"], time.process_time() - cpu)
        best["wall_s"] = min(best["wall_s"], time.perf_counter() - wall)
    print(json.dumps({name: round(value, 4) for name, value in best.items()}))


if __name__ == "__main__":
    main()
