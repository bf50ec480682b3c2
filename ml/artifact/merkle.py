"""The Merkle tree of OpenZeppelin's StandardMerkleTree, for 32-byte leaf hashes.

Leaves are sorted, every pair is sorted before it is hashed, and the tree is stored as an array
whose root is at 0 and whose node ``i`` has its children at ``2i + 1`` and ``2i + 2``. A proof is
the list of siblings from leaf to root, which Solidity's ``MerkleProof.verify`` takes as it is.
Leaves must be hashed twice by the caller, so that no inner node can be passed off as a leaf.
Source: ``@openzeppelin/merkle-tree``, ``src/core.ts`` and ``src/merkletree.ts``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from .errors import ArtifactError
from .keccak import keccak256

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = bytes(HASH_BYTES)
"""The root of a tree without leaves; nobody knows a leaf that leads to it."""


def hash_pair(a: bytes, b: bytes) -> bytes:
    """Hash two 32-byte nodes into their parent, whichever order they come in."""
    return keccak256(a + b if a < b else b + a)


class MerkleTree:
    """A tree over leaf hashes; their order does not matter. Takes 2n - 1 hashes of memory."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        """Build the whole tree.

        Raises:
            ArtifactError: a leaf is not 32 bytes.
        """
        if any(len(leaf) != HASH_BYTES for leaf in leaves):
            raise ArtifactError(f"every leaf of a Merkle tree must be a hash of {HASH_BYTES} bytes")
        self._leaves = sorted(leaves)
        self._nodes = _build(self._leaves)

    def __len__(self) -> int:
        """Return the number of leaves."""
        return len(self._leaves)

    @property
    def root(self) -> bytes:
        """The 32 bytes that stand for all leaves; 32 zero bytes if there are none."""
        return self._nodes[0] if self._nodes else EMPTY_ROOT

    def proof(self, leaf: bytes) -> list[bytes]:
        """Return the siblings of the leaf's path, from the leaf up.

        Raises:
            ArtifactError: the tree has no such leaf.
        """
        position = bisect_left(self._leaves, leaf)
        if position == len(self._leaves) or self._leaves[position] != leaf:
            raise ArtifactError(f"this Merkle tree has no leaf 0x{leaf.hex()}")
        node = len(self._nodes) - 1 - position
        siblings = []
        while node > 0:
            siblings.append(self._nodes[node + 1 if node % 2 else node - 1])
            node = (node - 1) // 2
        return siblings


def _build(sorted_leaves: list[bytes]) -> list[bytes]:
    """Lay out the tree: the leaves at the end, the smallest last, then the parents upwards."""
    if not sorted_leaves:
        return []
    inner = len(sorted_leaves) - 1
    nodes = [b""] * inner + sorted_leaves[::-1]
    for i in range(inner - 1, -1, -1):
        nodes[i] = hash_pair(nodes[2 * i + 1], nodes[2 * i + 2])
    return nodes


def verify(root: bytes, leaf: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether the proof leads from the leaf hash to the root; malformed input does not."""
    if any(len(node) != HASH_BYTES for node in (root, leaf, *proof)):
        return False
    node = leaf
    for sibling in proof:
        node = hash_pair(node, sibling)
    return node == root
