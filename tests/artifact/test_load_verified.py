"""Loading only what was verified, and all that was verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.artifact import (
    ArtifactError,
    DigestAlgorithm,
    MalformedFile,
    Tensor,
    UnsupportedFormat,
    WeightsMismatch,
    load_verified,
    load_verified_file,
    read_manifest,
)
from ml.errors import NotVerified

from .builders import SMALL, Tensors, file_bytes, write


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path, file_bytes(SMALL))


def changed(**replacements: tuple[str, list[int], bytes] | None) -> Tensors:
    """The small model, tensors replaced, added or, by None, left out; ``_`` stands for a dot."""
    tensors = dict(SMALL)
    for key, tensor in replacements.items():
        name = key.replace("_", ".")
        if tensor is None:
            del tensors[name]
        else:
            tensors[name] = tensor
    return tensors


def test_verified_tensors_are_those_of_the_file(model: Path) -> None:
    loaded = load_verified(model, read_manifest(model).weights)
    assert loaded == {
        name: Tensor(dtype, tuple(shape), bytearray(data))
        for name, (dtype, shape, data) in SMALL.items()
    }


def test_tensor_larger_than_a_piece_is_loaded_whole(tmp_path: Path) -> None:
    data = bytes(i % 251 for i in range(2_500_001))
    path = write(tmp_path, file_bytes({"a": ("U8", [len(data)], data)}))
    assert load_verified(path, read_manifest(path).weights)["a"].data == data


def test_empty_model_loads_as_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, file_bytes({}))
    assert load_verified(path, read_manifest(path).weights) == {}


def test_other_algorithm_verifies_its_own_identity(model: Path) -> None:
    weights = read_manifest(model, DigestAlgorithm.SHA256).weights
    assert load_verified(model, weights, DigestAlgorithm.SHA256).keys() == SMALL.keys()


def test_other_weights_are_refused_with_both_identities(model: Path) -> None:
    actual = read_manifest(model).weights
    with pytest.raises(NotVerified) as caught:
        load_verified(model, bytes(32))
    assert f"its identity is 0x{actual.hex()}, not 0x{'00' * 32}" in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("tensors", "difference"),
    [
        (changed(steps=("I64", [], bytes(8))), "tensor 'steps' changed"),
        (changed(steps=("U64", [], bytes(8))), "tensor 'steps' has dtype U64, not I64"),
        (changed(steps=("I64", [1], bytes(8))), r"tensor 'steps' has shape \[1\], not \[\]"),
        (changed(steps=None), "tensor 'steps' is missing"),
        (changed(extra=("U8", [], b"x")), "tensor 'extra' was added"),
        (
            changed(steps=None, fc_bias=("F16", [3], bytes(6))),
            "tensor 'fc.bias' has dtype F16, not BF16, tensor 'steps' is missing",
        ),
    ],
)
def test_mismatch_names_the_tensors_that_differ(
    model: Path, tensors: Tensors, difference: str
) -> None:
    expected = read_manifest(model)
    other = write(model.parent, file_bytes(tensors), "other.safetensors")
    with pytest.raises(WeightsMismatch, match=f"; {difference}; get the file again"):
        load_verified(other, expected.weights, expected=expected)


def test_foreign_manifest_is_not_used_to_explain(model: Path) -> None:
    with pytest.raises(WeightsMismatch) as caught:
        load_verified(model, bytes(32), expected=read_manifest(model))
    assert "; tensor" not in str(caught.value)


def test_manifest_of_another_algorithm_is_refused_as_wrong_usage(model: Path) -> None:
    expected = read_manifest(model, DigestAlgorithm.SHA256)
    with pytest.raises(ArtifactError, match="read the model again with SHA256"):
        load_verified(model, expected.weights, expected=expected)


def test_truncated_file_is_refused(model: Path) -> None:
    weights = read_manifest(model).weights
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(MalformedFile):
        load_verified(model, weights)


def test_opaque_bytes_are_those_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, b"\x80\x05joblib", "model.joblib")
    assert load_verified_file(path, read_manifest(path).weights) == b"\x80\x05joblib"


def test_swapped_opaque_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, b"\x80\x05joblib", "model.joblib")
    weights = read_manifest(path).weights
    path.write_bytes(b"\x80\x05joblip")
    with pytest.raises(WeightsMismatch, match="is not the expected model"):
        load_verified_file(path, weights)


def test_safetensors_file_is_not_loaded_as_opaque(model: Path) -> None:
    with pytest.raises(UnsupportedFormat, match="load it with load_verified instead"):
        load_verified_file(model, bytes(32))


def test_opaque_file_is_not_loaded_as_tensors(tmp_path: Path) -> None:
    path = write(tmp_path, b"\x80\x05joblib", "model.joblib")
    with pytest.raises(UnsupportedFormat, match="with load_verified_file instead"):
        load_verified(path, bytes(32))
