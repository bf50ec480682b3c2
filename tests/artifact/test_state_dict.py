"""State dicts in memory beside the files that safetensors saves from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ml.artifact import (
    ArtifactError,
    DigestAlgorithm,
    Tensor,
    describe_state_dict,
    load_verified,
    read_manifest,
    to_state_dict,
)

BASE = torch.arange(24, dtype=torch.float32).reshape(4, 6)

DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
]


SPECIAL: list[dict[str, torch.Tensor]] = [
    {"transposed": BASE.t()},
    {"slice": BASE[:, 1:4], "strided": BASE[::2]},
    {"expanded": BASE[:1].expand(5, 6)},
    {"channels_last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)},
    {"embedding": BASE, "head": BASE, "part": BASE[1:]},
    {"scalar": torch.tensor(3.5), "one": torch.tensor([3.5])},
    {"empty": torch.zeros(0, 3), "empty_0": torch.zeros(0)},
    {"parameter": torch.nn.Parameter(BASE)},
    {"nan": torch.tensor([float("nan"), float("-inf"), -0.0])},
    {"层.权重": BASE, "": BASE},
    {},
]
LAZY = [
    {"conjugate": torch.tensor([1 + 2j, 3 - 4j]).conj()},
    {"negative": torch.tensor([1 + 2j]).conj().imag},
]


def save(state_dict: Mapping[str, torch.Tensor], folder: Path) -> Path:
    """Save plain copies, as safetensors wants them."""
    path = folder / "model.safetensors"
    save_file({name: plain(tensor) for name, tensor in state_dict.items()}, path)
    return path


def plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().resolve_conj().resolve_neg().clone().contiguous()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_identity_equals_that_of_the_saved_file(tmp_path: Path, dtype: torch.dtype) -> None:
    state_dict = {"x": BASE.to(dtype)}
    assert describe_state_dict(state_dict) == read_manifest(save(state_dict, tmp_path))


@pytest.mark.parametrize(
    "state_dict", [*SPECIAL, *LAZY], ids=lambda state: next(iter(state), "no tensors")
)
def test_identity_of_special_tensors_equals_that_of_the_saved_file(
    tmp_path: Path, state_dict: dict[str, torch.Tensor]
) -> None:
    assert describe_state_dict(state_dict) == read_manifest(save(state_dict, tmp_path))


def test_identity_of_four_bit_floats_equals_that_of_the_saved_file(tmp_path: Path) -> None:
    packed = torch.arange(6, dtype=torch.uint8).reshape(2, 3).view(torch.float4_e2m1fn_x2)
    path = tmp_path / "model.safetensors"
    save_file({"x": packed}, path)
    assert describe_state_dict({"x": packed}) == read_manifest(path)


def test_identity_of_a_module_equals_that_of_the_saved_file(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    state_dict = module.state_dict()
    described = describe_state_dict(state_dict, DigestAlgorithm.SHA256)
    assert described == read_manifest(save(state_dict, tmp_path), DigestAlgorithm.SHA256)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_loaded_tensors_equal_those_saved(tmp_path: Path, dtype: torch.dtype) -> None:
    state_dict = {"x": BASE.to(dtype), "scalar": BASE[0, 1].to(dtype)}
    path = save(state_dict, tmp_path)
    loaded = to_state_dict(load_verified(path, read_manifest(path).weights))
    assert loaded["x"].dtype == dtype
    for name, tensor in state_dict.items():
        assert loaded[name].shape == tensor.shape
        assert bits(loaded[name]).equal(bits(tensor))


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def test_loaded_four_bit_floats_keep_their_shape(tmp_path: Path) -> None:
    packed = torch.arange(6, dtype=torch.uint8).reshape(2, 3).view(torch.float4_e2m1fn_x2)
    path = tmp_path / "model.safetensors"
    save_file({"x": packed}, path)
    loaded = to_state_dict(load_verified(path, read_manifest(path).weights))["x"]
    assert loaded.shape == (2, 3)
    assert loaded.view(torch.uint8).equal(packed.view(torch.uint8))


def test_loaded_zero_size_tensors_keep_their_shape() -> None:
    loaded = to_state_dict({"x": Tensor("BF16", (3, 0, 2), bytearray())})["x"]
    assert (loaded.shape, loaded.dtype) == ((3, 0, 2), torch.bfloat16)


def test_loaded_tensors_share_the_verified_memory() -> None:
    tensor = Tensor("U8", (2,), bytearray(b"\x01\x02"))
    loaded = to_state_dict({"x": tensor})["x"]
    loaded[0] = 9
    assert tensor.data == b"\x09\x02"


def test_dtype_without_a_torch_type_is_refused() -> None:
    with pytest.raises(ArtifactError, match="tensor 'x' has dtype F6_E2M3"):
        to_state_dict({"x": Tensor("F6_E2M3", (4,), bytearray(3))})


def test_odd_rows_of_four_bit_floats_are_refused() -> None:
    with pytest.raises(ArtifactError, match="odd number of 4-bit floats"):
        to_state_dict({"x": Tensor("F4", (2, 3), bytearray(3))})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (3, "'x' is of type int, not a tensor"),
        ({"step": BASE}, "'x' is of type dict, not a tensor"),
        (BASE.to_sparse(), "'x' is sparse, nested, quantized or without data"),
        (torch.empty(3, device="meta"), "'x' is sparse, nested, quantized or without data"),
        (BASE.to(torch.complex128), "'x' has dtype complex128"),
    ],
)
def test_entry_that_safetensors_cannot_hold_is_refused(value: object, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason):
        describe_state_dict({"x": value})


@pytest.mark.parametrize("name", [3, "\ud800"])
def test_name_that_is_not_text_is_refused(name: object) -> None:
    with pytest.raises(ArtifactError):
        describe_state_dict({name: BASE})


def test_describing_leaves_the_tensors_alone() -> None:
    parameter = torch.nn.Parameter(BASE.clone().t())
    describe_state_dict({"x": parameter})
    assert parameter.requires_grad
    assert not parameter.is_contiguous()
    assert parameter.equal(BASE.t())
