"""Readers and hostile bytes: our own errors and nothing else, in bounded time and memory.

``HYPOTHESIS_PROFILE=search`` looks further than the examples that are tried each time.
"""

from __future__ import annotations

import random
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.artifact import load_verified, open_model
from ml.artifact.torch_names import NAMES
from ml.artifact.torch_pickle import _INSTRUCTIONS
from ml.errors import ModelproofError

from .builders import file_bytes, write
from .checkpoints import (
    ONE,
    SMALL,
    checkpoint,
    members,
    named,
    number,
    numbers,
    pickled,
    state_dict,
    storage,
    tensor,
    text,
)
from .checkpoints import archive as zipped
from .test_folder_archive import made

MIB = 1 << 20
TWO = state_dict({"w": tensor(storage("0", 6), [2, 3]), "b": tensor(storage("1", 2), [2], [1])})
STORAGES = {"0": ONE, "1": bytes(8)}
SEEDS = {
    ".safetensors": [file_bytes({"a": ("F32", [2], bytes(8)), "b": ("U8", [], b"x")}, {"x": "y"})],
    ".pt": [SMALL, checkpoint(TWO, STORAGES)],
    ".tar": [
        made((b"config.json", b"{}"), (b"m.safetensors", file_bytes({"a": ("U8", [], b"x")})))
    ],
}
INTERESTING = [0, 1, 2, 8, 16, 32, 127, 128, 255]


def judge(path: Path) -> None:
    """Read a file in every way; whatever is wrong with it has to be said, in bounded memory."""
    tracemalloc.start()
    try:
        reason = attempt(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reason.isprintable()
    assert peak < 64 * MIB


def attempt(path: Path) -> str:
    """Read a file in every way; what was said against it."""
    try:
        with open_model(path) as model:
            manifest = model.manifest()
        loaded = load_verified(path, manifest.weights)
    except ModelproofError as error:
        return str(error)
    assert {name: len(t.data) for name, t in loaded.items()} == {
        entry.name: entry.nbytes for entry in manifest.tensors
    }
    return ""


@st.composite
def mutated(draw: st.DrawFn, seed: bytes) -> bytes:
    """A valid file with some bytes replaced, inserted, left out, repeated or exchanged."""
    data = bytearray(seed)
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 8))
        kind = draw(st.sampled_from(["set", "insert", "cut", "repeat", "move", "grow"]))
        if kind == "set":
            data[at : at + 1] = bytes([draw(st.sampled_from(INTERESTING))])
        elif kind == "insert":
            data[at:at] = draw(st.binary(max_size=8))
        elif kind == "cut":
            del data[at : at + length]
        elif kind == "repeat":
            data[at:at] = data[at : at + 10 * length]
        elif kind == "move":
            other = draw(st.integers(0, len(data)))
            data[at : at + length] = data[other : other + length]
        else:  # a number in little-endian, as lengths and offsets are
            data[at : at + 4] = draw(st.integers(0, 2**32 - 1)).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize("suffix", SEEDS)
@given(data=st.data())
def test_changed_file_raises_nothing_but_our_own_errors(
    tmp_path: Path, suffix: str, data: st.DataObject
) -> None:
    seed = data.draw(st.sampled_from(SEEDS[suffix]))
    judge(write(tmp_path, data.draw(mutated(seed)), f"m{suffix}"))


@given(st.data())
def test_changed_pickle_raises_nothing_but_our_own_errors(
    tmp_path: Path, data: st.DataObject
) -> None:
    judge(write(tmp_path, checkpoint(data.draw(mutated(TWO)), STORAGES), "m.pt"))


SIZES = st.one_of(st.integers(0, 9), st.integers(-1, 2**63), st.sampled_from([2**31, 2**62]))
PROGRAMS = st.lists(
    st.one_of(
        st.sampled_from([bytes([code]) for code in _INSTRUCTIONS]),
        st.sampled_from([named(module, name) for module, name in NAMES]),
        st.sampled_from([b"h\0", b"h\1", b"q\0", b"q\1", b"(", b"t", b"R", b"}", b"]", b"K\1"]),
        st.sampled_from([text("w"), text("storage"), storage("0", 6), storage("1", 2)]),
        st.just(tensor(storage("0", 6), [2, 3])),
        SIZES.map(number),
        st.lists(SIZES, max_size=3).map(numbers),
        st.binary(max_size=4),
    ),
    max_size=30,
).map(b"".join)


@given(PROGRAMS)
def test_any_pickle_raises_nothing_but_our_own_errors(tmp_path: Path, program: bytes) -> None:
    judge(write(tmp_path, checkpoint(pickled(program), STORAGES), "m.pt"))


@given(
    st.lists(SIZES, max_size=4),
    st.lists(SIZES, max_size=4),
    SIZES,
    st.sampled_from(["FloatStorage", "ByteStorage", "ComplexDoubleStorage", "UntypedStorage"]),
)
def test_any_view_raises_nothing_but_our_own_errors(
    tmp_path: Path, shape: list[int], strides: list[int], offset: int, kind: str
) -> None:
    module = "torch.storage" if kind.startswith("Untyped") else "torch"
    elements = {"FloatStorage": 6, "ComplexDoubleStorage": 1}.get(kind, 24)
    data = ONE[:16] if kind.startswith("Complex") else ONE
    view = tensor(storage("0", elements, kind, module), shape, strides, offset)
    judge(write(tmp_path, checkpoint(state_dict({"w": view}), {"0": data}), "m.pt"))


@given(st.data())
def test_any_members_raise_nothing_but_our_own_errors(tmp_path: Path, data: st.DataObject) -> None:
    parts = members(TWO, STORAGES)
    fields = st.fixed_dictionaries(
        {},
        optional={
            "name": st.sampled_from([part.name for part in parts] + [b"", b"m/x", b"../m"]),
            "method": st.sampled_from([0, 8, 99]),
            "flags": st.sampled_from([0, 1, 8, 2048]),
            "size": st.sampled_from([0, 23, 24, 25, 2**32 - 1]),
            "offset": st.sampled_from([0, 1, 100, 2**32 - 1]),
            "extra": st.sampled_from([b"", b"FB\0\0", b"\1\0\x10\0" + bytes(16), b"x"]),
            "central_extra": st.sampled_from([b"", b"\1\0\x08\0" + bytes(8), b"\1\0\xff\xff"]),
            "local": st.sampled_from([{}, {"size": 0, "crc": 0}, {"flags": 8}]),
        },
    )
    at = data.draw(st.integers(0, len(parts) - 1))
    parts[at] = replace(parts[at], **data.draw(fields))
    order = data.draw(st.permutations(parts))
    judge(write(tmp_path, zipped(order), "m.pt"))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".bin", ".json", ""])
def test_random_bytes_raise_nothing_but_our_own_errors(tmp_path: Path, suffix: str) -> None:
    rng = random.Random(suffix)
    for size in (0, 1, 7, 8, 9, 30, 100, 5000):
        for start in (b"", b"PK\3\4", b"PK\5\6", b"\x80\2", b"\2\0\0\0\0\0\0\0{}"):
            judge(write(tmp_path, start + rng.randbytes(size), f"m{suffix}"))
