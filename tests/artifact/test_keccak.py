"""The two keccak back-ends."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.artifact.keccak import keccak256, select_backend


def test_empty_input_gives_the_known_hash() -> None:
    known = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak256(b"").hex() == known


def test_tiny_keccak_is_used_where_installed() -> None:
    tiny_keccak = pytest.importorskip("tiny_keccak")
    assert select_backend() is tiny_keccak.keccak256


@given(st.binary(max_size=1000))
def test_fallback_gives_equal_bits(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tiny_keccak", None)  # importing it now fails
        fallback = select_backend()
    assert fallback is not keccak256
    assert fallback(data) == keccak256(data)
