"""Headers: what is refused, with which words, before any tensor is read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ml.artifact import MalformedFile, UnreadableFile, read_manifest
from ml.artifact.safetensors import MAX_HEADER_BYTES, read_header

from .builders import SMALL, file_bytes, header_of, raw_file, write

DATA = b"".join(data for _, _, data in SMALL.values())


def entry(dtype: Any = "U8", shape: Any = (1,), offsets: Any = (0, 1), **more: Any) -> Any:
    shape = list(shape) if isinstance(shape, tuple) else shape
    offsets = list(offsets) if isinstance(offsets, tuple) else offsets
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


def refusal(folder: Path, data: bytes) -> str:
    """The reason for which a file with these bytes is refused."""
    return refusal_of(write(folder, data))


def refusal_of(path: Path) -> str:
    """The reason for which the file is refused."""
    with pytest.raises(MalformedFile) as caught:
        read_header(path)
    assert str(caught.value).startswith(f"'{path}' is not a valid safetensors file: ")
    assert "\n" not in str(caught.value)
    return caught.value.reason


def test_valid_header_gives_tensors_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    reversed_header = dict(reversed(header_of(SMALL).items()))
    header = read_header(write(tmp_path, raw_file(reversed_header, DATA)))
    assert [(span.name, span.nbytes) for span in header.tensors] == [
        ("fc.weight", 24),
        ("fc.bias", 6),
        ("steps", 8),
    ]


def test_metadata_is_kept(tmp_path: Path) -> None:
    header = read_header(write(tmp_path, file_bytes(SMALL, {"format": "pt"})))
    assert header.metadata == {"format": "pt"}


def test_padding_with_spaces_is_accepted(tmp_path: Path) -> None:
    header = json.dumps(header_of(SMALL)).encode() + b"     "
    assert len(read_header(write(tmp_path, raw_file(header, DATA))).tensors) == 3


def test_empty_model_is_accepted(tmp_path: Path) -> None:
    assert read_header(write(tmp_path, raw_file({}))).tensors == []


def test_zero_size_and_0d_tensors_are_accepted(tmp_path: Path) -> None:
    tensors = {
        "a": ("F32", [0, 7], b""),
        "b": ("U8", [], b"\x01"),
        "c": ("U8", [1], b"\x02"),
        "d": ("U8", [3, 0], b""),
    }
    header = read_header(write(tmp_path, file_bytes(tensors)))
    assert {span.name: (span.shape, span.nbytes) for span in header.tensors} == {
        "a": ((0, 7), 0),
        "b": ((), 1),
        "c": ((1,), 1),
        "d": ((3, 0), 0),
    }


def test_sub_byte_floats_are_accepted(tmp_path: Path) -> None:
    tensors = {"a": ("F4", [2, 3], bytes(3)), "b": ("F6_E2M3", [4], bytes(3))}
    assert len(read_header(write(tmp_path, file_bytes(tensors))).tensors) == 2


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, MAX_HEADER_BYTES + 1])
def test_absurd_header_length_is_refused(tmp_path: Path, length: int) -> None:
    path = write(tmp_path, raw_file(b"{}", length=length))
    os.truncate(path, 200_000_000)  # sparse: takes no room, and no time unless it is read
    assert f"said to have {length} bytes" in refusal_of(path)


def test_header_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    reason = refusal(tmp_path, raw_file(b"{}", length=3))
    assert reason == "its header is said to end at byte 11, but the file ends at 10"


@pytest.mark.parametrize("size", range(8))
def test_file_without_room_for_the_length_is_refused(tmp_path: Path, size: int) -> None:
    assert refusal(tmp_path, bytes(size)).startswith(f"it has {size} bytes")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"", "does not begin with '{'"),
        (b" {}", "does not begin with '{'"),
        (b"\xef\xbb\xbf{}", "does not begin with '{'"),
        (b"[]", "does not begin with '{'"),
        (b"{}\n", "does not end with '}' and spaces"),
        (b"{}\0", "does not end with '}' and spaces"),
        (b"{}{}", "not JSON at character 2"),
        (b'{"a":}', "not JSON at character 5"),
        (b'{"\xff":1}', "not UTF-8 at byte 2"),
        (b'{"a":1e3}', "has 1e3 where only whole numbers"),
        (b'{"a":NaN}', "has NaN where only whole numbers"),
        (b'{"a":' + 5000 * b"9" + b"}", "a number of absurd length"),
        (b'{"a":' + 100_000 * b"[" + b"}", "nested too deeply"),
    ],
)
def test_text_that_is_no_header_is_refused(tmp_path: Path, header: bytes, reason: str) -> None:
    assert reason in refusal(tmp_path, raw_file(header))


def test_duplicate_tensor_name_is_refused(tmp_path: Path) -> None:
    one = json.dumps(entry())
    header = f'{{"a":{one},"\\u0061":{one}}}'.encode()
    assert refusal(tmp_path, raw_file(header, b"x")) == "its JSON has the key 'a' twice"


def test_duplicate_key_in_a_tensor_is_refused(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}'
    assert refusal(tmp_path, raw_file(header, b"x")) == "its JSON has the key 'dtype' twice"


def test_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    header = b'{"\\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    reason = refusal(tmp_path, raw_file(header, b"x"))
    assert reason == r"tensor name '\ud800' cannot be written as UTF-8"


def test_hole_is_refused(tmp_path: Path) -> None:
    header = {"a": entry(offsets=(0, 1)), "b": entry(offsets=(2, 3))}
    assert "a hole before tensor 'b'" in refusal(tmp_path, raw_file(header, b"xyz"))


def test_hole_at_the_start_is_refused(tmp_path: Path) -> None:
    assert "a hole before tensor 'a'" in refusal(
        tmp_path, raw_file({"a": entry(offsets=(1, 2))}, b"xy")
    )


@pytest.mark.parametrize("offsets", [(0, 2), (1, 3)])
def test_overlap_is_refused(tmp_path: Path, offsets: tuple[int, int]) -> None:
    header = {"a": entry(shape=(2,), offsets=(0, 2)), "b": entry(shape=(2,), offsets=offsets)}
    assert "an overlap before tensor 'b'" in refusal(tmp_path, raw_file(header, b"xyz"))


def test_trailing_bytes_are_refused(tmp_path: Path) -> None:
    size = len(file_bytes(SMALL))
    reason = refusal(tmp_path, file_bytes(SMALL) + b"xy")
    assert reason == f"its tensors end at byte {size}, but the file ends at {size + 2}"


def test_trailing_bytes_of_an_empty_model_are_refused(tmp_path: Path) -> None:
    reason = refusal(tmp_path, raw_file({}, b"x"))
    assert reason == "its tensors end at byte 10, but the file ends at 11"


def test_tensor_beyond_the_end_is_refused(tmp_path: Path) -> None:
    whole = file_bytes(SMALL)
    reason = refusal(tmp_path, whole[:-1])
    assert reason == f"its tensors end at byte {len(whole)}, but the file ends at {len(whole) - 1}"


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        (entry(dtype="F31"), "unknown dtype 'F31'"),
        (entry(dtype=3), "dtype of tensor 'a' is not text"),
        (entry(dtype="F32"), "has 4 bytes by its dtype and shape, but 1 by its data_offsets"),
        (entry(shape=(2,)), "has 2 bytes by its dtype and shape, but 1 by its data_offsets"),
        (entry(shape=(-1,)), "shape of tensor 'a' is not a list of whole numbers"),
        (entry(shape=(2**63,)), "shape of tensor 'a' is not a list of whole numbers"),
        (entry(shape=(2**62, 2**62)), "more than 2**64 elements"),
        (entry(dtype="U64", shape=(2**62,)), "more than 2**64 bits"),
        (entry(shape=(1,) * 65), "has 65 dimensions"),
        (entry(shape=[True]), "shape of tensor 'a' is not a list of whole numbers"),
        (entry(shape="1"), "shape of tensor 'a' is not a list of whole numbers"),
        (entry(shape=None), "shape of tensor 'a' is not a list of whole numbers"),
        (entry(dtype="F4"), "does not fill whole bytes"),
        (entry(offsets=(0,)), "has 1 data_offsets, not 2"),
        (entry(offsets=(0, 1, 1)), "has 3 data_offsets, not 2"),
        (entry(offsets=(1, 0)), "but -1 by its data_offsets"),
        (entry(offsets=(-1, 0)), "data_offsets of tensor 'a' is not a list of whole numbers"),
        (entry(offsets={"0": 1}), "data_offsets of tensor 'a' is not a list of whole numbers"),
        (entry(strides=[1]), "not described by dtype, shape and data_offsets alone"),
        ({"dtype": "U8", "shape": [1]}, "not described by dtype, shape and data_offsets alone"),
        (["U8", [1], [0, 1]], "not described by dtype, shape and data_offsets alone"),
        (None, "not described by dtype, shape and data_offsets alone"),
    ],
)
def test_impossible_tensor_is_refused(tmp_path: Path, described: Any, reason: str) -> None:
    assert reason in refusal(tmp_path, raw_file({"a": described}, b"x"))


@pytest.mark.parametrize("metadata", [None, [], "text", {"epoch": 3}, {"nested": {}}])
def test_metadata_that_is_not_text_to_text_is_refused(tmp_path: Path, metadata: Any) -> None:
    reason = refusal(tmp_path, raw_file({"__metadata__": metadata}))
    assert reason == "its __metadata__ is not a map from text to text"


def test_hostile_name_cannot_reach_the_terminal(tmp_path: Path) -> None:
    name = "\x1b[2J\n\u202e" + 5000 * "x"
    reason = refusal(tmp_path, raw_file({name: entry(dtype="F32")}, b"x"))
    assert reason.isprintable()
    assert len(reason) < 300


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"there is no file '.*/none\.safetensors'"):
        read_manifest(tmp_path / "none.safetensors")


def test_file_of_another_format_is_refused(tmp_path: Path) -> None:
    zip_file = b"PK\x03\x04" + bytes(100)
    assert "said to end at byte" in refusal(tmp_path, zip_file)
