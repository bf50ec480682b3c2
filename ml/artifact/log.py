"""The Merkle tree of an append-only log: RFC 6962, section 2.1, with Keccak-256. Pure.

Leaves are hashed with 0x00 before them and inner nodes with 0x01. The tree over the first n leaves
is part of every later one, which a consistency proof shows. RFC 9162, section 2.1, says the same in
other words and gives the algorithms that verify proofs; ``contracts/libraries/MerkleLog.sol`` has
the tree and both algorithms on chain. Nodes and roots are 32 bytes, indices start at 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from .errors import ArtifactError
from .keccak import keccak256
from .merkle import HASH_BYTES

EMPTY_ROOT: Final = keccak256(b"")
"""The root of the tree without leaves."""


def hash_leaf(entry: bytes) -> bytes:
    """Hash what the log holds at one place into a leaf."""
    return keccak256(b"\x00" + entry)


def hash_node(left: bytes, right: bytes) -> bytes:
    """Hash two nodes into their parent; their order matters."""
    return keccak256(b"\x01" + left + right)


@dataclass(frozen=True, slots=True)
class Frontier:
    """All of a log that later leaves need: its size, and the roots of its complete subtrees."""

    size: int = 0
    nodes: tuple[bytes, ...] = ()
    """One for each bit that is set in the size, the largest subtree first."""

    def append(self, leaf: bytes) -> Frontier:
        """Return the frontier after one more leaf.

        Raises:
            ArtifactError: the leaf is not 32 bytes.
        """
        nodes, node = list(self.nodes), _checked(leaf)
        rest = self.size
        while rest & 1:
            node = hash_node(nodes.pop(), node)
            rest >>= 1
        return Frontier(self.size + 1, (*nodes, node))

    @property
    def root(self) -> bytes:
        """The root over all leaves."""
        return _bagged(self.nodes)


class LogTree:
    """A log with all its leaves, which makes proofs about any of its sizes.

    Takes two hashes of memory for each leaf. A root or an inclusion proof takes a number of hashes
    that is logarithmic in the size.
    """

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        """Append the leaves, in order.

        Raises:
            ArtifactError: a leaf is not 32 bytes.
        """
        self._levels: list[list[bytes]] = [[]]  # at k: the complete subtrees over 2^k leaves
        for leaf in leaves:
            self.append(leaf)

    def __len__(self) -> int:
        """Return the number of leaves."""
        return len(self._levels[0])

    def append(self, leaf: bytes) -> int:
        """Add a leaf at the end and return its index.

        Raises:
            ArtifactError: the leaf is not 32 bytes.
        """
        node, index = _checked(leaf), len(self)
        for nodes in self._levels:
            nodes.append(node)
            if len(nodes) % 2:
                return index
            node = hash_node(nodes[-2], nodes[-1])
        self._levels.append([node])
        return index

    def root(self, size: int | None = None) -> bytes:
        """Return the root over the first ``size`` leaves, or over all.

        Raises:
            ArtifactError: there are not so many leaves.
        """
        return self._root(0, self._size(size))

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the siblings of a leaf's path in the tree over ``size`` leaves, from the leaf up.

        Source: RFC 6962, section 2.1.1 (PATH).

        Raises:
            ArtifactError: the tree has no such leaf, or there are not so many leaves.
        """
        stop = self._size(size)
        if not 0 <= index < stop:
            raise ArtifactError(f"a log of {stop} leaves has none with the index {index}")
        start, siblings = 0, []
        while stop - start > 1:
            middle = start + _split(stop - start)
            if index < middle:
                siblings.append(self._root(middle, stop))
                stop = middle
            else:
                siblings.append(self._root(start, middle))
                start = middle
        return siblings[::-1]

    def consistency_proof(self, old_size: int, size: int | None = None) -> list[bytes]:
        """Return the nodes by which the first ``old_size`` leaves show to be the first of ``size``.

        None where there is nothing to show: from no leaves, and from a tree to itself.
        Source: RFC 6962, section 2.1.2 (PROOF).

        Raises:
            ArtifactError: the old tree is the larger one, or there are not so many leaves.
        """
        stop = self._size(size)
        if not 0 <= old_size <= stop:
            raise ArtifactError(f"a log of {stop} leaves was never one of {old_size}")
        if old_size in (0, stop):
            return []
        start, nodes, is_whole = 0, [], True  # is_whole: the old tree is known to the verifier
        while old_size != stop:
            middle = start + _split(stop - start)
            if old_size <= middle:
                nodes.append(self._root(middle, stop))
                stop = middle
            else:
                nodes.append(self._root(start, middle))
                start, is_whole = middle, False
        if not is_whole:
            nodes.append(self._root(start, stop))
        return nodes[::-1]

    def _size(self, size: int | None) -> int:
        if size is None:
            return len(self)
        if not 0 <= size <= len(self):
            raise ArtifactError(f"this log has {len(self)} leaves, so none of its trees has {size}")
        return size

    def _root(self, start: int, stop: int) -> bytes:
        """The root over some leaves that begin where a subtree does."""
        peaks = []
        while start < stop:
            level = (stop - start).bit_length() - 1
            peaks.append(self._levels[level][start >> level])
            start += 1 << level
        return _bagged(peaks)


def verify_inclusion(
    root: bytes, size: int, index: int, leaf: bytes, proof: Sequence[bytes]
) -> bool:
    """Tell whether the leaf stands at the index of the tree over ``size`` leaves with this root.

    Malformed input does not verify. Source: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size or _malformed(root, leaf, *proof):
        return False
    node, last = index, size - 1
    hashed = leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            hashed = hash_node(sibling, hashed)
            node, last = _skip_right(node, last)
        else:
            hashed = hash_node(hashed, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and hashed == root


def verify_consistency(
    old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]
) -> bool:
    """Tell whether the old tree is the beginning of the new one.

    A tree is the beginning of itself, and the empty tree that of every tree, both with an empty
    proof. Malformed input does not verify. Source: RFC 9162, section 2.1.4.2.
    """
    if not 0 <= old_size <= size or _malformed(old_root, root, *proof):
        return False
    if old_size in (0, size):
        return not proof and old_root == (root if old_size == size else EMPTY_ROOT)
    if old_size & (old_size - 1) == 0:  # a complete old tree is a node of the new one
        proof = [old_root, *proof]
    if not proof:
        return False

    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old_hash = new_hash = proof[0]
    for sibling in proof[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old_hash, new_hash = hash_node(sibling, old_hash), hash_node(sibling, new_hash)
            node, last = _skip_right(node, last)
        else:
            new_hash = hash_node(new_hash, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and old_hash == old_root and new_hash == root


def _skip_right(node: int, last: int) -> tuple[int, int]:
    """Go up past the levels where the last node of an incomplete tree has no sibling."""
    while node and not node & 1:
        node, last = node >> 1, last >> 1
    return node, last


def _split(size: int) -> int:
    """The largest power of two below a size of at least 2."""
    return 1 << (size - 1).bit_length() - 1


def _bagged(nodes: Sequence[bytes]) -> bytes:
    """The root over complete subtrees that stand side by side, the largest first."""
    if not nodes:
        return EMPTY_ROOT
    *others, root = nodes
    for node in reversed(others):
        root = hash_node(node, root)
    return root


def _checked(leaf: bytes) -> bytes:
    if len(leaf) != HASH_BYTES:
        raise ArtifactError(f"a leaf of a log is a hash of {HASH_BYTES} bytes, not {len(leaf)}")
    return leaf


def _malformed(*nodes: bytes) -> bool:
    return any(len(node) != HASH_BYTES for node in nodes)
