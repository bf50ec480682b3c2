"""The tree by itself; ``test_openzeppelin.py`` holds it beside the original."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.artifact import ArtifactError
from ml.artifact.merkle import EMPTY_ROOT, MerkleTree, verify

LEAVES = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40, unique=True)


def leaves(count: int) -> list[bytes]:
    return [hashlib.sha256(bytes([i])).digest() for i in range(count)]


def test_no_leaves_give_the_zero_root() -> None:
    assert MerkleTree([]).root == EMPTY_ROOT == bytes(32)


def test_one_leaf_is_its_own_root_with_an_empty_proof() -> None:
    (leaf,) = leaves(1)
    tree = MerkleTree([leaf])
    assert (tree.root, tree.proof(leaf)) == (leaf, [])


@given(LEAVES)
def test_every_leaf_is_proved(hashes: list[bytes]) -> None:
    tree = MerkleTree(hashes)
    assert all(verify(tree.root, leaf, tree.proof(leaf)) for leaf in hashes)


@given(LEAVES, st.randoms(use_true_random=False))
def test_root_does_not_depend_on_the_order(hashes: list[bytes], rng: random.Random) -> None:
    shuffled = list(hashes)
    rng.shuffle(shuffled)
    assert MerkleTree(shuffled).root == MerkleTree(hashes).root


@given(LEAVES, st.data())
def test_any_changed_bit_of_a_proof_is_refused(hashes: list[bytes], data: st.DataObject) -> None:
    tree = MerkleTree(hashes)
    leaf = data.draw(st.sampled_from(hashes))
    path = [leaf, *tree.proof(leaf)]
    node = data.draw(st.integers(0, len(path) - 1))
    bit = data.draw(st.integers(0, 255))
    path[node] = (int.from_bytes(path[node], "big") ^ (1 << bit)).to_bytes(32, "big")
    assert not verify(tree.root, path[0], path[1:])


def test_proof_of_another_length_is_refused() -> None:
    tree = MerkleTree(leaves(5))
    leaf = leaves(5)[0]
    assert not verify(tree.root, leaf, tree.proof(leaf)[:-1])
    assert not verify(tree.root, leaf, [*tree.proof(leaf), bytes(32)])


def test_proof_with_a_node_of_another_size_is_refused() -> None:
    first, second = leaves(2)
    tree = MerkleTree([first, second])
    assert not verify(tree.root, first + second, [])
    assert not verify(tree.root, first, [second[:-1]])


def test_nothing_is_part_of_the_empty_tree() -> None:
    assert not verify(EMPTY_ROOT, leaves(1)[0], [])


def test_proof_of_a_foreign_leaf_is_refused() -> None:
    with pytest.raises(ArtifactError, match="no leaf 0x"):
        MerkleTree(leaves(3)).proof(leaves(4)[3])


def test_leaf_of_another_size_is_refused() -> None:
    with pytest.raises(ArtifactError, match="32 bytes"):
        MerkleTree([b"short"])
