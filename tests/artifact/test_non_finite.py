"""NaN and infinity are found, in every float type, and are not refused."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ml.artifact import UnreadableFile, find_non_finite, load_verified, read_manifest

from .builders import file_bytes, write

FLOATS = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.complex64,
    torch.float8_e5m2,
    torch.float8_e4m3fn,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("value", [float("nan"), -float("nan"), float("inf"), -float("inf")])
def test_found_where_torch_sees_them(tmp_path: Path, dtype: torch.dtype, value: float) -> None:
    tensors = {
        "bad": torch.tensor([1.0, value, 2.0]).to(dtype),
        "good": torch.tensor([1.0, 2.0]).to(dtype),
    }
    wide = torch.complex64 if dtype.is_complex else torch.float32
    seen = [name for name, t in tensors.items() if not t.to(wide).isfinite().all()]
    save_file(tensors, tmp_path / "model.safetensors")
    assert find_non_finite(tmp_path / "model.safetensors") == seen


@pytest.mark.parametrize("dtype", [d for d in FLOATS if d.itemsize <= 2], ids=str)
def test_every_value_of_a_short_float_is_judged_as_torch_does(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    integer = {1: torch.uint8, 2: torch.int16}[dtype.itemsize]
    values = torch.arange(2 ** (8 * dtype.itemsize)).to(integer).view(dtype)
    finite = values.to(torch.float32).isfinite()
    save_file({"finite": values[finite]}, tmp_path / "finite.safetensors")
    assert find_non_finite(tmp_path / "finite.safetensors") == []
    others = {f"{i:05}": value for i, value in enumerate(values[~finite].unbind())}
    save_file({k: v.clone() for k, v in others.items()}, tmp_path / "others.safetensors")
    assert find_non_finite(tmp_path / "others.safetensors") == sorted(others)


@pytest.mark.parametrize("position", [0, 262_143, 262_144, 600_000])
def test_found_in_any_piece_of_a_large_tensor(tmp_path: Path, position: int) -> None:
    data = bytearray(4 * 600_001)
    struct.pack_into("<f", data, 4 * position, float("inf"))
    path = write(tmp_path, file_bytes({"a": ("F32", [600_001], bytes(data))}))
    assert find_non_finite(path) == ["a"]


def test_integers_with_the_same_bits_are_not_reported(tmp_path: Path) -> None:
    path = write(tmp_path, file_bytes({"a": ("U32", [1], b"\xff\xff\xff\xff")}))
    assert find_non_finite(path) == []


def test_names_come_in_order_and_are_not_refused(tmp_path: Path) -> None:
    nan = struct.pack("<f", float("nan"))
    path = write(
        tmp_path, file_bytes({"b": ("F32", [], nan), "a": ("F32", [], nan), "e": ("F32", [0], b"")})
    )
    tensors = load_verified(path, read_manifest(path).weights)
    assert find_non_finite(tensors) == find_non_finite(path) == ["a", "b"]


def test_nothing_is_found_in_an_opaque_file(tmp_path: Path) -> None:
    assert find_non_finite(write(tmp_path, b"\xff" * 8, "model.joblib")) == []


@pytest.mark.parametrize("name", ["none.joblib", "none.safetensors"])
def test_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableFile, match="there is no file"):
        find_non_finite(tmp_path / name)


def test_needs_no_torch(tmp_path: Path) -> None:
    path = write(tmp_path, file_bytes({"a": ("BF16", [1], b"\x80\x7f")}))
    program = (
        "import sys; from ml.artifact import find_non_finite\n"
        "print(find_non_finite(sys.argv[1]), 'torch' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, path],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "['a'] False\n"
