"""An open model: its layout, its tensors piece by piece, and every format beside the others."""

from __future__ import annotations

import json
import random
import tracemalloc
from pathlib import Path

import pytest
import torch
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from ml.artifact import (
    ArtifactError,
    DigestAlgorithm,
    MalformedFile,
    UnknownTensor,
    find_non_finite,
    load_verified,
    open_model,
    parallel,
    read_manifest,
    safetensors,
)
from ml.artifact.safetensors import MAX_HEADER_BYTES, read_header

from .builders import SMALL, Tensors, file_bytes, write

MIB = 1 << 20
DTYPES = [torch.float32, torch.bfloat16, torch.uint8, torch.int64, torch.float8_e4m3fn]


@st.composite
def states(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    """State dicts of a few tensors, of which some are views of others."""
    state: dict[str, torch.Tensor] = {}
    for name in draw(st.lists(st.text(max_size=5), max_size=5, unique=True)):
        shape = draw(st.lists(st.integers(0, 4), max_size=3))
        tensor = torch.randint(0, 100, shape).to(draw(st.sampled_from(DTYPES)))
        kind = draw(st.sampled_from(["own", "transposed", "slice", "tied"]))
        if kind == "transposed" and tensor.dim() == 2:
            tensor = tensor.t()
        if kind == "slice" and tensor.dim():
            tensor = tensor[::2]
        if kind == "tied" and state:
            tensor = draw(st.sampled_from(list(state.values())))
        state[name] = tensor
    return state


@given(states(), st.sampled_from(DigestAlgorithm), st.integers(1, 3), st.data())
def test_identity_is_the_same_in_every_format(
    tmp_path: Path,
    state: dict[str, torch.Tensor],
    algorithm: DigestAlgorithm,
    count: int,
    data: st.DataObject,
) -> None:
    plain = {name: tensor.clone().contiguous() for name, tensor in state.items()}
    save_file(plain, tmp_path / "one.safetensors")
    torch.save(state, tmp_path / "one.pt")
    placed = {name: f"{data.draw(st.integers(1, count))}.safetensors" for name in state}
    for shard in set(placed.values()):
        save_file({n: t for n, t in plain.items() if placed[n] == shard}, tmp_path / shard)
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": placed}))
    paths = [tmp_path / "one.safetensors", tmp_path / "one.pt", index]
    first, *others = [read_manifest(path, algorithm) for path in paths]
    assert others == [first, first]
    assert first.tensor_count == len(state)
    loads = [load_verified(path, first.weights, algorithm) for path in paths]
    assert loads[1:] == loads[:1] * 2


@pytest.mark.parametrize("processors", [1, 2, 5])
def test_any_number_of_threads_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processors: int
) -> None:
    rng = random.Random(7)
    sizes = [0, 1, 3 * MIB + 1, 5, MIB, 2 * MIB, 7, MIB - 1, 4 * MIB, 0, 9]
    tensors: Tensors = {str(i): ("U8", [n], rng.randbytes(n)) for i, n in enumerate(sizes)}
    path = write(tmp_path, file_bytes(tensors))
    monkeypatch.setattr(parallel, "_processors", lambda: processors)
    manifest = read_manifest(path)
    for name, (_, _, data) in tensors.items():
        assert manifest.tensor(name).digest == blake3(data).digest()
    loaded = load_verified(path, manifest.weights)
    assert {n: bytes(t.data) for n, t in loaded.items()} == {
        n: data for n, (_, _, data) in tensors.items()
    }


