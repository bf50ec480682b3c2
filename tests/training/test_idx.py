"""IDX files are read as written, or not at all."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml.training.idx import MalformedIdx, parse_idx

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def idx(array: NDArray[np.uint8], *, element_type: int = 0x08, first: bytes = b"\0\0") -> bytes:
    magic = first + bytes((element_type, array.ndim))
    return magic + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_images_are_read_in_their_shape() -> None:
    assert np.array_equal(parse_idx(idx(IMAGES), 3, "images"), IMAGES)


def test_labels_are_read() -> None:
    labels = np.array([3, 1, 2], dtype=np.uint8)
    assert np.array_equal(parse_idx(idx(labels), 1, "labels"), labels)


def test_file_without_samples_is_read_as_none() -> None:
    assert parse_idx(idx(IMAGES[:0]), 3, "images").shape == (0, 3, 4)


@given(st.integers(0, len(idx(IMAGES)) - 1))
def test_every_truncation_is_refused(length: int) -> None:
    with pytest.raises(MalformedIdx):
        parse_idx(idx(IMAGES)[:length], 3, "images")


def test_trailing_byte_is_refused_with_both_sizes() -> None:
    with pytest.raises(MalformedIdx, match=r"images .* 41 bytes where its header asks for 40"):
        parse_idx(idx(IMAGES) + b"\0", 3, "images")


@pytest.mark.parametrize(
    "data",
    [idx(IMAGES, first=b"\x1f\x8b"), idx(IMAGES, element_type=0x0D), idx(IMAGES[0])],
    ids=["gzip", "float elements", "two dimensions"],
)
def test_other_magic_number_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedIdx, match="starts with"):
        parse_idx(data, 3, "images")


def test_shape_of_absurd_size_is_refused() -> None:
    header = b"\0\0\x08\x03" + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1)
    with pytest.raises(MalformedIdx, match="asks for"):
        parse_idx(header, 3, "images")
