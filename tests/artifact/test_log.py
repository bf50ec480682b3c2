"""The log's tree beside its definition and Certificate Transparency."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.artifact import ArtifactError, log
from ml.artifact.log import EMPTY_ROOT, Frontier, LogTree, hash_leaf, verify_consistency
from tests.artifact import textbook_log as textbook

SIZES = sorted({0, 1, 2, 3} | {2**k + d for k in range(2, 8) for d in (-1, 0, 1)})
"""Those at which trees change their shape."""
LARGEST = max(SIZES)
ENTRIES = [hashlib.sha256(bytes([n])).digest()[: n % 33] for n in range(LARGEST)]
LEAVES = [hash_leaf(entry) for entry in ENTRIES]
TREE = LogTree(LEAVES)
SIZE = st.one_of(st.sampled_from(SIZES), st.integers(0, LARGEST))


def inclusion(size: int, index: int) -> tuple[bytes, int, int, bytes, list[bytes]]:
    return TREE.root(size), size, index, LEAVES[index], TREE.inclusion_proof(index, size)


def consistency(old: int, new: int) -> tuple[int, bytes, int, bytes, list[bytes]]:
    return old, TREE.root(old), new, TREE.root(new), TREE.consistency_proof(old, new)


def pairs() -> Iterator[tuple[int, int]]:
    """Each size with an older one, or with an index."""
    return ((first, second) for second in SIZES for first in range(second))


def flipped(node: bytes, bit: int) -> bytes:
    return (int.from_bytes(node, "big") ^ (1 << bit)).to_bytes(len(node), "big")


# --- Roots ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_root_is_that_of_the_definition(size: int) -> None:
    expected = textbook.mth(ENTRIES[:size])
    assert TREE.root(size) == expected
    assert LogTree(LEAVES[:size]).root() == expected


def test_frontier_has_the_root_after_every_append() -> None:
    frontier = Frontier()
    for size, leaf in enumerate(LEAVES):
        assert (frontier.size, frontier.root) == (size, TREE.root(size))
        assert len(frontier.nodes) == size.bit_count()
        frontier = frontier.append(leaf)
    assert frontier.root == TREE.root()


def test_no_leaves_give_the_hash_of_nothing() -> None:
    assert LogTree().root() == Frontier().root == EMPTY_ROOT == textbook.mth([])


def test_append_returns_the_index_of_the_leaf() -> None:
    tree = LogTree()
    assert [tree.append(leaf) for leaf in LEAVES[:9]] == list(range(9))


def test_order_of_the_leaves_matters() -> None:
    assert LogTree(LEAVES[:2]).root() != LogTree(LEAVES[1::-1]).root()


def test_inner_node_does_not_pass_for_a_leaf() -> None:
    joined = LEAVES[0] + LEAVES[1]
    assert LogTree([hash_leaf(joined)]).root() != LogTree(LEAVES[:2]).root()


CT_ENTRIES = "", "00", "10", "2021", "3031", "40414243", "5051525354555657", bytes(range(96, 112))
CT_ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
"""Those of Google's test vectors (merkletree_test.go), which hash by SHA-256."""


def test_with_sha256_it_is_the_tree_of_certificate_transparency(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log, "keccak256", lambda data: hashlib.sha256(data).digest())
    tree = LogTree()
    for entry, root in zip(CT_ENTRIES, CT_ROOTS, strict=True):
        tree.append(hash_leaf(bytes.fromhex(entry) if isinstance(entry, str) else entry))
        assert tree.root().hex() == root


# --- Inclusion ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES[1:])
def test_inclusion_proof_is_that_of_the_definition(size: int) -> None:
    for index in range(size):
        assert TREE.inclusion_proof(index, size) == textbook.path(index, ENTRIES[:size])


def test_every_leaf_of_every_size_is_proved() -> None:
    assert all(log.verify_inclusion(*inclusion(size, index)) for index, size in pairs())


@given(SIZE.filter(bool), st.data())
@settings(max_examples=300)
def test_inclusion_proof_with_anything_changed_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    root, _, _, leaf, proof = inclusion(size, index)
    bit = data.draw(st.integers(0, 255))
    other = data.draw(st.integers(-1, size).filter(lambda n: n != index))
    assert not log.verify_inclusion(flipped(root, bit), size, index, leaf, proof)
    assert not log.verify_inclusion(root, size, other, leaf, proof)
    assert not log.verify_inclusion(root, size, index, flipped(leaf, bit), proof)
    for changed in changes(proof, bit):
        assert not log.verify_inclusion(root, size, index, leaf, changed)


