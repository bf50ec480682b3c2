"""Tensors whose elements lie apart, beside NumPy's own copy of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from ml.artifact import strided
from ml.artifact.file_reader import FileReader
from ml.artifact.strided import contiguous_pieces, extent, is_contiguous

SHAPES = st.lists(st.integers(1, 6), max_size=4).map(tuple)


@st.composite
def views(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes with any strides: dense in any order, with gaps, overlapping, repeated."""
    shape = draw(SHAPES)
    return shape, tuple(draw(st.integers(0, 40)) for _ in shape)


@pytest.fixture
def elements(tmp_path: Path) -> tuple[FileReader, np.ndarray]:
    """A file of numbers, behind a few other bytes, and the numbers."""
    values = np.arange(2_000, dtype=np.uint16)
    path = tmp_path / "values"
    path.write_bytes(b"abc" + values.tobytes())
    return FileReader(path), values


def read(
    reader: FileReader, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0
) -> bytes:
    return b"".join(map(bytes, contiguous_pieces(reader, 3 + 2 * offset, shape, strides, 2)))


@pytest.mark.parametrize("limits", [(1 << 24, 1 << 20, 1 << 16), (64, 16, 8), (2, 4, 2)])
@given(view=views(), offset=st.integers(0, 50))
def test_elements_come_in_row_major_order(
    elements: tuple[FileReader, np.ndarray],
    limits: tuple[int, int, int],
    view: tuple[tuple[int, ...], tuple[int, ...]],
    offset: int,
) -> None:
    reader, values = elements
    shape, strides = view
    expected = as_strided(values[offset:], shape, [2 * stride for stride in strides])
    with pytest.MonkeyPatch.context() as patch:
        for name, limit in zip(("BLOCK_BYTES", "PIECE_BYTES", "_SMALL_BYTES"), limits, strict=True):
            patch.setattr(strided, name, limit)
        assert read(reader, shape, strides, offset) == expected.tobytes()


@given(views())
def test_extent_is_what_the_view_touches(view: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    shape, strides = view
    touched = as_strided(np.arange(2_000), shape, [8 * stride for stride in strides])
    assert extent(shape, strides) == touched.max() + 1


@given(views())
def test_contiguous_is_what_numpy_calls_so(
    view: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    shape, strides = view
    seen = as_strided(np.arange(2_000), shape, [8 * stride for stride in strides])
    assert is_contiguous(shape, strides) == seen.flags.c_contiguous


@pytest.mark.parametrize("shape", [(0,), (3, 0, 2), (0, 2**60)])
def test_view_without_elements_is_contiguous_and_touches_nothing(shape: tuple[int, ...]) -> None:
    strides = tuple(7 for _ in shape)
    assert is_contiguous(shape, strides)
    assert extent(shape, strides) == 0


@pytest.mark.parametrize("itemsize", [1, 2, 4, 8])
def test_large_transposed_matrix_is_read_block_by_block(tmp_path: Path, itemsize: int) -> None:
    rows, columns = 3001, 1009
    values = np.arange(rows * columns).astype(f"u{itemsize}").reshape(rows, columns)
    path = tmp_path / "values"
    path.write_bytes(values.tobytes())
    with FileReader(path) as reader:
        pieces = list(
            map(bytes, contiguous_pieces(reader, 0, (columns, rows), (1, columns), itemsize))
        )
    assert b"".join(pieces) == values.T.tobytes()
    assert max(map(len, pieces)) <= 1 << 20
