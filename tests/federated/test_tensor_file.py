"""Arrays in a file have one form, and nothing in any other is taken."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from ml.federated.tensor_file import MalformedTensors, dump, load

ARRAYS = {
    "b": np.arange(3),
    "a": np.array([[1.5, -0.0]], np.float32),
    "scalar": np.array(7, np.uint8),
}
DATA = dump(ARRAYS, '{"x":1}')


def with_header(header: dict[str, Any], tail: bytes = b"") -> bytes:
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + tail


def test_what_was_written_is_read() -> None:
    arrays, text = load(DATA, "a file")
    assert text == '{"x":1}'
    assert list(arrays) == ["a", "b", "scalar"]
    for name, array in arrays.items():
        assert (array.dtype, array.shape) == (ARRAYS[name].dtype, ARRAYS[name].shape)
        assert array.tobytes() == ARRAYS[name].tobytes()


def test_order_and_memory_layout_of_the_arrays_do_not_matter() -> None:
    other = {name: ARRAYS[name].copy(order="F") for name in reversed(ARRAYS)}
    assert dump(other, '{"x":1}') == DATA


def test_reference_reader_reads_it() -> None:
    assert np.array_equal(safetensors.numpy.load(DATA)["b"], np.arange(3))


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text('aé\n\x1f\x7f"\\/', max_size=4))
def test_bytes_are_those_that_the_library_writes(text: str, name: str) -> None:
    arrays = {**ARRAYS, name: np.zeros((2, 0), np.float32), "c": np.ones(2, np.uint8)}
    written = safetensors.numpy.save(arrays, {"modelproof": text})
    assert dump(arrays, text) == written
    assert load(written, "a file").text == text


def test_arrays_are_views_that_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        load(DATA, "a file").arrays["b"][0] = 5


def test_file_may_hold_no_array_at_all() -> None:
    assert load(dump({}, "text"), "a file") == ({}, "text")


@given(
    st.integers(0, len(DATA) - 1), st.integers(0, 255), st.sampled_from(["put", "insert", "drop"])
)
def test_changed_bytes_are_refused_or_other_contents_in_the_one_form(
    place: int, byte: int, change: str
) -> None:
    new = b"" if change == "drop" else bytes([byte])
    changed = DATA[:place] + new + DATA[place + (change != "insert") :]
    try:
        contents = load(changed, "a file")
    except MalformedTensors:
        return
    assert dump(*contents) == changed


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_a_sentence(data: bytes) -> None:
    with pytest.raises(MalformedTensors, match=r"^a file is not"):
        load(data, "a file")


TENSOR = {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}
METADATA = {"modelproof": "{}"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (with_header({"a": TENSOR}, b"x"), "no text 'modelproof'"),
        (with_header({"__metadata__": {"modelproof": 1}}), "no text 'modelproof'"),
        (
            with_header({"__metadata__": METADATA, "a": {**TENSOR, "dtype": "BF16"}}, b"x"),
            "BF16|U8",
        ),
        (with_header({"__metadata__": METADATA, "a": {**TENSOR, "dtype": ["U8"]}}, b"x"), "U8"),
        (with_header({"__metadata__": METADATA, "a": 5}, b"x"), "none of"),
        (with_header({"__metadata__": METADATA, "a": TENSOR}), "not a safetensors file"),
        (with_header({"__metadata__": METADATA, "a": TENSOR}, b"xy"), "not a safetensors file"),
        (
            with_header({"__metadata__": {**METADATA, "b": ""}, "a": TENSOR}, b"x"),
            "not in the form",
        ),
        (with_header({"a": TENSOR, "__metadata__": METADATA}, b"x"), "not in the form"),
        (DATA.replace(b'"a":', b'"b":'), "key 'b' twice"),
        (b"\xff" * 8 + DATA[8:], "does not end"),
    ],
)
def test_other_form_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedTensors, match=reason):
        load(data, "a file")
