"""One value has one text, and no other text is taken for it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.training.canonical import Digest, MalformedJson, dump, load


@dataclass(frozen=True)
class Inner:
    rows: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Record:
    name: str
    count: int
    share: float
    digest: Digest
    parent: Digest | None
    inner: Inner


RECORD = Record("é", 3, 0.1, bytes(range(32)), None, Inner(((1, 2), (3,))))
TEXT = (
    '{"count":3,"digest":"0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",'
    '"inner":{"rows":[[1,2],[3]]},"name":"é","parent":null,"share":0.1}'
)


def test_text_is_sorted_compact_and_not_escaped() -> None:
    assert dump(RECORD) == TEXT


def test_text_is_read_back() -> None:
    assert load(Record, TEXT.encode(), "it") == RECORD


@given(
    st.builds(
        Record,
        st.text(),
        st.integers(0, 2**63),
        st.floats(allow_nan=False, allow_infinity=False),
        st.binary(min_size=32, max_size=32),
        st.none() | st.binary(min_size=32, max_size=32),
        st.builds(Inner, st.just(((1,), ()))),
    )
)
def test_every_record_survives(record: Record) -> None:
    assert load(Record, dump(record).encode(), "it") == record


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"count":3', '"count": 3', "not in canonical form"),
        ('{"count":3,', '{"count":3,"count":3,', "key 'count' twice"),
        ('"share":0.1', '"share":0.10', "not in canonical form"),
        ('"share":0.1', '"share":NaN', "NaN"),
        ('"share":0.1', '"share":1e999', "beyond a 64-bit float"),
        ('"name":"é"', '"name":"\\u00e9"', "not in canonical form"),
        ('"count":3', '"count":"3"', "at count: "),
        ('"count":3', '"count":3.0', "at count: "),
        ('"count":3,', "", "at count: "),
        ('"count":3', '"count":3,"cuont":4', "at cuont: "),
        ("[3]", '["3"]', "at inner.rows.1.0: "),
        ("0x00", "0x0", "at digest: "),
        ("0x00", "00", "at digest: "),
        ("1e1f", "1E1F", "not in canonical form"),
        ("1e1f", "1e1f1f", "at digest: it must have 32 bytes, not 33"),
        ("}", "", "not JSON"),
        ("é", "\\ud800", "surrogate|escape"),
    ],
)
def test_any_other_text_is_refused(old: str, new: str, reason: str) -> None:
    assert old in TEXT
    with pytest.raises(MalformedJson, match=f"^it cannot be used.*{reason}|^it is {reason}"):
        load(Record, TEXT.replace(old, new).encode(), "it")


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedJson, match="it cannot be used"):
        load(Record, data, "it")
