"""The log's tree beside a library that others wrote: pymerkle, with Keccak-256.

Its roots and its inclusion paths are RFC 6962's, and ours. Its consistency paths hold the same
nodes or what makes them up, from which the RFC's proof is read off here.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import ConsistencyProof, InmemoryTree, InvalidProof
from pymerkle import verify_consistency as verify_theirs

from ml.artifact import log
from ml.artifact.log import LogTree, hash_leaf, hash_node
from tests.artifact.test_log import ENTRIES, SIZES, flipped

LARGEST = 3_000
SIZE = st.one_of(st.sampled_from(SIZES[1:]), st.integers(1, LARGEST))


@pytest.fixture(scope="module")
def entries() -> list[bytes]:
    """Those of the other tests, and more of all lengths."""
    return [*ENTRIES, *(n.to_bytes(2, "big") * (n % 40) for n in range(LARGEST - len(ENTRIES)))]


@pytest.fixture(scope="module")
def theirs(entries: list[bytes]) -> InmemoryTree:
    return InmemoryTree.init_from_entries(entries, algorithm="keccak_256")


@pytest.fixture(scope="module")
def ours(entries: list[bytes]) -> LogTree:
    return LogTree(map(hash_leaf, entries))


def rfc_proof(proof: ConsistencyProof) -> list[bytes]:
    """RFC 6962's proof from a pymerkle path.

    Their path begins below the node after the old tree's last one, whose hash the RFC has instead,
    and names the old tree's last node after it; the RFC leaves that out where it is the old root.
    """
    last = proof.subset.index(1)
    after, *siblings = proof.path[:last]
    for right, sibling in zip(proof.rule, siblings, strict=False):
        after = hash_node(sibling, after) if right else hash_node(after, sibling)
    whole = sum(proof.subset) == 1
    return [*([] if whole else [proof.path[last]]), after, *proof.path[last + 1 :]]


def test_every_root_is_theirs(theirs: InmemoryTree, ours: LogTree) -> None:
    assert len(ours) == theirs.get_size() == LARGEST
    assert [ours.root(size) for size in range(LARGEST + 1)] == [
        theirs.get_root(size) for size in range(LARGEST + 1)
    ]


@given(SIZE, st.data())
@settings(max_examples=500)
def test_inclusion_proof_is_theirs(
    theirs: InmemoryTree, ours: LogTree, size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = theirs.prove_inclusion(index + 1, size)  # they count leaves from 1 on
    leaf, *siblings = proof.path
    assert siblings == ours.inclusion_proof(index, size)
    assert log.verify_inclusion(theirs.get_root(size), size, index, leaf, siblings)


@given(SIZE, st.data())
@settings(max_examples=500)
def test_consistency_proof_is_theirs(
    theirs: InmemoryTree, ours: LogTree, size: int, data: st.DataObject
) -> None:
    old = data.draw(st.integers(1, size))
    proof = theirs.prove_consistency(old, size)
    assert (rfc_proof(proof) if old < size else []) == ours.consistency_proof(old, size)
    verify_theirs(ours.root(old), ours.root(size), proof)
    with pytest.raises(InvalidProof):
        verify_theirs(flipped(ours.root(old), 0), ours.root(size), proof)
