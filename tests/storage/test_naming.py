"""Naming bytes in one pass, however they come."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.storage.cid import LEAF_BYTES
from ml.storage.errors import WrongContent
from ml.storage.naming import checked, name
from ml.storage.pieces import PieceReader

NOISE = hashlib.shake_128(b"naming").digest(2 * LEAF_BYTES + 1000)
cuts = st.lists(st.integers(0, len(NOISE)), max_size=6).map(sorted)


def pieces_of(data: bytes, at: Sequence[int]) -> list[bytes]:
    ends = [*at, len(data)]
    return [data[a:b] for a, b in zip([0, *at], ends, strict=True)]


@settings(max_examples=30, deadline=None)
@given(cuts)
def test_names_do_not_depend_on_how_the_bytes_come(at: list[int]) -> None:
    assert name(pieces_of(NOISE, at)) == name([NOISE])


def test_checked_bytes_pass_unchanged() -> None:
    pieces = pieces_of(NOISE, [5, LEAF_BYTES])
    assert b"".join(map(bytes, checked(pieces, name([NOISE]).cid))) == NOISE


def test_bytes_of_another_name_are_refused_at_their_end() -> None:
    cid = name([NOISE]).cid
    with pytest.raises(WrongContent, match=f"{cid} is damaged"):
        list(checked([NOISE[:-1]], cid))


@settings(max_examples=50, deadline=None)
@given(cuts, st.lists(st.integers(0, 2 * LEAF_BYTES), max_size=6))
def test_bytes_are_taken_in_the_sizes_that_are_asked_for(at: list[int], sizes: list[int]) -> None:
    reader = PieceReader(pieces_of(NOISE, at))
    position = 0
    for size in [*sizes, len(NOISE)]:
        assert bytes(reader.take(size)) == NOISE[position : position + size]
        position = min(len(NOISE), position + size)
        assert reader.taken == position


def test_what_lies_within_a_piece_is_not_copied() -> None:
    reader = PieceReader([NOISE])
    assert reader.take(100).obj is NOISE
    assert reader.take(100).obj is NOISE
