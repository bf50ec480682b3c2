"""The tree by itself; ``test_openzeppelin.py`` holds it beside the original."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.artifact import ArtifactError, merkle
from ml.artifact.merkle import (
    EMPTY_ROOT,
    MerkleTree,
    MultiProof,
    hash_pair,
    verify,
    verify_multiproof,
)

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


def simple_root(hashes: list[bytes]) -> bytes:
    """The tree as the library numbers it: node i over nodes 2i + 1 and 2i + 2, leaves last."""
    nodes = [b""] * (len(hashes) - 1) + sorted(hashes, reverse=True)
    for i in range(len(hashes) - 2, -1, -1):
        nodes[i] = hash_pair(nodes[2 * i + 1], nodes[2 * i + 2])
    return nodes[0]


@given(LEAVES)
def test_root_is_that_of_the_tree_as_the_library_numbers_it(hashes: list[bytes]) -> None:
    assert MerkleTree(hashes).root == simple_root(hashes)


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40))
def test_large_trees_are_sorted_as_small_ones(hashes: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merkle, "_WORTH_NUMPY", 0)
        assert MerkleTree(hashes).root == simple_root(hashes)


def test_leaves_with_equal_beginnings_are_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merkle, "_WORTH_NUMPY", 0)
    hashes = [bytes(31) + bytes([i]) for i in range(9, -1, -1)]
    assert MerkleTree(hashes).root == simple_root(hashes)


# Multiproofs.


@given(LEAVES, st.data())
def test_any_leaves_are_proved_at_once(hashes: list[bytes], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(hashes), min_size=1, unique=True))
    tree = MerkleTree(hashes)
    proof = tree.multiproof(chosen)
    assert proof.leaves == tuple(sorted(chosen))
    assert verify_multiproof(tree.root, proof)


def test_proof_of_one_leaf_is_the_plain_one() -> None:
    hashes = leaves(11)
    tree = MerkleTree(hashes)
    for leaf in hashes:
        assert list(tree.multiproof([leaf]).siblings) == tree.proof(leaf)


def test_proof_of_all_leaves_needs_nothing_else() -> None:
    hashes = leaves(11)
    proof = MerkleTree(hashes).multiproof(hashes)
    assert (proof.siblings, set(proof.flags)) == ((), {True})


@given(LEAVES, st.data())
def test_any_changed_multiproof_is_refused(hashes: list[bytes], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(hashes), min_size=1, unique=True))
    tree = MerkleTree(hashes)
    proof = tree.multiproof(chosen)
    nodes = [*proof.leaves, *proof.siblings]
    at, bit = data.draw(st.integers(0, len(nodes) - 1)), data.draw(st.integers(0, 255))
    nodes[at] = (int.from_bytes(nodes[at], "big") ^ (1 << bit)).to_bytes(32, "big")
    count = len(chosen)
    changed = MultiProof(tuple(nodes[:count]), tuple(nodes[count:]), proof.flags)
    assert not verify_multiproof(tree.root, changed)


@given(LEAVES, st.data())
def test_multiproof_of_another_form_is_refused(hashes: list[bytes], data: st.DataObject) -> None:
    tree = MerkleTree(hashes)
    proof = tree.multiproof(hashes[: 1 + len(hashes) // 2])
    flags = tuple(data.draw(st.lists(st.booleans(), max_size=len(proof.flags) + 1)))
    if flags != proof.flags:
        assert not verify_multiproof(tree.root, proof._replace(flags=flags))


@pytest.mark.parametrize("flags", [(True,), (True, False), (False, True), (False, False, True)])
def test_flags_that_ask_for_more_than_there_is_are_refused(flags: tuple[bool, ...]) -> None:
    first, second, third = leaves(3)
    for some, siblings in (((first,), (second,)), ((first, second), (third,)), ((first,), ())):
        assert not verify_multiproof(bytes(32), MultiProof(some, siblings, flags))


def test_multiproof_of_nothing_proves_nothing() -> None:
    root = MerkleTree(leaves(3)).root
    assert not verify_multiproof(root, MultiProof((), (root,), ()))
    assert not verify_multiproof(EMPTY_ROOT, MultiProof((), (), ()))


def test_multiproof_with_a_node_of_another_size_is_refused() -> None:
    first, second = leaves(2)
    root = MerkleTree([first, second]).root
    assert not verify_multiproof(root, MultiProof((first + second,), (), ()))


@pytest.mark.parametrize("chosen", [[], leaves(1) * 2, leaves(5)[4:]])
def test_leaves_that_are_none_twice_or_foreign_are_refused(chosen: list[bytes]) -> None:
    with pytest.raises(ArtifactError):
        MerkleTree(leaves(4)).multiproof(chosen)
