"""Every way to damage an object or its sidecar a little: none is accepted, each is named."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ml.storage.access import open_sidecar
from ml.storage.encryption import HEADER_BYTES, decrypt
from ml.storage.errors import (
    DamagedHeader,
    DamagedObject,
    DamagedSegment,
    DamagedSidecar,
    ExtendedObject,
    ForgedSidecar,
    MisplacedSegment,
    SwappedSidecar,
    TruncatedObject,
    WrongKey,
)
from ml.storage.keys import MIN_LOG2_N, Key, MasterKey, Scrypt, WrappedKey
from ml.storage.naming import Stored, name
from ml.storage.sidecar import Payload, Sidecar

from .objects import PLAINTEXT, SEALED, Sealed, one_of_each, opened, sealed

MASTER, PASSPHRASE, PRIVATE = one_of_each()


@pytest.fixture(scope="module")
def good() -> Sealed:
    return sealed([MASTER, PASSPHRASE, PRIVATE])


def read(good: Sealed, data: bytes) -> bytes:
    """The plaintext of an object's bytes, by the good sidecar."""
    header, size = good.sidecar.header, good.sidecar.stored.size
    return b"".join(map(bytes, decrypt([data], good.key, header=header, size=size)))


def flipped(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Every place, and the bytes with one bit changed there, each bit once."""
    for place, bit in itertools.product(range(len(data)), range(8)):
        yield place, data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def test_undamaged_object_is_accepted_by_each_recipient(good: Sealed) -> None:
    for key in (MASTER, PASSPHRASE, PRIVATE):
        assert opened(good.data, good.sidecar.to_json(), good.cid, [key]) == PLAINTEXT


# --- The object -----------------------------------------------------------------------------------


def test_each_flipped_bit_of_the_header_is_refused_as_such(good: Sealed) -> None:
    for place, data in flipped(good.data):
        if place < HEADER_BYTES:
            with pytest.raises(DamagedHeader):
                read(good, data)


def test_each_flipped_bit_of_the_header_is_refused_without_the_sidecar_too(good: Sealed) -> None:
    for place, data in flipped(good.data):
        if place < HEADER_BYTES:
            with pytest.raises((DamagedHeader, WrongKey)):
                decrypt([data], good.key)


def test_each_flipped_bit_of_a_segment_is_refused_with_its_number(good: Sealed) -> None:
    for place, data in flipped(good.data):
        if place >= HEADER_BYTES:
            with pytest.raises(DamagedSegment) as refusal:
                read(good, data)
            assert refusal.value.index == (place - HEADER_BYTES) // SEALED


def test_each_prefix_is_refused_as_cut_short(good: Sealed) -> None:
    for length in range(len(good.data)):
        with pytest.raises(TruncatedObject) as refusal:
            read(good, good.data[:length])
        assert f"{length} of {len(good.data)} bytes are there" in str(refusal.value)


def test_each_prefix_is_refused_without_knowing_the_size_too(good: Sealed) -> None:
    for length in range(len(good.data)):
        with pytest.raises((TruncatedObject, DamagedSegment)):
            list(decrypt([good.data[:length]], good.key))


def test_each_pair_of_exchanged_segments_is_refused(good: Sealed) -> None:
    whole = len(good.segments) - 1  # the last one is shorter
    for one, other in itertools.combinations(range(whole), 2):
        exchanged = good.segments
        exchanged[one], exchanged[other] = exchanged[other], exchanged[one]
        with pytest.raises(MisplacedSegment) as refusal:
            read(good, good.with_segments(exchanged))
        assert (refusal.value.index, refusal.value.belongs_at) == (one, other)


def test_last_segment_exchanged_with_any_other_is_refused(good: Sealed) -> None:
    last = len(good.segments) - 1
    for one in range(last):
        exchanged = good.segments
        exchanged[one], exchanged[last] = exchanged[last], exchanged[one]
        with pytest.raises(DamagedSegment):
            read(good, good.with_segments(exchanged))


def test_each_repeated_segment_is_refused(good: Sealed) -> None:
    whole = len(good.segments) - 1
    for one, other in itertools.permutations(range(whole), 2):
        repeated = good.segments
        repeated[one] = repeated[other]
        with pytest.raises(MisplacedSegment):
            read(good, good.with_segments(repeated))


def test_each_missing_segment_is_refused(good: Sealed) -> None:
    for missing in range(len(good.segments)):
        rest = [each for index, each in enumerate(good.segments) if index != missing]
        with pytest.raises(TruncatedObject):
            read(good, good.with_segments(rest))
        with pytest.raises(DamagedObject):
            list(decrypt([good.with_segments(rest)], good.key))


@pytest.mark.parametrize("more", [b"\0", bytes(SEALED), bytes(10 * SEALED)])
def test_object_that_goes_on_after_its_end_is_refused(good: Sealed, more: bytes) -> None:
    with pytest.raises(ExtendedObject, match="it has more than its"):
        read(good, good.data + more)
    with pytest.raises(DamagedObject):
        list(decrypt([good.data + more], good.key))


def test_segment_of_another_object_is_refused(good: Sealed) -> None:
    other = sealed([MASTER])
    segments = [*good.segments[:1], other.segments[1], *good.segments[2:]]
    with pytest.raises(DamagedSegment):
        read(good, good.with_segments(segments))


def test_what_was_yielded_before_the_damage_is_what_was_encrypted(good: Sealed) -> None:
    segments = [*good.segments[:2], bytes(SEALED), *good.segments[3:]]
    pieces = decrypt([good.with_segments(segments)], good.key)
    assert bytes(next(pieces)) + bytes(next(pieces)) == PLAINTEXT[: 2 * 64]
    with pytest.raises(DamagedSegment, match="segment 2 of the object is damaged; fetch it again"):
        next(pieces)


# --- The sidecar ----------------------------------------------------------------------------------


def test_each_flipped_bit_of_the_sidecar_is_refused_without_any_key(good: Sealed) -> None:
    for _, data in flipped(good.sidecar.to_json()):
        with pytest.raises(DamagedSidecar):
            Sidecar.parse(data)


def test_each_prefix_of_the_sidecar_is_refused_without_any_key(good: Sealed) -> None:
    text = good.sidecar.to_json()
    for length in range(len(text)):
        with pytest.raises(DamagedSidecar):
            Sidecar.parse(text[:length])


def test_sidecar_of_another_object_is_refused(good: Sealed) -> None:
    other = sealed([MASTER])
    with pytest.raises(SwappedSidecar, match=f"kept for {good.cid} is the one of {other.cid}"):
        opened(good.data, other.sidecar.to_json(), good.cid, [MASTER])


def changed_entry(**fields: Any) -> Callable[[Sidecar], Sidecar]:
    """A sidecar whose master key's entry differs in one field."""

    def change(sidecar: Sidecar) -> Sidecar:
        first, *rest = sidecar.recipients
        return replace(sidecar, recipients=(replace(first, **fields), *rest))

    return change


FORGERIES: dict[str, Callable[[Sidecar], Sidecar]] = {
    "sha256": lambda s: replace(s, stored=Stored(s.stored.cid, bytes(32), s.stored.size)),
    "size": lambda s: replace(s, stored=Stored(s.stored.cid, s.stored.sha256, 1)),
    "header": lambda s: replace(s, header=os.urandom(64)),
    "key id": lambda s: replace(s, key_id=bytes(16)),
    "format": lambda s: replace(s, payload=Payload("pickle", s.payload.compression)),
    "compression": lambda s: replace(s, payload=Payload(s.payload.format, "none")),
    "mac": lambda s: replace(s, mac=bytes(32)),
    "wrapped key": changed_entry(wrapped=bytes(60)),
    "recipient left out": lambda s: replace(s, recipients=s.recipients[:-1]),
    "recipient added": lambda s: replace(
        s, recipients=(*s.recipients, MasterKey.generate().wrap(bytes(32), s.header))
    ),
    "recipients in another order": lambda s: replace(s, recipients=s.recipients[::-1]),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
def test_sidecar_changed_by_somebody_without_the_key_is_refused(
    forge: Callable[[Sidecar], Sidecar], good: Sealed
) -> None:
    forged = forge(good.sidecar).to_json()  # its checksum is right
    with pytest.raises(ForgedSidecar, match=f"the sidecar of {good.cid} was changed by somebody"):
        opened(good.data, forged, good.cid, [MASTER])


@pytest.mark.parametrize("key", [PASSPHRASE, PRIVATE], ids=["passphrase", "x25519"])
def test_each_kind_of_key_sees_a_forgery(key: Key, good: Sealed) -> None:
    others = tuple(entry for entry in good.sidecar.recipients if not key.matches(entry))
    (own,) = set(good.sidecar.recipients) - set(others)
    for forged in (
        replace(good.sidecar, recipients=(own,)),
        replace(good.sidecar, recipients=(replace(own, wrapped=own.wrapped[::-1]), *others)),
    ):
        with pytest.raises(ForgedSidecar):
            opened(good.data, forged.to_json(), good.cid, [key])


def test_sidecar_made_to_name_another_object_is_refused(good: Sealed) -> None:
    """As by who swaps two objects, and mends the names in their sidecars."""
    other = sealed([MASTER])
    renamed = replace(other.sidecar, stored=good.sidecar.stored)
    with pytest.raises(ForgedSidecar):
        opened(good.data, renamed.to_json(), good.cid, [MASTER])


def test_wrapped_key_of_another_object_is_refused(good: Sealed) -> None:
    other = sealed([MASTER])
    moved = replace(good.sidecar, recipients=other.sidecar.recipients)
    with pytest.raises(ForgedSidecar, match="does not open with it"):
        open_sidecar(moved, [MASTER])


def test_sidecar_is_refused_beside_an_object_of_other_bytes(good: Sealed) -> None:
    """Even by a recipient's own sidecar that names other bytes, as only a recipient can make it."""
    other = sealed([MASTER])
    stored = name([other.data])
    signed = replace(good.sidecar, stored=stored).with_recipients(good.sidecar.recipients, good.key)
    with pytest.raises(DamagedHeader):
        opened(other.data, signed.to_json(), other.cid, [MASTER])


# --- Sidecars that would cost their reader --------------------------------------------------------


def with_cost(sidecar: Sidecar, *log2_ns: int) -> bytes:
    entries = tuple(
        WrappedKey("scrypt-AES-256-GCM", bytes(16), bytes(60), Scrypt(bytes(16), log2_n))
        for log2_n in log2_ns
    )
    return replace(sidecar, recipients=entries).to_json()


@pytest.mark.parametrize(
    ("costs", "reason"),
    [
        ([21], "a log2_n of 21"),
        ([63], "a log2_n of 63"),
        ([MIN_LOG2_N - 1], f"a log2_n of {MIN_LOG2_N - 1}"),
        ([20, 10], "take too long to try"),
        ([18] * 5, "take too long to try"),
    ],
)
def test_sidecar_that_asks_for_too_much_work_is_refused(
    good: Sealed, costs: list[int], reason: str
) -> None:
    with pytest.raises(DamagedSidecar, match=reason):
        Sidecar.parse(with_cost(good.sidecar, *costs))


def test_sidecar_of_absurd_length_is_refused(good: Sealed) -> None:
    with pytest.raises(DamagedSidecar, match="more than 1048576 bytes"):
        Sidecar.parse(good.sidecar.to_json() + b" " * (1 << 20))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b'{"format": "modelproof.sidecar.v2"}',
        b"[" * 100_000,
        b'{"format": "modelproof.sidecar.v1", "format": "modelproof.sidecar.v1"}',
    ],
)
def test_text_that_is_no_sidecar_is_refused(text: bytes) -> None:
    with pytest.raises(DamagedSidecar, match="the sidecar of an object is damaged: "):
        Sidecar.parse(text)
