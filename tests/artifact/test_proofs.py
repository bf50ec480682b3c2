"""Proofs that tensors are part of a model, and their text form, read strictly."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.artifact import ArtifactError, MalformedProof, Manifest, TensorsProof, UnknownTensor
from ml.errors import ModelproofError

from .builders import changed
from .test_manifest import BIAS, MODEL, WEIGHT
from .test_openzeppelin import random_manifest

PROOF = MODEL.proof_of(["fc.weight"])
ZERO = "0x" + 64 * "0"


@given(st.integers(1, 20), st.randoms(use_true_random=False), st.data())
def test_any_tensors_are_proved_at_once(count: int, rng: Any, data: st.DataObject) -> None:
    manifest = random_manifest(rng, count)
    names = [tensor.name for tensor in manifest.tensors]
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    proof = manifest.proof_of(chosen)
    assert {tensor.name for tensor in proof.tensors} == set(chosen)
    assert proof.verify(manifest.weights)
    assert TensorsProof.from_json(proof.to_json()) == proof


def test_siblings_of_one_tensor_are_those_that_verify_takes() -> None:
    assert PROOF.siblings == MODEL.proof("fc.weight").siblings


def test_tensor_named_twice_is_proved_once() -> None:
    assert MODEL.proof_of(["fc.weight", "fc.weight"]) == PROOF


def test_proof_of_no_tensor_is_refused() -> None:
    with pytest.raises(ArtifactError, match="one leaf or several"):
        MODEL.proof_of([])


def test_proof_of_an_unknown_tensor_is_refused() -> None:
    with pytest.raises(UnknownTensor, match=r"did you mean 'fc\.weight'"):
        MODEL.proof_of(["fc.bias", "fc.wait"])


@pytest.mark.parametrize(
    "fields",
    [
        {"tensors": (BIAS,)},
        {"tensors": (changed(WEIGHT, digest=bytes(32)),)},
        {"tensors": (changed(WEIGHT, name="other"),)},
        {"tensors": ()},
        {"siblings": ()},
        {"siblings": (bytes(32),)},
        {"flags": (True,)},
        {"identity": Manifest((WEIGHT,)).identity},
    ],
)
def test_proof_with_another_part_is_refused(fields: dict[str, Any]) -> None:
    assert PROOF.verify(MODEL.weights)
    assert not dataclasses.replace(PROOF, **fields).verify(MODEL.weights)


def test_proof_against_other_weights_is_refused() -> None:
    assert not PROOF.verify(bytes(32))


def mutate(change: Callable[[dict[str, Any]], object]) -> str:
    document = json.loads(PROOF.to_json())
    change(document)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.pop("flags"), "has no 'flags'"),
        (lambda d: d.update(extra=1), "unknown key 'extra'"),
        (lambda d: d.update(format="modelproof.inclusion.v2"), "its format is"),
        (lambda d: d.update(weights=ZERO), 'its "weights" do not follow from its "identity"'),
        (lambda d: d.update(flags=[1]), "not all true or false"),
        (lambda d: d.update(flags={}), '"flags" is not a list'),
        (lambda d: d.update(siblings=[ZERO[2:]]), "a sibling is not 0x"),
        (lambda d: d["identity"].pop("files_root"), "has no 'files_root'"),
        (lambda d: d["identity"].update(tensor_count=-1), "does not fit in a uint256"),
        (lambda d: d["identity"].update(tensor_count="1"), "is not a whole number"),
        (lambda d: d["identity"].update(digest_algorithm="MD5"), "known are BLAKE3 and SHA256"),
        (lambda d: d["tensors"][0].update(shape=[-1]), "dimension outside"),
        (lambda d: d["tensors"][0].update(digest=1), "the digest is not a string, in tensor"),
    ],
)
def test_wrong_field_is_refused_by_name(
    change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    with pytest.raises(MalformedProof) as caught:
        TensorsProof.from_json(mutate(change))
    assert reason in str(caught.value)


@given(st.one_of(st.text(), st.binary()))
def test_random_text_raises_nothing_but_our_own_errors(text: str | bytes) -> None:
    with pytest.raises(ModelproofError):
        TensorsProof.from_json(text)
