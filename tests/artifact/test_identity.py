"""What a file's identity depends on, and what it does not."""

from __future__ import annotations

import hashlib
import random
import zipfile
from pathlib import Path

import pytest
import safetensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml.artifact import DigestAlgorithm, MalformedFile, compare, read_manifest
from ml.artifact.dtypes import DTYPE_BITS, tensor_nbytes
from ml.artifact.safetensors import read_header
from ml.errors import ModelproofError

from .builders import SMALL, Tensors, file_bytes, header_of, raw_file, write

SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
WHOLE_BYTE_DTYPES = sorted(name for name, bits in DTYPE_BITS.items() if bits % 8 == 0)


@st.composite
def models(draw: st.DrawFn) -> Tensors:
    """Models of up to five tensors, with any names, dtypes, small shapes and bytes."""
    tensors = {}
    for name in draw(st.lists(st.text(max_size=8), max_size=5, unique=True)):
        if name == "__metadata__":
            continue
        dtype = draw(st.sampled_from(WHOLE_BYTE_DTYPES))
        shape = draw(st.lists(st.integers(0, 3), max_size=3))
        nbytes = tensor_nbytes(name, dtype, tuple(shape))
        tensors[name] = (dtype, shape, draw(st.binary(min_size=nbytes, max_size=nbytes)))
    return tensors


def identity(folder: Path, data: bytes, name: str = "model.safetensors") -> bytes:
    return read_manifest(write(folder, data, name)).weights


@SHARED_FOLDER
@given(models(), st.randoms(use_true_random=False))
def test_order_of_tensors_does_not_matter(
    tmp_path: Path, tensors: Tensors, rng: random.Random
) -> None:
    items = list(tensors.items())
    rng.shuffle(items)
    assert identity(tmp_path, file_bytes(dict(items))) == identity(tmp_path, file_bytes(tensors))


@SHARED_FOLDER
@given(models())
def test_library_reads_what_we_read(tmp_path: Path, tensors: Tensors) -> None:
    data = file_bytes(tensors)
    theirs = {
        name: (described["dtype"], described["shape"], bytes(described["data"]))
        for name, described in safetensors.deserialize(data)
    }
    ours = {
        span.name: (span.dtype, list(span.shape), data[span.start : span.start + span.nbytes])
        for span in read_header(write(tmp_path, data)).tensors
    }
    assert ours == theirs == tensors


def test_name_of_the_file_does_not_matter(tmp_path: Path) -> None:
    data = file_bytes(SMALL)
    assert identity(tmp_path, data, "a.safetensors") == identity(tmp_path, data, "B.SafeTensors")


def test_metadata_does_not_matter(tmp_path: Path) -> None:
    with_metadata = file_bytes(SMALL, {"format": "pt"})
    assert identity(tmp_path, with_metadata) == identity(tmp_path, file_bytes(SMALL))


def test_algorithm_decides_the_digest_of_each_tensor(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, file_bytes(SMALL)), DigestAlgorithm.SHA256)
    assert {tensor.name: tensor.digest for tensor in manifest.tensors} == {
        name: hashlib.sha256(data).digest() for name, (_, _, data) in SMALL.items()
    }


def test_any_flipped_bit_of_the_data_is_named_as_that_tensor(tmp_path: Path) -> None:
    whole = file_bytes(SMALL)
    path = write(tmp_path, whole)
    expected = read_manifest(path)
    for span in read_header(path).tensors:
        for bit in range(8 * span.start, 8 * (span.start + span.nbytes)):
            flipped = read_manifest(write(tmp_path, flip(whole, bit)))
            differences = [str(difference) for difference in compare(expected, flipped)]
            assert differences == [f"tensor {span.name!r} changed"]


def test_any_flipped_bit_of_the_header_is_refused_or_changes_the_identity(tmp_path: Path) -> None:
    whole = file_bytes(SMALL)
    expected = identity(tmp_path, whole)
    for bit in range(8 * (len(whole) - 38)):
        path = write(tmp_path, flip(whole, bit))
        try:
            weights = read_manifest(path).weights
        except MalformedFile:
            continue
        assert weights != expected


def test_any_truncation_is_refused(tmp_path: Path) -> None:
    whole = file_bytes(SMALL, {"format": "pt"})
    for size in range(len(whole)):
        path = write(tmp_path, whole[:size])
        with pytest.raises(MalformedFile):
            read_manifest(path)


@SHARED_FOLDER
@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_our_own_errors(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ModelproofError):
        read_manifest(write(tmp_path, data))


