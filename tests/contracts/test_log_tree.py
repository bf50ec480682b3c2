"""The log's tree and its proofs, in Solidity and in Python, over thousands of cases."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import pytest

from ml.artifact import log
from ml.artifact.log import EMPTY_ROOT, Frontier, LogTree
from ml.chain.provenance_log import ProvenanceLog

from .batch import effort, free_call
from .logs import SIZES, deploy, digest_of, flipped
from .nodes import set_storage
from .story import Cast, refused

CASES = 4_000
"""True proofs of each sort; of each, several false ones are made."""
SHARDS = 4
PER_CALL = 1_000
SIZE_SLOT = 0
CAPACITY = 2**32 - 1
MAX_UINT256 = 2**256 - 1

Case: TypeAlias = tuple[Any, ...]

LEAVES = [digest_of(n) for n in range(max(SIZES))]
TREE = LogTree(LEAVES)


@pytest.fixture(scope="module")
def harness(project: Any, cast: Cast) -> Any:
    return cast.deployer.deploy(project.LogHarness)


def appended(harness: Any, leaves: list[bytes]) -> list[bytes]:
    """The roots that the contract has after each of these appends to an empty tree."""
    return [bytes(root) for root in free_call(harness, "append", leaves)]


# --- Roots ----------------------------------------------------------------------------------------


def test_root_after_every_append_is_that_of_the_definition(harness: Any) -> None:
    roots = appended(harness, LEAVES)
    assert roots == [TREE.root(size) for size in range(1, len(LEAVES) + 1)]


@pytest.mark.parametrize("shard", range(SHARDS))
def test_roots_of_random_leaves_are_those_of_python(harness: Any, shard: int) -> None:
    dice, frontier = random.Random(shard), Frontier()
    leaves = [dice.randbytes(32) for _ in range(effort(500))]
    for leaf, root in zip(leaves, appended(harness, leaves), strict=True):
        frontier = frontier.append(leaf)
        assert root == frontier.root


# --- Proofs ---------------------------------------------------------------------------------------


def inclusions(dice: random.Random) -> Iterator[tuple[Case, bool]]:
    """A true case, and false ones with each of its parts changed."""
    size = _size(dice, 1)
    index = dice.choice((0, size - 1, dice.randrange(size)))
    root, leaf, bit = TREE.root(size), LEAVES[index], dice.randrange(256)
    proof = TREE.inclusion_proof(index, size)
    yield (root, size, index, leaf, proof), True
    yield (flipped(root, bit), size, index, leaf, proof), False
    yield (root, size, index, flipped(leaf, bit), proof), False
    yield (root, size, dice.choice((size, size + 1, MAX_UINT256)), leaf, proof), False
    if size > 1:
        other = dice.choice([n for n in range(size) if n != index])
        yield (root, size, other, leaf, proof), False
        yield (root, 0, index, leaf, proof), False
    for changed in _changes(proof, bit):
        yield (root, size, index, leaf, changed), False


def consistencies(dice: random.Random) -> Iterator[tuple[Case, bool]]:
    """A true case, and false ones with each of its parts changed."""
    size = _size(dice, 0)
    old = dice.choice((0, size, dice.randint(0, size), dice.randint(0, size)))
    old_root, root, bit = TREE.root(old), TREE.root(size), dice.randrange(256)
    proof = TREE.consistency_proof(old, size)
    yield (old, old_root, size, root, proof), True
    yield (old, flipped(old_root, bit), size, root, proof), False
    if old != 0:
        yield (old, old_root, size, flipped(root, bit), proof), False
        yield (dice.choice((size + 1, MAX_UINT256)), old_root, size, root, proof), False
    for changed in _changes(proof, bit):
        yield (old, old_root, size, root, changed), False


def _size(dice: random.Random, least: int) -> int:
    sizes = [size for size in SIZES if size >= least]
    return dice.choice((dice.choice(sizes), dice.randint(least, len(TREE))))


def _changes(proof: list[bytes], bit: int) -> Iterator[list[bytes]]:
    """The proof with each of its nodes changed, left out or doubled, or with one more."""
    yield [*proof, digest_of(bit)]
    yield [digest_of(bit), *proof]
    for place, node in enumerate(proof):
        before, after = proof[:place], proof[place + 1 :]
        yield [*before, flipped(node, bit), *after]
        yield [*before, *after]
        yield [*before, node, node, *after]


Maker: TypeAlias = Callable[[random.Random], Iterable[tuple[Case, bool]]]
Verifier: TypeAlias = Callable[..., bool]
SORTS: dict[str, tuple[Maker, Verifier]] = {
    "verifyInclusions": (inclusions, log.verify_inclusion),
    "verifyConsistencies": (consistencies, log.verify_consistency),
}


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("function", SORTS)
def test_true_proofs_are_accepted_and_changed_ones_refused(
    harness: Any, function: str, shard: int
) -> None:
    make, verify = SORTS[function]
    dice = random.Random(shard)
    cases = [case for _ in range(effort(CASES) // SHARDS) for case in make(dice)]
    for start in range(0, len(cases), PER_CALL):
        page = cases[start : start + PER_CALL]
        verified = free_call(harness, function, [case for case, _ in page])
        for (case, expected), on_chain in zip(page, verified, strict=True):
            assert on_chain is expected, case
            assert verify(*case) is expected, case


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("function", SORTS)
def test_any_numbers_and_nodes_mean_the_same_in_solidity_and_python(
    harness: Any, function: str, shard: int
) -> None:
    """A verifier that is given a wrong size may accept: sizes belong to roots. Both do, or none."""
    make, _ = SORTS[function]
    dice = random.Random(shard)
    cases = []
    for _ in range(effort(CASES) // SHARDS):
        case, _ = dice.choice(list(make(dice)))
        cases.append(tuple(_distorted(dice, part) for part in case))
    check_alike(harness, function, cases)


def _distorted(dice: random.Random, part: Any) -> Any:
    if isinstance(part, int) and dice.random() < 0.5:
        distorted = dice.choice((part - 1, part + 1, part * 2, part // 2, MAX_UINT256))
        return min(max(0, distorted), MAX_UINT256)
    return part


SMALL = range(10)


def test_inclusion_with_any_small_numbers_means_the_same(harness: Any) -> None:
    trees = [(size, index) for size in SMALL for index in range(size)]
    check_alike(
        harness,
        "verifyInclusions",
        [
            (TREE.root(size), *claim, LEAVES[index], TREE.inclusion_proof(index, size))
            for size, index in trees
            for claim in trees
        ],
    )


def test_consistency_with_any_small_numbers_means_the_same(harness: Any) -> None:
    trees = [(old, size) for size in SMALL for old in range(size + 1)]
    check_alike(
        harness,
        "verifyConsistencies",
        [
            (old, TREE.root(m), size, TREE.root(n), TREE.consistency_proof(m, n))
            for m, n in trees
            for old, size in trees
        ],
    )


def check_alike(harness: Any, function: str, cases: list[Case]) -> None:
    _, verify = SORTS[function]
    for start in range(0, len(cases), PER_CALL):
        page = cases[start : start + PER_CALL]
        for case, on_chain in zip(page, free_call(harness, function, page), strict=True):
            assert on_chain is verify(*case), case


def test_root_of_two_leaves_is_not_that_of_one(harness: Any) -> None:
    case = (TREE.root(2), 1, 0, LEAVES[1], [LEAVES[0]])
    assert free_call(harness, "verifyInclusions", [case]) == (False,)


# --- The contract's own ---------------------------------------------------------------------------


@pytest.fixture
def provenance_log(project: Any, cast: Cast) -> ProvenanceLog:
    return deploy(project, cast.deployer)


def set_size(log: ProvenanceLog, size: int) -> None:
    set_storage(log.contract.provider, log.address, SIZE_SLOT, CAPACITY << 32 | size)


def test_huge_log_goes_on_to_its_last_place(provenance_log: ProvenanceLog, cast: Cast) -> None:
    # every subtree is still the hash of nothing, which the log begins with
    set_size(provenance_log, CAPACITY - 1)
    before = Frontier(CAPACITY - 1, (EMPTY_ROOT,) * 31)
    assert provenance_log.tree_head().root == before.root

    record, _ = provenance_log.append(1, digest_of(1), sender=cast.client)
    (recorded,) = provenance_log.recorded(digest=digest_of(1))
    assert record.index == CAPACITY - 1
    assert provenance_log.tree_head().root == before.append(recorded.leaf).root
    with refused("LogIsFull", size=CAPACITY):
        provenance_log.append(1, digest_of(2), sender=cast.client)


def test_leaf_that_closes_half_of_all_places_still_fits_a_block(
    provenance_log: ProvenanceLog, cast: Cast
) -> None:
    set_size(provenance_log, 2**31 - 1)
    before = Frontier(2**31 - 1, (EMPTY_ROOT,) * 31)
    _, receipt = provenance_log.append(1, digest_of(1), sender=cast.client)
    (recorded,) = provenance_log.recorded(digest=digest_of(1))
    assert provenance_log.tree_head().root == before.append(recorded.leaf).root
    assert receipt.gas_used < 140_000
