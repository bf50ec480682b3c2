"""The Merkle tree of OpenZeppelin's StandardMerkleTree, for 32-byte leaf hashes.

Leaves are sorted, and every pair is sorted before it is hashed. Nodes are in one row: the leaves
in ascending order, then each node that two in a row are hashed into, up to the root, which is last.
(The library numbers the same row from its other end.) A proof is the list of siblings from leaf to
root, which Solidity's ``MerkleProof.verify`` takes as it is; a multiproof is what its
``multiProofVerify`` takes. Leaves must be hashed twice by the caller, so that no inner node can be
passed off as a leaf.
Source: ``@openzeppelin/merkle-tree``, ``src/core.ts`` and ``src/merkletree.ts``.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from .errors import ArtifactError
from .keccak import keccak256

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = bytes(HASH_BYTES)
"""The root of a tree without leaves; nobody knows a leaf that leads to it."""

# From here on, importing NumPy costs less than it saves.
_WORTH_NUMPY: Final = 100_000


class MultiProof(NamedTuple):
    """That several leaves are in a tree, with no node that follows from the others."""

    leaves: tuple[bytes, ...]
    """In ascending order, in which they have to be given to ``multiProofVerify``."""
    siblings: tuple[bytes, ...]
    flags: tuple[bool, ...]
    """For each pair hashed, whether both follow from leaves, or one is the next sibling."""


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
        if not set(map(len, leaves)) <= {HASH_BYTES}:
            raise ArtifactError(f"every leaf of a Merkle tree must be a hash of {HASH_BYTES} bytes")
        self._count = len(leaves)
        self._nodes = _build(_in_order(leaves))

    def __len__(self) -> int:
        """Return the number of leaves."""
        return self._count

    @property
    def root(self) -> bytes:
        """The 32 bytes that stand for all leaves; 32 zero bytes if there are none."""
        return self._node(2 * self._count - 2) if self._count else EMPTY_ROOT

    def proof(self, leaf: bytes) -> list[bytes]:
        """Return the siblings of the leaf's path, from the leaf up.

        Raises:
            ArtifactError: the tree has no such leaf.
        """
        at = self._place(leaf)
        siblings = []
        while at < 2 * self._count - 2:
            siblings.append(self._node(at ^ 1))
            at = self._parent(at)
        return siblings

    def multiproof(self, leaves: Iterable[bytes]) -> MultiProof:
        """Return what proves all of some leaves at once.

        Raises:
            ArtifactError: the tree has no such leaf, or one is given twice, or none at all.
        """
        places = sorted(map(self._place, leaves))
        if not places or len(set(places)) < len(places):
            raise ArtifactError("a multiproof is of one leaf or several, each given once")
        waiting = deque(places)
        siblings, flags = [], []
        while waiting[0] < 2 * self._count - 2:
            at = waiting.popleft()
            both = bool(waiting) and waiting[0] == at ^ 1
            if both:
                waiting.popleft()
            else:
                siblings.append(self._node(at ^ 1))
            flags.append(both)
            waiting.append(self._parent(at))
        return MultiProof(tuple(map(self._node, places)), tuple(siblings), tuple(flags))

    def _node(self, at: int) -> bytes:
        return self._nodes[HASH_BYTES * at : HASH_BYTES * (at + 1)]

    def _parent(self, at: int) -> int:
        return self._count + at // 2

    def _place(self, leaf: bytes) -> int:
        at = bisect_left(range(self._count), leaf, key=self._node)
        if at == self._count or self._node(at) != leaf:
            raise ArtifactError(f"this Merkle tree has no leaf 0x{leaf.hex()}")
        return at


def verify(root: bytes, leaf: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether the proof leads from the leaf hash to the root; malformed input does not."""
    if any(len(node) != HASH_BYTES for node in (root, leaf, *proof)):
        return False
    node = leaf
    for sibling in proof:
        node = hash_pair(node, sibling)
    return node == root


def verify_multiproof(root: bytes, proof: MultiProof) -> bool:
    """Tell whether a multiproof leads from its leaves to the root; malformed input does not."""
    leaves, siblings, flags = proof
    if any(len(node) != HASH_BYTES for node in (root, *leaves, *siblings)):
        return False
    # Each pair hashed makes one of two, so that one is left; each flag tells where one comes from.
    if not leaves or len(leaves) + len(siblings) != len(flags) + 1:
        return False
    if flags.count(False) != len(siblings):
        return False
    waiting, unused = deque(leaves), deque(siblings)
    for both in flags:
        first = waiting.popleft()
        if both and not waiting:
            return False
        waiting.append(hash_pair(first, waiting.popleft() if both else unused.popleft()))
    return waiting[0] == root


def _in_order(leaves: Sequence[bytes]) -> bytes:
    """Sort the leaves, and join them."""
    if len(leaves) < _WORTH_NUMPY:
        return b"".join(sorted(leaves))
    import numpy as np

    words = np.frombuffer(b"".join(leaves), ">u8").reshape(len(leaves), -1)
    ordered = words.take(np.argsort(words[:, 0].astype(np.uint64)), axis=0)
    if (ordered[1:, 0] == ordered[:-1, 0]).any():  # their first eight bytes do not tell them apart
        return b"".join(sorted(leaves))
    return ordered.tobytes()


def _build(leaves: bytes) -> bytes:
    """Append to sorted leaves the nodes above them."""
    nodes = bytearray(leaves)
    pair_bytes = 2 * HASH_BYTES
    done = len(leaves) - len(leaves) % pair_bytes
    nodes += b"".join([keccak256(pair) for (pair,) in struct.iter_unpack("64s", leaves[:done])])
    while len(nodes) - done >= pair_bytes:
        stop = len(nodes) - (len(nodes) - done) % pair_bytes
        pairs = struct.iter_unpack("32s32s", nodes[done:stop])
        nodes += b"".join([keccak256(a + b if a < b else b + a) for a, b in pairs])
        done = stop
    return bytes(nodes)
