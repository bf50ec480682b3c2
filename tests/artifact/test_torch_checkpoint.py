"""Torch checkpoints beside the files that safetensors saves of the same state dict."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ml.artifact import (
    AmbiguousModel,
    ArtifactError,
    MalformedFile,
    UnsupportedFormat,
    describe_state_dict,
    find_non_finite,
    load_verified,
    read_manifest,
    to_state_dict,
)

from .builders import write
from .checkpoints import ONE, SMALL, archive, checkpoint, members, state_dict, storage, tensor
from .test_state_dict import BASE, DTYPES, SPECIAL, bits

MIB = 1 << 20


def saved(state: object, folder: Path, name: str = "model.pt", **options: Any) -> Path:
    path = folder / name
    torch.save(state, path, **options)
    return path


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_identity_equals_that_of_the_state_dict(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {"x": BASE.to(dtype), "transposed": BASE.to(dtype).t(), "scalar": BASE[0, 0].to(dtype)}
    assert read_manifest(saved(state, tmp_path)) == describe_state_dict(state)


@pytest.mark.parametrize("state", SPECIAL, ids=lambda state: next(iter(state), "no tensors"))
def test_identity_of_special_tensors_equals_that_of_the_state_dict(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    assert read_manifest(saved(state, tmp_path)) == describe_state_dict(state)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ["m.pt", "m.PTH", "pytorch_model.bin", "m.ckpt", "m.pkl", "m"])
def test_identity_depends_neither_on_the_name_nor_on_the_protocol(
    tmp_path: Path, name: str, protocol: int
) -> None:
    state = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)).state_dict()
    path = saved(state, tmp_path, name, pickle_protocol=protocol)
    assert read_manifest(path) == describe_state_dict(state)


def test_identity_of_four_bit_floats_equals_that_of_the_state_dict(tmp_path: Path) -> None:
    packed = torch.arange(6, dtype=torch.uint8).reshape(2, 3).view(torch.float4_e2m1fn_x2)
    assert read_manifest(saved({"x": packed}, tmp_path)) == describe_state_dict({"x": packed})


@pytest.mark.parametrize("tag", ["parameter", "tensor"])
def test_tensor_with_attributes_is_read_without_them(tmp_path: Path, tag: str) -> None:
    tagged = torch.nn.Parameter(BASE.clone()) if tag == "parameter" else BASE.clone()
    tagged.tag = tag
    assert read_manifest(saved({"x": tagged}, tmp_path)) == describe_state_dict({"x": BASE})


def test_large_tensor_that_is_not_contiguous_is_read_in_bounded_memory(tmp_path: Path) -> None:
    state = {"x": torch.arange(6_000_000).reshape(1500, 4000).t()}
    path, expected = saved(state, tmp_path), describe_state_dict(state)
    tracemalloc.start()
    try:
        assert read_manifest(path) == expected
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 8 * 6_000_000 > 40 * MIB > peak


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_loaded_tensors_equal_those_saved(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {"x": BASE.to(dtype), "strided": BASE.to(dtype)[1:, ::2], "0d": BASE[0, 1].to(dtype)}
    path = saved(state, tmp_path)
    loaded = to_state_dict(load_verified(path, read_manifest(path).weights))
    for name, tensor_ in state.items():
        assert (loaded[name].dtype, loaded[name].shape) == (dtype, tensor_.shape)
        assert bits(loaded[name]).equal(bits(tensor_))


def test_tied_tensors_are_loaded_once(tmp_path: Path) -> None:
    path = saved({"embedding": BASE, "head": BASE, "other": BASE.clone()}, tmp_path)
    loaded = load_verified(path, read_manifest(path).weights)
    assert loaded["head"].data is loaded["embedding"].data
    assert loaded["head"].data is not loaded["other"].data


def test_nan_in_a_checkpoint_is_found(tmp_path: Path) -> None:
    bad = torch.zeros(3, 5)
    bad[2, 4] = float("nan")
    path = saved({"good": BASE, "bad": bad, "strided": bad.t(), "part": bad[:2]}, tmp_path)
    assert find_non_finite(path) == ["bad", "strided"]


# Which of a checkpoint's entries is the model.


def training() -> dict[str, Any]:
    """What a training loop saves: the model, and what is needed to go on."""
    model = torch.nn.Linear(3, 4)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 3).state_dict(),
        "epoch": 3,
        "loss": 0.25,
        "name": "run",
        "digest": b"\x00\xff",
        "classes": {"a", "b"},
        "size": torch.Size([2, 3]),
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "history": [(1, 0.5), None, True, -(2**40)],
    }


@pytest.mark.parametrize("protocol", [2, 4])
def test_only_state_dict_in_a_checkpoint_is_the_model(tmp_path: Path, protocol: int) -> None:
    state = training()
    path = saved(state, tmp_path, pickle_protocol=protocol)
    assert read_manifest(path) == describe_state_dict(state["model"])


def test_key_chooses_among_several_state_dicts(tmp_path: Path) -> None:
    state = training()
    state["average"] = {name: value + 1 for name, value in state["model"].items()}
    path = saved(state, tmp_path)
    with pytest.raises(AmbiguousModel, match="has the state dicts 'average', 'model'; say which"):
        read_manifest(path)
    for key in ("model", "average"):
        weights = describe_state_dict(state[key]).weights
        assert read_manifest(path, key=key).weights == weights
        assert load_verified(path, weights, key=key).keys() == state[key].keys()


@pytest.mark.parametrize("key", ["none", "epoch"])
def test_key_that_names_no_state_dict_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(AmbiguousModel, match=f"no state dict '{key}'; those in it are 'model'"):
        read_manifest(saved(training(), tmp_path), key=key)


def test_key_of_an_entry_without_tensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormat, match="the entry 'state' of the state dict"):
        read_manifest(saved(training(), tmp_path), key="optimizer")


def test_key_of_a_model_without_entries_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AmbiguousModel, match="no state dict 'model'; leave the key out"):
        read_manifest(saved({"w": BASE}, tmp_path), key="model")


def test_tensors_beside_a_state_dict_are_refused_unless_a_key_chooses(tmp_path: Path) -> None:
    path = saved({"w": BASE, "model": {"w": BASE}}, tmp_path)
    with pytest.raises(AmbiguousModel, match="has tensors beside the state dicts in it, 'model'"):
        read_manifest(path)
    assert read_manifest(path, key="model") == describe_state_dict({"w": BASE})


@pytest.mark.parametrize("state", [BASE, [BASE], 3, None, {"a": {"b": {"w": BASE}}}, {"epoch": 3}])
def test_checkpoint_without_a_state_dict_is_refused(tmp_path: Path, state: object) -> None:
    with pytest.raises(UnsupportedFormat, match="holds no state dict"):
        read_manifest(saved(state, tmp_path))


# What cannot be in a model is refused by its name.

REFUSED = {
    "'x' of the state dict in .* is of type int, not a tensor": lambda: {"w": BASE, "x": 3},
    "'x' of the state dict in .* is of type dict, not a tensor": lambda: {"w": BASE, "x": {}},
    "tensor 'x' in .* is sparse": lambda: {"x": BASE.to_sparse()},
    "tensor 'x' in .* is sparse;": lambda: {"x": BASE.to_sparse_csr()},
    "tensor 'x' in .* is without data": lambda: {"x": torch.empty(3, device="meta")},
    "tensor 'x' in .* is nested": lambda: {"x": torch.nested.nested_tensor([BASE, BASE[1:]])},
    "tensor 'x' in .* is quantized": lambda: {
        "x": torch.quantize_per_tensor(BASE, 0.1, 0, torch.qint8)
    },
    "tensor 'x' in .* is conjugated or negated": lambda: {"x": torch.tensor([1j]).conj()},
    "tensor 'x' in .* has dtype complex128": lambda: {"x": BASE.to(torch.complex128)},
    "key of type int, not text": lambda: {3: BASE},
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # of prototypes and of what is to go
@pytest.mark.parametrize("reason", REFUSED)
def test_entry_that_safetensors_cannot_hold_is_refused(tmp_path: Path, reason: str) -> None:
    with pytest.raises(UnsupportedFormat, match=reason):
        read_manifest(saved(REFUSED[reason](), tmp_path))


def test_what_cannot_be_in_a_model_may_stand_beside_it(tmp_path: Path) -> None:
    state = {"model": {"w": BASE}, "mask": {"x": BASE.to_sparse()}}
    assert read_manifest(saved(state, tmp_path), key="model") == describe_state_dict(state["model"])


def test_checkpoint_of_the_first_format_is_refused(tmp_path: Path) -> None:
    path = saved({"w": BASE}, tmp_path, _use_new_zipfile_serialization=False)
    with pytest.raises(UnsupportedFormat, match=r"versions before 1\.6 wrote"):
        read_manifest(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_script_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    with pytest.raises(MalformedFile, match="compressed or encrypted, as TorchScript's may be"):
        read_manifest(path)


def test_checkpoint_of_a_big_endian_machine_is_refused(tmp_path: Path) -> None:
    parts = [
        replace(part, data=b"big") if part.name == b"m/byteorder" else part
        for part in members(state_dict({}), {})
    ]
    with pytest.raises(UnsupportedFormat, match="not saved on a little-endian machine"):
        read_manifest(write(tmp_path, archive(parts), "m.pt"))


# Storages and views that cannot be, made by hand.


def refusal(folder: Path, tensors: dict[str, bytes], storages: dict[str, bytes]) -> str:
    """The reason for which a checkpoint of these is refused."""
    with pytest.raises(MalformedFile) as caught:
        read_manifest(write(folder, checkpoint(state_dict(tensors), storages), "m.pt"))
    return caught.value.reason


def test_checkpoint_made_by_hand_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    path = write(tmp_path, SMALL, "m.pt")
    assert read_manifest(path) == describe_state_dict(torch.load(path))


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ([7], [1], 0),
        ([2], [1], 5),
        ([0], [1], 7),
        ([2, 3], [4, 1], 0),
        ([2**40], [1], 0),
        ([2, 2], [2**62, 1], 0),
        ([1], [1], 2**63 - 1),
    ],
)
def test_view_beyond_its_storage_is_refused(
    tmp_path: Path, shape: list[int], strides: list[int], offset: int
) -> None:
    view = tensor(storage("0", 6), shape, strides, offset)
    assert refusal(tmp_path, {"w": view}, {"0": ONE}) == "tensor 'w' reaches beyond its storage"


@pytest.mark.parametrize(
    ("shape", "strides", "offset", "reason"),
    [
        ([-1], [1], 0, "a size that is none"),
        ([1], [-1], 0, "a size that is none"),
        ([1], [1], -1, "a size that is none"),
        ([2**63], [1], 0, "a size that is none"),
        ([1, 1], [1], 0, "more sizes than strides"),
        ([1] * 65, [1] * 65, 0, "not of up to 64 sizes"),
    ],
)
def test_view_that_cannot_be_is_refused(
    tmp_path: Path, shape: list[int], strides: list[int], offset: int, reason: str
) -> None:
    view = tensor(storage("0", 6), shape, strides, offset)
    assert reason in refusal(tmp_path, {"w": view}, {"0": ONE})


def test_views_that_repeat_a_file_without_end_are_refused(tmp_path: Path) -> None:
    view = tensor(storage("0", 6), [10**6, 10**6], [0, 0])
    reason = refusal(tmp_path, {"w": view}, {"0": ONE})
    assert "overlapping views of 4000000000000 bytes in all" in reason


def test_many_names_of_one_large_tensor_are_no_repetition(tmp_path: Path) -> None:
    data = bytes(MIB)
    one = tensor(storage("0", MIB // 4), [MIB // 4])
    tied = {f"layer.{i}": one for i in range(100)}
    path = write(tmp_path, checkpoint(state_dict(tied), {"0": data}), "m.pt")
    assert read_manifest(path).total_bytes == 100 * MIB


@pytest.mark.parametrize("size", [0, 23, 25, 28])
def test_storage_of_another_size_than_stated_is_refused(tmp_path: Path, size: int) -> None:
    view = tensor(storage("0", 6), [2, 3])
    reason = refusal(tmp_path, {"w": view}, {"0": bytes(size)})
    assert reason == f"its storage '0' has {size} bytes, but 24 by its pickle"


def test_missing_storage_is_refused(tmp_path: Path) -> None:
    view = tensor(storage("1", 6), [2, 3])
    assert refusal(tmp_path, {"w": view}, {}) == "its storage '1' is missing"


def test_storage_of_no_tensor_is_refused(tmp_path: Path) -> None:
    reason = refusal(tmp_path, {}, {"0": ONE})
    assert reason == "its storage '0' belongs to no tensor"


def test_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    view = tensor(storage("0", 6), [2, 3])
    assert "its pickle is damaged" in refusal(tmp_path, {"\ud800": view}, {"0": ONE})


def test_any_changed_byte_is_refused_or_changes_the_identity_or_nothing(tmp_path: Path) -> None:
    whole = saved({"w": torch.arange(6.0), "b": torch.ones(2, 2).t()}, tmp_path).read_bytes()
    path = tmp_path / "changed.pt"
    path.write_bytes(whole)
    expected = read_manifest(path)
    loaded = torch.load(path)
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        try:
            manifest = read_manifest(path)
        except ArtifactError:
            continue
        if manifest == expected:  # padding, or a date: then torch reads what it read before
            same = torch.load(path)
            assert all(same[name].equal(loaded[name]) for name in loaded)


def test_any_truncation_is_refused(tmp_path: Path) -> None:
    for size in range(len(SMALL)):
        with pytest.raises(MalformedFile):
            read_manifest(write(tmp_path, SMALL[:size], "m.pt"))