JSON_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.integers(),
        st.floats(),
        st.text(max_size=3),
        st.sampled_from(WHOLE_BYTE_DTYPES),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["dtype", "shape", "data_offsets", "__metadata__", "a"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@st.composite
def mutated_headers(draw: st.DrawFn) -> object:
    """The header of a valid file with one of its values replaced by any other JSON."""
    header: dict[str, object] = header_of(SMALL)
    name = draw(st.sampled_from([*header, "__metadata__"]))
    key = draw(st.sampled_from(["dtype", "shape", "data_offsets", None]))
    described = header.get(name)
    if key is None or not isinstance(described, dict):
        header[name] = draw(JSON_VALUES)
    else:
        described[key] = draw(JSON_VALUES)
    return header


@SHARED_FOLDER
@given(st.one_of(JSON_VALUES, mutated_headers()))
def test_hostile_headers_raise_nothing_but_our_own_errors(tmp_path: Path, header: object) -> None:
    data = b"".join(data for _, _, data in SMALL.values())
    path = write(tmp_path, raw_file(header, data))
    try:
        header = read_header(path)
    except ModelproofError as error:
        reason = str(error)
    else:
        reason = ""
        assert sum(span.nbytes for span in header.tensors) == len(data)
    assert reason.isprintable()


@SHARED_FOLDER
@given(st.data())
def test_what_we_accept_the_library_accepts(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(file_bytes(SMALL, {"format": "pt"}))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(whole) - 1))
        whole[position] = data.draw(st.sampled_from(b'-0123456789.eE+{}[]",: \\abFIU\n\xff'))
    try:
        header = read_header(write(tmp_path, bytes(whole)))
    except MalformedFile:
        return
    assert {name for name, _ in safetensors.deserialize(bytes(whole))} == {
        span.name for span in header.tensors
    }


def test_opaque_file_is_identified_by_its_sha256_alone(tmp_path: Path) -> None:
    data = b"\x80\x05joblib"
    manifest = read_manifest(write(tmp_path, data, "model.joblib"))
    (entry,) = manifest.files
    assert (entry.path, entry.size, entry.sha256) == ("", 8, hashlib.sha256(data).digest())
    assert manifest.is_opaque


def test_opaque_file_has_one_identity_whatever_the_algorithm_and_name(tmp_path: Path) -> None:
    data = b"\x80\x05joblib"
    first = read_manifest(write(tmp_path, data, "model.joblib"), DigestAlgorithm.BLAKE3)
    second = read_manifest(write(tmp_path, data, "other.bin"), DigestAlgorithm.SHA256)
    assert first == second


def test_any_flipped_bit_of_an_opaque_file_changes_its_identity(tmp_path: Path) -> None:
    data = b"\x80\x05joblib"
    flipped = {identity(tmp_path, flip(data, bit), "m.joblib") for bit in range(8 * len(data))}
    assert len(flipped - {identity(tmp_path, data, "m.joblib")}) == 8 * len(data)


def test_empty_opaque_file_has_an_identity(tmp_path: Path) -> None:
    assert read_manifest(write(tmp_path, b"", "m.joblib")).files[0].size == 0


@pytest.mark.parametrize("name", ["m.bin", "m.joblib", "m", "m.safetensors.bak"])
def test_tensors_have_their_identity_under_any_name(tmp_path: Path, name: str) -> None:
    data = file_bytes(SMALL)
    assert identity(tmp_path, data, name) == identity(tmp_path, data)


def test_torn_copy_of_tensors_under_another_name_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, file_bytes(SMALL)[:-1], "m.bin")
    with pytest.raises(MalformedFile):
        read_manifest(path)


def test_what_is_no_safetensors_is_opaque_only_under_another_name(tmp_path: Path) -> None:
    data = (2**40).to_bytes(8, "little") + b"{}"
    assert read_manifest(write(tmp_path, data, "m.bin")).is_opaque
    with pytest.raises(MalformedFile):
        read_manifest(write(tmp_path, data))


def test_content_of_safetensors_counts_more_than_the_name_of_a_checkpoint(tmp_path: Path) -> None:
    data = file_bytes(SMALL)
    assert identity(tmp_path, data, "m.pt") == identity(tmp_path, data)


def test_zip_archive_under_the_name_of_a_pickle_is_not_opaque(tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights.npy", b"")
    with pytest.raises(MalformedFile, match="is not a valid torch checkpoint"):
        read_manifest(path)
    assert read_manifest(path.rename(tmp_path / "m.npz")).is_opaque


def flip(data: bytes, bit: int) -> bytes:
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)