def changes(proof: list[bytes], bit: int) -> Iterator[list[bytes]]:
    """The proof with each of its nodes changed, left out, or followed by one more."""
    yield [*proof, bytes(32)]
    for place, node in enumerate(proof):
        before, after = proof[:place], proof[place + 1 :]
        yield [*before, flipped(node, bit), *after]
        yield [*before, *after]
        yield [*before, node, node, *after]
        yield [*before, node[:-1], *after]


def test_root_of_two_leaves_is_not_that_of_one() -> None:
    assert not log.verify_inclusion(TREE.root(2), 1, 0, LEAVES[1], [LEAVES[0]])


def test_nothing_is_included_in_the_empty_tree() -> None:
    assert not log.verify_inclusion(EMPTY_ROOT, 0, 0, EMPTY_ROOT, [])


@pytest.mark.parametrize(("index", "size"), [(3, 3), (-1, 3), (0, 0)])
def test_inclusion_proof_of_no_leaf_is_not_made(index: int, size: int) -> None:
    with pytest.raises(ArtifactError, match=f"a log of {size} leaves has none"):
        TREE.inclusion_proof(index, size)


# --- Consistency ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES[2:])
def test_consistency_proof_is_that_of_the_definition(size: int) -> None:
    for old in range(1, size):
        assert TREE.consistency_proof(old, size) == textbook.proof(old, ENTRIES[:size])


def test_every_size_is_the_beginning_of_every_later_one() -> None:
    assert all(verify_consistency(*consistency(old, size)) for old, size in pairs())


@pytest.mark.parametrize("size", SIZES)
def test_tree_is_the_beginning_of_itself_without_proof(size: int) -> None:
    root = TREE.root(size)
    assert TREE.consistency_proof(size, size) == []
    assert verify_consistency(size, root, size, root, [])
    assert not verify_consistency(size, root, size, root, [root])
    assert not verify_consistency(size, root, size, flipped(root, 0), [])


def test_empty_tree_begins_every_tree_without_proof() -> None:
    assert verify_consistency(0, EMPTY_ROOT, 5, TREE.root(5), [])
    assert not verify_consistency(0, TREE.root(1), 5, TREE.root(5), [])
    assert not verify_consistency(0, EMPTY_ROOT, 5, TREE.root(5), [EMPTY_ROOT])


@given(SIZE.filter(lambda n: n > 1), st.data())
@settings(max_examples=300)
def test_consistency_proof_with_anything_changed_is_refused(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size - 1))
    _, old_root, _, root, proof = consistency(old, size)
    bit = data.draw(st.integers(0, 255))
    assert not verify_consistency(old, flipped(old_root, bit), size, root, proof)
    assert not verify_consistency(old, old_root, size, flipped(root, bit), proof)
    for changed in changes(proof, bit):
        assert not verify_consistency(old, old_root, size, root, changed)


@pytest.mark.parametrize("old", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("place", range(7))
def test_log_that_changed_an_old_leaf_is_inconsistent(old: int, place: int) -> None:
    rewritten = LogTree([*LEAVES[:place], hash_leaf(b"another"), *LEAVES[place + 1 : 8]])
    proof = rewritten.consistency_proof(old, 8)
    verified = verify_consistency(old, TREE.root(old), 8, rewritten.root(), proof)
    assert verified is (place >= old)  # what comes later may be anything


def test_larger_tree_does_not_begin_a_smaller_one() -> None:
    old, old_root, new, root, proof = consistency(3, 7)
    assert not verify_consistency(new, root, old, old_root, proof)
    assert not verify_consistency(-1, EMPTY_ROOT, new, root, [])
    with pytest.raises(ArtifactError, match="a log of 3 leaves was never one of 7"):
        TREE.consistency_proof(7, 3)


# --- Bad input ------------------------------------------------------------------------------------


def test_leaf_of_another_size_is_refused() -> None:
    with pytest.raises(ArtifactError, match="32 bytes, not 5"):
        LogTree([b"short"])
    with pytest.raises(ArtifactError, match="32 bytes, not 33"):
        Frontier().append(bytes(33))


@pytest.mark.parametrize("size", [-1, LARGEST + 1])
def test_tree_of_a_size_that_never_was_is_refused(size: int) -> None:
    with pytest.raises(ArtifactError, match=f"none of its trees has {size}"):
        TREE.root(size)
