"""Deltas: what is made of them is what was written, to the byte, or nothing at all."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ml.artifact import DigestAlgorithm, open_model, read_manifest
from ml.artifact.file_reader import FileReader
from ml.errors import ModelproofError, NotVerified
from ml.storage.delta_coding import CHUNK_BYTES, Kind, Undecodable, decode_chunk, encode_chunk
from ml.storage.deltas import (
    DamagedDelta,
    NoDelta,
    apply_delta,
    encode_delta,
    look_into_delta,
)
from ml.storage.version_store import KeptVersion
from tests.artifact.builders import file_bytes, write

from .versions import base, changed, kept

GOLDEN = Path(__file__).parents[1] / "golden" / "delta_v1"


@pytest.fixture
def before(tmp_path: Path) -> KeptVersion:
    return kept(tmp_path, base(), "before")


@pytest.fixture
def after(tmp_path: Path) -> KeptVersion:
    return kept(tmp_path, changed(base()), "after")


def delta_between(before: KeptVersion, after: KeptVersion, depth: int = 1) -> bytes:
    with open_model(before.path) as old, open_model(after.path) as new:
        return b"".join(encode_delta(old, before.manifest, new, after.manifest, depth))


def test_file_is_made_again_to_the_byte(
    before: KeptVersion, after: KeptVersion, tmp_path: Path
) -> None:
    delta = delta_between(before, after)
    apply_delta([delta[:99], delta[99:]], before.path, tmp_path / "made", after.manifest.weights)
    assert (tmp_path / "made").read_bytes() == after.path.read_bytes()
    assert len(delta) < after.path.stat().st_size / 1.5


def test_delta_says_what_it_is_of(before: KeptVersion, after: KeptVersion) -> None:
    delta = delta_between(before, after, depth=3)
    header, pieces = look_into_delta([delta[:50], delta[50:200], delta[200:]])
    assert b"".join(map(bytes, pieces)) == delta
    assert (header.base, header.target) == (before.manifest.weights, after.manifest.weights)
    assert (header.depth, header.file_bytes) == (3, after.path.stat().st_size)


@pytest.mark.parametrize("algorithm", list(DigestAlgorithm))
def test_checkpoint_becomes_a_safetensors_file_of_the_same_identity(
    tmp_path: Path, algorithm: DigestAlgorithm
) -> None:
    versions = []
    for number in (1.0, 1.001):
        path = tmp_path / f"{number}.pt"
        weight = torch.full((50, 40), number).T  # not contiguous
        torch.save({"w": weight, "tied": weight, "b": torch.ones(3, dtype=torch.bfloat16)}, path)
        versions.append(KeptVersion(path, read_manifest(path, algorithm)))
    before, after = versions
    weights = after.manifest.weights
    apply_delta([delta_between(before, after)], before.path, tmp_path / "made", weights)
    assert read_manifest(tmp_path / "made", algorithm).weights == weights
    with open_model(tmp_path / "made") as made:
        assert made.layout.format == "safetensors"


def checkpoint(path: Path, name: str) -> KeptVersion:
    torch.save({name: torch.ones(3), "w": torch.ones(5)}, path)
    return KeptVersion(path, read_manifest(path))


def test_checkpoint_that_no_safetensors_file_can_hold_is_no_delta(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be written, and never become the version again."""
    usual, strange = checkpoint(tmp_path / "1.pt", "a"), checkpoint(tmp_path / "2", "__metadata__")
    with pytest.raises(NoDelta, match="a name that no tensor has in a safetensors file"):
        delta_between(usual, strange)
    delta = delta_between(strange, usual)
    apply_delta([delta], strange.path, tmp_path / "made", usual.manifest.weights)
    monkeypatch.setattr("ml.artifact.safetensors_writer.MAX_HEADER_BYTES", 100)
    with pytest.raises(NoDelta, match="take more than the 100 bytes"):
        delta_between(usual, usual)


def test_golden_delta_still_becomes_what_it_was(tmp_path: Path) -> None:
    """A failure here is a promise broken to everyone who stored a delta: mend the code."""
    wanted = GOLDEN / "after.safetensors"
    delta = (GOLDEN / "delta").read_bytes()
    weights = read_manifest(wanted).weights
    apply_delta([delta], GOLDEN / "before.safetensors", tmp_path / "made", weights)
    assert (tmp_path / "made").read_bytes() == wanted.read_bytes()


# --- What is not right ----------------------------------------------------------------------------


def test_other_base_is_noticed(before: KeptVersion, after: KeptVersion, tmp_path: Path) -> None:
    other = kept(tmp_path, changed(base(), seed=2), "other")
    with pytest.raises(NotVerified, match="another version's, or the base is not 0x"):
        apply_delta(
            [delta_between(before, after)], other.path, tmp_path / "made", after.manifest.weights
        )
    assert not (tmp_path / "made").exists()


def test_other_version_than_asked_for_is_noticed(
    before: KeptVersion, after: KeptVersion, tmp_path: Path
) -> None:
    with pytest.raises(NotVerified, match="another version's"):
        apply_delta([delta_between(before, after)], before.path, tmp_path / "made", bytes(32))
    assert not (tmp_path / "made").exists()