def test_reading_on_many_threads_takes_memory_for_a_piece_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "_processors", lambda: 4)
    tensors: Tensors = {str(i): ("U8", [6 * MIB], bytes(6 * MIB)) for i in range(6)}
    path = write(tmp_path, file_bytes(tensors))
    tracemalloc.start()
    try:
        read_manifest(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * MIB


def test_layout_tells_the_format_and_where_tensors_lie(tmp_path: Path) -> None:
    path = write(tmp_path, file_bytes(SMALL))
    with open_model(path) as model:
        layout = model.layout
        assert (layout.format, [span.name for span in layout.tensors]) == ("safetensors", [*SMALL])
        first = layout.tensors[0]
        assert path.read_bytes()[first.start :][: first.nbytes] == SMALL[first.name][2]


def test_opaque_file_is_one_file_without_a_path(tmp_path: Path) -> None:
    with open_model(write(tmp_path, b"joblib", "m.joblib")) as model:
        assert model.layout.format == "opaque"
        assert [(file.path, file.size) for file in model.layout.files] == [("", 6)]


def test_pieces_of_a_tensor_are_its_contiguous_bytes(tmp_path: Path) -> None:
    tensor = torch.arange(600_000, dtype=torch.int32).reshape(600, 1000).t()
    torch.save({"a": tensor, "b": torch.ones(3)}, tmp_path / "m.pt")
    with open_model(tmp_path / "m.pt") as model:
        pieces = list(map(bytes, model.pieces("a")))
        with pytest.raises(UnknownTensor, match="has no tensor 'c'"):
            model.pieces("c")
    assert b"".join(pieces) == tensor.contiguous().numpy().tobytes()
    assert max(map(len, pieces)) == MIB


def test_open_model_can_be_read_several_times(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({"a": torch.tensor([float("inf")]), "b": torch.ones(3)}, path)
    with open_model(path) as model:
        assert model.manifest() == model.manifest() == model.load()[1] == read_manifest(path)
        assert find_non_finite(model) == ["a"]


def test_refused_model_leaves_no_file_open(tmp_path: Path) -> None:
    index = tmp_path / "m.safetensors.index.json"
    write(tmp_path, file_bytes(SMALL), "a.safetensors")
    placed = dict.fromkeys(SMALL, "a.safetensors") | {"b": "b.safetensors"}
    index.write_text(json.dumps({"weight_map": placed}))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in (index, write(tmp_path, b"bad", "c.safetensors"), write(tmp_path, b"PK", "d.pt")):
        with pytest.raises(ArtifactError):
            open_model(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# A million tensors: the format allows them, so they have to be read in bounded time and memory.


def test_header_as_the_library_writes_it_is_read_as_json_is(tmp_path: Path) -> None:
    many = {f"layers.{i}": ("BF16", [i % 3, 2], bytes(4 * (i % 3))) for i in range(3000)}
    for metadata in (None, {}, {"format": "pt", "a": '"},"x":{"'}):
        path = write(tmp_path, file_bytes(many, metadata))
        fast = read_header(path)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(safetensors, "_LONG_BYTES", MAX_HEADER_BYTES)
            assert read_header(path) == fast
        assert len(fast.tensors) == len(many)


@given(st.data())
def test_any_header_is_read_or_refused_as_by_the_json_parser(
    tmp_path: Path, data: st.DataObject
) -> None:
    whole = bytearray(file_bytes(SMALL, data.draw(st.sampled_from([None, {"format": "pt"}]))))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(8, len(whole) - 39))
        new = data.draw(st.sampled_from(b'-0123456789{}[]",: \\abFIU\n\x00\xc3\xa9'))
        whole[at : at + data.draw(st.integers(0, 1))] = bytes([new])
    whole[:8] = (len(whole) - 46).to_bytes(8, "little")
    path = write(tmp_path, bytes(whole))
    outcomes = []
    for threshold in (0, MAX_HEADER_BYTES):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(safetensors, "_LONG_BYTES", threshold)
            try:
                outcomes.append(repr(read_header(path)))
            except MalformedFile as error:
                outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@pytest.mark.slow
def test_million_tiny_tensors_are_identified(tmp_path: Path) -> None:
    count = 10**6
    form = b'"%d":{"dtype":"U8","shape":[],"data_offsets":[%d,%d]}'
    header = b"{" + b",".join([form % (i, i, i + 1) for i in range(count)]) + b"}"
    path = tmp_path / "model.safetensors"
    data = random.Random(3).randbytes(count)
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    manifest = read_manifest(path)
    assert manifest.tensor_count == manifest.total_bytes == count
    assert manifest.tensor("77").digest == blake3(data[77:78]).digest()
