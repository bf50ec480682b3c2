"""Encrypting a stream of bytes into an object, and back."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.storage.encryption import (
    HEADER_BYTES,
    MAX_SEGMENT_BYTES,
    MIN_SEGMENT_BYTES,
    SEGMENT_BYTES,
    TAG_BYTES,
    Encryption,
    decrypt,
)
from ml.storage.errors import DamagedHeader, ExtendedObject, TruncatedObject, WrongKey

from . import textbook_object

SHORT = MIN_SEGMENT_BYTES
AROUND_SEGMENTS = [0, 1, SHORT - 1, SHORT, SHORT + 1, 3 * SHORT, 3 * SHORT + 5]


def encrypted(data: bytes, segment_bytes: int = SHORT) -> tuple[bytes, bytes]:
    """An object, and its key."""
    encryption = Encryption(segment_bytes)
    return b"".join(map(bytes, encryption.encrypt([data]))), encryption.key


def decrypted(data: bytes, key: bytes) -> bytes:
    return b"".join(map(bytes, decrypt([data], key)))


@pytest.mark.parametrize("size", AROUND_SEGMENTS)
def test_object_decrypts_to_what_was_encrypted(size: int) -> None:
    data = os.urandom(size)
    assert decrypted(*encrypted(data)) == data


@pytest.mark.parametrize("size", AROUND_SEGMENTS)
def test_object_is_what_the_documentation_describes(size: int) -> None:
    data = os.urandom(size)
    object_, key = encrypted(data)
    assert textbook_object.plaintext(object_, key) == data
    assert len(object_) == HEADER_BYTES + size + TAG_BYTES * (size // SHORT + 1)


def test_segments_have_a_mebibyte_unless_told_otherwise() -> None:
    data = os.urandom(SEGMENT_BYTES + 1)
    object_, key = encrypted(data, SEGMENT_BYTES)
    assert [len(piece) for piece in decrypt([object_], key)] == [1 << 20, 1]
    assert textbook_object.plaintext(object_, key) == data


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(0, 600), max_size=5).map(sorted))
def test_pieces_may_be_cut_anywhere(data: bytes, at: list[int]) -> None:
    def cut(whole: bytes) -> list[bytes]:
        return [whole[a:b] for a, b in zip([0, *at], [*at, len(whole)], strict=True)]

    encryption = Encryption(SHORT)
    object_ = b"".join(map(bytes, encryption.encrypt(cut(data))))
    assert b"".join(map(bytes, decrypt(cut(object_), encryption.key))) == data


def test_each_object_has_a_key_and_a_salt_of_its_own() -> None:
    (one, one_key), (other, other_key) = encrypted(b"the same"), encrypted(b"the same")
    assert one_key != other_key
    assert one[16:] != other[16:]


def test_encryption_is_used_once() -> None:
    encryption = Encryption(SHORT)
    list(encryption.encrypt([b"one"]))
    with pytest.raises(RuntimeError, match="encrypts one object"):
        encryption.encrypt([b"other"])


@pytest.mark.parametrize("segment_bytes", [0, MIN_SEGMENT_BYTES - 1, MAX_SEGMENT_BYTES + 1])
def test_segments_that_no_reader_would_take_are_refused(segment_bytes: int) -> None:
    with pytest.raises(ValueError, match="segments cannot have"):
        Encryption(segment_bytes)


def test_another_key_does_not_open_the_object() -> None:
    object_, _ = encrypted(b"text")
    with pytest.raises(
        WrongKey, match=r"this key does not open v3\.object: it is another object's"
    ):
        decrypt([object_], os.urandom(32), name="v3.object")


def test_object_opens_under_one_key_only_even_if_its_maker_wants_two() -> None:
    """GCM alone would not see to that: here the tag is right under the other key too."""
    object_, _ = encrypted(b"text")
    other = os.urandom(32)
    cipher_key, _ = textbook_object.derived(object_, other)
    header = object_[:HEADER_BYTES]
    forged = header + AESGCM(cipher_key).encrypt(bytes(11) + b"\x01", b"another text", header)
    with pytest.raises(WrongKey):
        decrypt([forged], other)


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (0, b"PK\x03\x04", "does not begin as an encrypted object does"),
        (4, b"\n\x1a\n\x01", "does not begin as an encrypted object does"),  # \r\n made \n
        (8, b"\x02", "its version is 2, and known is 1"),
        (9, b"\x02", "its algorithm is not a known one"),
        (11, b"\x01", "its algorithm is not a known one"),
        (12, b"\xff\xff\xff\xff", "its segments have 4294967295 bytes"),
        (12, b"\x00\x00\x00\x00", "its segments have 0 bytes"),
    ],
)
def test_header_that_is_none_is_refused_by_its_fault(
    offset: int, value: bytes, reason: str
) -> None:
    object_, key = encrypted(b"text")
    changed = object_[:offset] + value + object_[offset + len(value) :]
    with pytest.raises(DamagedHeader, match=reason):
        decrypt([changed], key)


def test_empty_file_is_no_object() -> None:
    with pytest.raises(TruncatedObject, match="cut short: 0 of 80 bytes are there"):
        decrypt([], bytes(32))


def test_object_has_as_many_bytes_as_its_sidecar_says() -> None:
    """Whoever has its key can write another size into a sidecar that is authentic."""
    object_, key = encrypted(bytes(5 * SHORT))
    assert sum(map(len, decrypt([object_], key, size=len(object_)))) == 5 * SHORT
    passed: list[int] = []
    with pytest.raises(ExtendedObject, match="it has more than its 300 bytes"):
        passed.extend(map(len, decrypt([object_], key, size=300)))
    assert sum(passed) < 300
    with pytest.raises(TruncatedObject, match=f"{len(object_)} of {len(object_) + 1} bytes"):
        list(decrypt([object_], key, size=len(object_) + 1))


@pytest.mark.parametrize("length", AROUND_SEGMENTS)
@pytest.mark.parametrize("is_list", [True, False])
def test_any_other_size_than_the_objects_is_refused(length: int, is_list: bool) -> None:
    object_, key = encrypted(os.urandom(length))
    for size in {*range(len(object_) + 2 * (SHORT + TAG_BYTES))} - {len(object_)}:
        pieces = [object_] if is_list else iter([object_])
        with pytest.raises((TruncatedObject, ExtendedObject)):
            list(decrypt(pieces, key, size=size))
    assert sum(map(len, decrypt([object_], key, size=len(object_)))) == length


def test_header_asking_for_much_memory_gets_none() -> None:
    object_, key = encrypted(b"text")
    changed = object_[:12] + (1 << 31).to_bytes(4, "big") + object_[16:]
    tracemalloc.start()
    try:
        with pytest.raises(DamagedHeader):
            decrypt([changed], key)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_object() -> None:
    segment, count = 1 << 16, 256
    piece = bytes(segment)

    def plaintext() -> Iterator[bytes]:
        for _ in range(count):
            yield piece

    encryption = Encryption(segment)
    tracemalloc.start()
    try:
        passed = sum(map(len, decrypt(encryption.encrypt(plaintext()), encryption.key)))
        assert passed == segment * count
        assert tracemalloc.get_traced_memory()[1] < 8 * segment
    finally:
        tracemalloc.stop()