def test_no_damage_is_accepted(before: KeptVersion, after: KeptVersion, tmp_path: Path) -> None:
    """Encryption shows damage before; this is what stands behind it."""
    delta, made = delta_between(before, after), tmp_path / "made"
    places = [*range(88), *range(88, len(delta), 97)]
    damaged = [delta[:at] + bytes([delta[at] ^ 0x10]) + delta[at + 1 :] for at in places]
    unharmed = 0
    for data in [*damaged, *(delta[:at] for at in places), delta + b"x"]:
        try:
            apply_delta([data], before.path, made, after.manifest.weights)
        except ModelproofError:
            assert not made.exists()
        else:  # a depth, a name: what does not matter to the file
            assert made.read_bytes() == after.path.read_bytes()
            made.unlink()
            unharmed += 1
    assert unharmed < 100  # base, target and depth in the header, as said


def test_file_that_is_not_its_manifests_is_not_written(
    before: KeptVersion, after: KeptVersion
) -> None:
    for faulty in (before, after):
        whole = faulty.path.read_bytes()
        at = whole.index(b"}}") + 2 + 100
        faulty.path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(NotVerified, match="is not the one of its manifest: the file changed"):
            delta_between(before, after)
        faulty.path.write_bytes(whole)


def test_what_has_more_than_tensors_is_kept_whole(before: KeptVersion, tmp_path: Path) -> None:
    path = write(tmp_path, b"joblib's", "model.joblib")
    opaque = KeptVersion(path, read_manifest(path))
    for pair in ((before, opaque), (opaque, before)):
        with pytest.raises(NoDelta, match=r"keep (it|this one) whole"):
            delta_between(*pair)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b"", Kind.DENSE),
        (b"no zstd", Kind.PLAIN),
        (b"", Kind.SPARSE),
        (b"x", Kind.SAME),
        (b"x", Kind.RAW),
        (b"", 9),
    ],
)
def test_what_is_no_chunk_is_refused(payload: bytes, kind: int) -> None:
    with pytest.raises(Undecodable):
        decode_chunk(kind, payload, bytes(8), 8, 4)


def test_archive_bomb_is_refused_before_it_is_unpacked() -> None:
    _, bomb = encode_chunk(None, bytes(CHUNK_BYTES), 1)
    with pytest.raises(Undecodable, match=f"unpacks to {CHUNK_BYTES} bytes"):
        decode_chunk(Kind.PLAIN, bomb, None, 8, 4)


# --- How it is written ----------------------------------------------------------------------------


@given(
    st.binary(max_size=600), st.binary(max_size=600), st.sampled_from([1, 2, 4, 8]), st.booleans()
)
def test_any_chunk_is_read_as_it_was_written(
    old: bytes, new: bytes, item: int, known: bool
) -> None:
    size = min(len(old), len(new)) // item * item
    before, after = old[:size] if known else None, new[:size]
    kind, payload = encode_chunk(before, after, item)
    assert decode_chunk(kind, payload, before, size, item) == after
    assert len(payload) <= size


def test_shortest_way_is_taken() -> None:
    draw = np.random.default_rng(3)
    old = draw.normal(size=CHUNK_BYTES // 4).astype("<f4")
    few = old.copy()
    few[draw.integers(old.size, size=old.size // 500)] *= 2
    written = {
        "nothing changed": (old, old, Kind.SAME),
        "each a little": (old, old * np.float32(1.0001), Kind.DENSE),
        "a few": (old, few, Kind.SPARSE),
    }
    for what, (before, after, kind) in written.items():
        assert encode_chunk(before.tobytes(), after.tobytes(), 4)[0] == kind, what
    assert encode_chunk(None, bytes(4096), 4)[0] == Kind.PLAIN
    assert encode_chunk(None, draw.bytes(4096), 4)[0] == Kind.RAW


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """A tensor of 24 MiB, in two versions."""
    data = np.arange(6 << 20, dtype="<u4")
    before = kept(tmp_path, {"w": ("U32", [6 << 20], data.tobytes())}, "large")
    after = kept(tmp_path, {"w": ("U32", [6 << 20], (data ^ 3).tobytes())}, "larger")
    delta = tmp_path / "delta"
    del data
    tracemalloc.start()
    try:
        with (
            open_model(before.path) as old,
            open_model(after.path) as new,
            delta.open("wb") as file,
        ):
            file.writelines(encode_delta(old, before.manifest, new, after.manifest, 1))
        with FileReader(delta) as reader:
            pieces = reader.pieces(0, reader.size)
            apply_delta(pieces, before.path, tmp_path / "made", after.manifest.weights)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_tensors_without_any_bytes_are_written(tmp_path: Path) -> None:
    empty = kept(tmp_path, {"e": ("F32", [0], b"")}, "empty")
    apply_delta(
        [delta_between(empty, empty)], empty.path, tmp_path / "made", empty.manifest.weights
    )
    assert (tmp_path / "made").read_bytes() == empty.path.read_bytes()


def test_file_that_is_too_large_is_refused(
    before: KeptVersion, after: KeptVersion, tmp_path: Path
) -> None:
    delta = bytearray(delta_between(before, after))
    delta[16:24] = b"\xff" * 8
    with pytest.raises(ModelproofError, match="no room for a file of"):
        apply_delta([delta], before.path, tmp_path / "made", after.manifest.weights)


def test_delta_of_another_format_version_is_refused(
    before: KeptVersion, after: KeptVersion
) -> None:
    delta = bytearray(delta_between(before, after))
    delta[8] = 2
    with pytest.raises(DamagedDelta, match="its version is 2, and known is 1"):
        look_into_delta([delta])
    with pytest.raises(DamagedDelta, match="does not begin as one"):
        look_into_delta([file_bytes(base())])
