"""Entries, identity and inclusion proofs."""

from __future__ import annotations

import dataclasses
import hashlib
import random

import eth_abi
import pytest
from eth_utils import keccak

from ml.artifact import (
    DigestAlgorithm,
    FileEntry,
    InvalidEntry,
    Manifest,
    TensorEntry,
    UnknownTensor,
)

from .builders import changed

DIGEST = hashlib.sha256(b"digest").digest()
WEIGHT = TensorEntry("fc.weight", "F32", (2, 3), DIGEST, 24)
BIAS = TensorEntry("fc.bias", "BF16", (3,), hashlib.sha256(b"bias").digest(), 6)
CONFIG = FileEntry("config/model.json", 120, hashlib.sha256(b"config").digest())
MODEL = Manifest((WEIGHT, BIAS), (CONFIG,))


def test_tensor_leaf_is_the_double_hash_of_its_encoding() -> None:
    encoded = eth_abi.encode(
        ["string", "string", "uint256[]", "bytes32"], ["fc.weight", "F32", [2, 3], DIGEST]
    )
    assert WEIGHT.leaf == keccak(keccak(encoded))


def test_file_leaf_is_the_double_hash_of_its_encoding() -> None:
    encoded = eth_abi.encode(
        ["string", "uint256", "bytes32"], ["config/model.json", 120, CONFIG.sha256]
    )
    assert CONFIG.leaf == keccak(keccak(encoded))


def test_weights_are_the_hash_of_the_parts() -> None:
    low, high = sorted([WEIGHT.leaf, BIAS.leaf])
    encoded = eth_abi.encode(
        ["bytes32", "bytes32", "uint256", "uint256", "uint8", "bytes32"],
        [keccak(b"modelproof.weights.v1"), keccak(low + high), 2, 30, 1, CONFIG.leaf],
    )
    assert MODEL.weights == keccak(encoded)


def test_order_of_entries_does_not_matter() -> None:
    assert Manifest((BIAS, WEIGHT), (CONFIG,)) == MODEL


@pytest.mark.parametrize(
    "change",
    [
        {"name": "fc.weights"},
        {"dtype": "I32"},
        {"shape": (3, 2)},
        {"shape": (6,)},
        {"digest": bytes(32)},
    ],
)
def test_any_field_of_a_tensor_changes_the_weights(change: dict[str, object]) -> None:
    other = changed(WEIGHT, **change)
    assert Manifest((other, BIAS), (CONFIG,)).weights != MODEL.weights


def test_digest_algorithm_changes_the_weights() -> None:
    other = Manifest(MODEL.tensors, MODEL.files, DigestAlgorithm.SHA256)
    assert other.weights != MODEL.weights


def test_files_change_the_weights() -> None:
    assert Manifest(MODEL.tensors).weights != MODEL.weights


def test_empty_model_has_zero_roots_and_an_identity() -> None:
    empty = Manifest(())
    assert (empty.tree_root, empty.files_root, empty.tensor_count) == (bytes(32), bytes(32), 0)
    assert empty.weights != bytes(32)


def test_proof_verifies_against_the_weights() -> None:
    assert MODEL.proof("fc.bias").verify(MODEL.weights)


def test_proof_against_other_weights_is_refused() -> None:
    assert not MODEL.proof("fc.bias").verify(Manifest((BIAS,)).weights)


def test_proof_with_another_tensor_is_refused() -> None:
    proof = dataclasses.replace(MODEL.proof("fc.bias"), tensor=WEIGHT)
    assert not proof.verify(MODEL.weights)


def test_proof_with_invented_identity_is_refused() -> None:
    invented = Manifest((BIAS,))
    assert not dataclasses.replace(MODEL.proof("fc.bias"), identity=invented.identity).verify(
        MODEL.weights
    )


def test_unknown_tensor_suggests_the_closest_name() -> None:
    with pytest.raises(UnknownTensor, match=r"no tensor 'fc\.wieght'; did you mean 'fc\.weight'"):
        MODEL.proof("fc.wieght")


def test_name_that_occurs_twice_is_refused() -> None:
    with pytest.raises(InvalidEntry, match=r"tensor 'fc\.bias' occurs twice"):
        Manifest((BIAS, WEIGHT, changed(BIAS, digest=bytes(32))))


def test_opaque_file_with_something_beside_it_is_refused() -> None:
    with pytest.raises(InvalidEntry, match="nothing beside it"):
        Manifest((BIAS,), (FileEntry("", 1, DIGEST),))


@pytest.mark.parametrize("shape", [(-1,), (2**63,), (2**62, 4, 0), (1,) * 65])
def test_impossible_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidEntry, match="tensor 'x'"):
        TensorEntry("x", "U8", shape, DIGEST, 0)


@pytest.mark.parametrize(
    ("dtype", "shape"), [("F4", (3,)), ("F6_E2M3", (2, 1)), ("F6_E3M2", (3,)), ("F4", ())]
)
def test_elements_that_do_not_fill_bytes_are_refused(dtype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidEntry, match="whole bytes"):
        TensorEntry("x", dtype, shape, DIGEST, 2)


def test_size_that_contradicts_the_shape_is_refused() -> None:
    with pytest.raises(InvalidEntry, match="has 24 bytes, not 23"):
        changed(WEIGHT, nbytes=23)


def test_digest_of_another_size_is_refused() -> None:
    with pytest.raises(InvalidEntry, match="31 bytes"):
        changed(WEIGHT, digest=bytes(31))


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../b", "a//b", "./a", "a\\b", "a\0"])
def test_file_path_that_leaves_the_model_is_refused(path: str) -> None:
    with pytest.raises(InvalidEntry, match="inside the model"):
        FileEntry(path, 1, DIGEST)


def test_name_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(InvalidEntry, match="UTF-8"):
        TensorEntry("\udcff", "U8", (), DIGEST, 1)


def test_thousand_tensors_are_all_proved() -> None:
    rng = random.Random(3)
    model = Manifest(tuple(TensorEntry(str(i), "U8", (), rng.randbytes(32), 1) for i in range(999)))
    assert all(model.proof(tensor.name).verify(model.weights) for tensor in model.tensors)
