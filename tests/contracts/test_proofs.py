"""verifyWeights and verifyTensor: what ml.artifact proves is accepted, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml.artifact import Manifest, read_manifest
from ml.chain.registry import ModelRegistry
from ml.chain.types import Status
from tests.artifact.builders import SMALL, Tensors, file_bytes, write

from .story import Cast, Story, ask, flipped, refused

METADATA = '{"seed": 7}'


def tensors(count: int) -> Tensors:
    return {f"layer {n}": ("F32", [n + 1], bytes([n]) * 4 * (n + 1)) for n in range(count)}


def read(folder: Path, content: Tensors) -> Manifest:
    return read_manifest(write(folder, file_bytes(content)))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read(tmp_path_factory.mktemp("small"), SMALL)


@pytest.fixture(scope="module")
def story(registry: ModelRegistry, cast: Cast, small: Manifest) -> Story:
    """A model whose version 1 has the weights of a real file, and version 2 others."""
    story = Story.begin(registry, cast)
    story.register(weights=small.weights, metadata=METADATA)
    story.validate()
    story.register()
    return story


# --- Weights --------------------------------------------------------------------------------------


def test_version_has_its_weights_and_details(story: Story, small: Manifest) -> None:
    weights, details = story.said[1]
    assert weights == small.weights
    assert story.registry.verify_weights(story.id, 1, weights, details)


@pytest.mark.parametrize("place", [0, 15, 31])
def test_other_weights_or_details_are_not_the_versions(story: Story, place: int) -> None:
    weights, details = story.said[1]
    assert not story.registry.verify_weights(story.id, 1, flipped(weights, place), details)
    assert not story.registry.verify_weights(story.id, 1, weights, flipped(details, place))
    assert not story.registry.verify_weights(story.id, 1, details, weights)


def test_weights_of_one_version_are_not_those_of_another(story: Story) -> None:
    assert not story.registry.verify_weights(story.id, 2, *story.said[1])
    assert story.registry.verify_weights(story.id, 2, *story.said[2])


def test_weights_stay_verifiable_whatever_becomes_of_the_version(create: Any) -> None:
    story = create()
    story.play(90, 91, 80)
    story.register()
    story.discard()
    story.revoke(1)
    assert story.statuses == [Status.REVOKED, Status.PASSED, Status.FAILED, Status.DISCARDED]
    for number, said in story.said.items():
        assert story.registry.verify_weights(story.id, number, *said)


@pytest.mark.parametrize("number", [0, 3])
def test_weights_of_no_version_are_refused(story: Story, number: int) -> None:
    with refused("UnknownVersion", modelId=story.id, version=number):
        story.registry.verify_weights(story.id, number, *story.said[1])


# --- Tensors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_each_tensor_of_a_file_is_proved_to_the_contract(
    story: Story, small: Manifest, name: str
) -> None:
    proof = small.proof(name)
    assert story.registry.verify_tensor(story.id, 1, story.said[1][1], proof)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16])
def test_tensors_are_proved_in_trees_of_any_size(create: Any, tmp_path: Path, count: int) -> None:
    manifest = read(tmp_path, tensors(count))
    story = create()
    story.register(weights=manifest.weights)
    details = story.said[1][1]
    proved = [
        story.registry.verify_tensor(story.id, 1, details, manifest.proof(entry.name))
        for entry in manifest.tensors
    ]
    assert proved == [True] * count


def test_proof_does_not_hold_for_another_version(story: Story, small: Manifest) -> None:
    proof = small.proof("fc.weight")
    assert not story.registry.verify_tensor(story.id, 2, story.said[2][1], proof)
    assert not story.registry.verify_tensor(story.id, 2, story.said[1][1], proof)


def claim(story: Story, small: Manifest) -> dict[str, Any]:
    """A true claim, in parts that can be falsified one at a time."""
    proof = small.proof("fc.weight")
    identity, tensor = proof.identity, proof.tensor
    assert len(proof.siblings) == 2
    return {
        "details": story.said[1][1],
        "tree root": identity.tree_root,
        "tensor count": identity.tensor_count,
        "total bytes": identity.total_bytes,
        "digest algorithm": int(identity.digest_algorithm),
        "files root": identity.files_root,
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "digest": tensor.digest,
        "siblings": list(proof.siblings),
    }


def holds(story: Story, claimed: dict[str, Any]) -> bool:
    details, *rest = claimed.values()
    answer = ask(story.registry, "verifyTensor", story.id, 1, details, rest[:5], rest[5:9], rest[9])
    return bool(answer)


# Every part of the claim, and what a liar might put there.
LIES: list[tuple[str, Callable[[Any], Any]]] = [
    ("details", flipped),
    ("tree root", flipped),
    ("tree root", lambda _: bytes(32)),
    ("tensor count", lambda count: count + 1),
    ("total bytes", lambda count: count - 1),
    ("digest algorithm", lambda _: 2),
    ("files root", flipped),
    ("name", lambda name: name + " "),
    ("name", lambda _: "fc.bias"),
    ("dtype", lambda _: "I32"),
    ("shape", lambda shape: shape[::-1]),
    ("shape", lambda shape: [shape[0] * shape[1]]),
    ("shape", lambda shape: [*shape, 1]),
    ("shape", lambda _: []),
    ("digest", flipped),
    ("siblings", lambda siblings: [flipped(siblings[0]), siblings[1]]),
    ("siblings", lambda siblings: [siblings[0], flipped(siblings[1], 31)]),
    ("siblings", lambda siblings: siblings[::-1]),
    ("siblings", lambda siblings: siblings[:1]),
    ("siblings", lambda siblings: [*siblings, bytes(32)]),
    ("siblings", lambda _: []),
]


def test_true_claim_holds(story: Story, small: Manifest) -> None:
    assert holds(story, claim(story, small))


@pytest.mark.parametrize(("part", "lie"), LIES, ids=[part for part, _ in LIES])
def test_claim_with_one_part_falsified_does_not_hold(
    story: Story, small: Manifest, part: str, lie: Callable[[Any], Any]
) -> None:
    true = claim(story, small)
    false = true | {part: lie(true[part])}
    assert false != true
    assert not holds(story, false)


def test_every_part_of_a_claim_is_falsified_by_some_test(story: Story, small: Manifest) -> None:
    assert {part for part, _ in LIES} == set(claim(story, small))


def test_tensor_of_no_version_is_refused(story: Story, small: Manifest) -> None:
    with refused("UnknownVersion", modelId=story.id, version=3):
        story.registry.verify_tensor(story.id, 3, story.said[1][1], small.proof("steps"))


def test_file_without_tensors_proves_none(create: Any, tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, b"pickled", "model.joblib"))
    story = create()
    story.register(weights=manifest.weights)
    identity = manifest.identity
    parts = (identity.tree_root, 0, 0, int(identity.digest_algorithm), identity.files_root)
    tensor = ("w", "F32", [1], bytes(32))
    details = story.said[1][1]
    assert story.registry.verify_weights(story.id, 1, manifest.weights, details)
    for siblings in ([], [bytes(32)]):
        assert not ask(
            story.registry, "verifyTensor", story.id, 1, details, parts, tensor, siblings
        )
