"""Models in shards: the identity of one file, and every way in which index and shards disagree."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ml.artifact import (
    ArtifactError,
    FileChanged,
    MalformedFile,
    UnreadableFile,
    UnsafePickle,
    load_verified,
    read_manifest,
)
from ml.artifact.sharded import MAX_INDEX_BYTES
from ml.errors import ModelproofError

from .builders import Tensors, file_bytes, write

TENSORS: Tensors = {f"layers.{i}.weight": ("F32", [i, 2], bytes(range(8 * i))) for i in range(7)}
INDEX = "model.safetensors.index.json"


def shards(count: int) -> dict[str, str]:
    """Which shard each tensor is in."""
    return {
        name: f"model-{i % count + 1:05}-of-{count:05}.safetensors"
        for i, name in enumerate(TENSORS)
    }


def write_model(folder: Path, count: int = 3) -> Path:
    """Write a model in shards; returns the path of its index."""
    placed = shards(count)
    for shard in set(placed.values()):
        write(folder, file_bytes({n: t for n, t in TENSORS.items() if placed[n] == shard}), shard)
    return write_index(folder, {"metadata": {"total_size": 1e3}, "weight_map": placed})


def write_index(folder: Path, index: object) -> Path:
    return write(folder, json.dumps(index).encode(), INDEX)


def refusal(path: Path) -> str:
    """The reason for which the index is refused."""
    with pytest.raises(MalformedFile) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"'{path}' is not a valid index of shards: ")
    assert str(caught.value).isprintable()
    return caught.value.reason


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_identity_is_that_of_one_file(tmp_path: Path, count: int) -> None:
    one = write(tmp_path, file_bytes(TENSORS), "one.safetensors")
    assert read_manifest(write_model(tmp_path, count)) == read_manifest(one)


def test_verified_tensors_are_those_of_the_shards(tmp_path: Path) -> None:
    path = write_model(tmp_path)
    loaded = load_verified(path, read_manifest(path).weights)
    assert {name: bytes(tensor.data) for name, tensor in loaded.items()} == {
        name: data for name, (_, _, data) in TENSORS.items()
    }


def test_shards_of_a_checkpoint_have_the_same_identity(tmp_path: Path) -> None:
    states = [{"a": torch.ones(2, 3).t()}, {"b": torch.zeros(4, dtype=torch.bfloat16)}]
    placed = {}
    for number, state in enumerate(states):
        torch.save(state, tmp_path / f"shard{number}.bin")
        placed |= dict.fromkeys(state, f"shard{number}.bin")
    index = write(
        tmp_path, json.dumps({"weight_map": placed}).encode(), "pytorch_model.bin.index.json"
    )
    torch.save(states[0] | states[1], tmp_path / "one.pt")
    assert read_manifest(index) == read_manifest(tmp_path / "one.pt")


def test_index_without_tensors_is_an_empty_model(tmp_path: Path) -> None:
    one = write(tmp_path, file_bytes({}), "one.safetensors")
    assert read_manifest(write_index(tmp_path, {"weight_map": {}})) == read_manifest(one)


@pytest.mark.parametrize(
    "shard",
    [
        "/etc/passwd",
        "../model-00001-of-00003.safetensors",
        "shards/model.safetensors",
        "..",
        ".",
        "",
        "..\\model.safetensors",
        "model\0.safetensors",
        "/",
    ],
)
def test_shard_outside_the_folder_is_refused(tmp_path: Path, shard: str) -> None:
    path = write_model(tmp_path)
    index = {"weight_map": {**shards(3), "layers.1.weight": shard}}
    write_index(tmp_path, index)
    assert "is not the name of a file beside it" in refusal(path)


@pytest.mark.parametrize("target", ["elsewhere.safetensors", "/etc/passwd", "/dev/zero"])
def test_shard_that_is_a_link_is_refused(tmp_path: Path, target: str) -> None:
    path = write_model(tmp_path)
    shard = tmp_path / shards(3)["layers.1.weight"]
    shard.rename(tmp_path / "elsewhere.safetensors")
    shard.symlink_to(target)
    with pytest.raises(UnreadableFile, match=r"is a link.*copy the model with its links followed"):
        read_manifest(path)


def test_index_may_be_named_by_a_link(tmp_path: Path) -> None:
    write_model(tmp_path)
    link = tmp_path / "link.safetensors.index.json"
    link.symlink_to(INDEX)
    assert read_manifest(link) == read_manifest(tmp_path / INDEX)


def test_missing_shard_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path)
    (tmp_path / shards(3)["layers.1.weight"]).unlink()
    with pytest.raises(UnreadableFile, match="there is no file"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"new": "model-00001-of-00003.safetensors"}, "'new' is not in shard 'model-00001-of-"),
        ({"layers.0.weight": "model-00002-of-00003.safetensors"}, "which it places in 'model-0000"),
        ({"layers.0.weight": None}, "has tensor 'layers.0.weight', which it places nowhere"),
    ],
)
def test_index_that_disagrees_with_a_shard_is_refused(
    tmp_path: Path, change: dict[str, str | None], reason: str
) -> None:
    path = write_model(tmp_path)
    placed = {name: shard for name, shard in (shards(3) | change).items() if shard is not None}
    write_index(tmp_path, {"weight_map": placed})
    assert reason in refusal(path)


def test_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path)
    again = {n: TENSORS[n] for n in ("layers.1.weight", "layers.4.weight", "layers.0.weight")}
    write(tmp_path, file_bytes(again), shards(3)["layers.1.weight"])
    assert "has tensor 'layers.0.weight', which it places in 'model-00001-of-" in refusal(path)


@pytest.mark.parametrize("data", [b"", b"not tensors", b"PK\3\4"])
def test_shard_without_tensors_is_refused(tmp_path: Path, data: bytes) -> None:
    write(tmp_path, data, "shard.bin")
    path = write_index(tmp_path, {"weight_map": {"a": "shard.bin"}})
    with pytest.raises(MalformedFile):
        read_manifest(path)


def test_command_in_a_shard_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.nn.Linear(1, 1)}, tmp_path / "shard.bin")
    path = write_index(tmp_path, {"weight_map": {"a": "shard.bin"}})
    with pytest.raises(UnsafePickle):
        read_manifest(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not JSON at character 0"),
        (b"[]", "not an object of metadata and weight_map"),
        (b'{"weight_map":{},"more":1}', "not an object of metadata and weight_map"),
        (b'{"metadata":{}}', "its weight_map is not an object"),
        (b'{"weight_map":[]}', "its weight_map is not an object"),
        (b'{"weight_map":{"a":1}}', "a shard's name is not a string"),
        (b'{"weight_map":{"a":"x","a":"y"}}', "the key 'a' twice"),
        (b'{"weight_map":{},"weight_map":{}}', "the key 'weight_map' twice"),
        (b'{"weight_map":{"\xff":"x"}}', "not UTF-8 at byte 16"),
        (b'{"weight_map":{"a":' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_text_that_is_no_index_is_refused(tmp_path: Path, text: bytes, reason: str) -> None:
    assert reason in refusal(write(tmp_path, text, INDEX))


def test_enormous_index_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, b"{", INDEX)
    os.truncate(path, MAX_INDEX_BYTES + 1)  # sparse
    assert f"more than {MAX_INDEX_BYTES}" in refusal(path)


def test_key_of_a_model_in_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no torch checkpoint, so it has no entry 'model'"):
        read_manifest(write_model(tmp_path), key="model")


def test_shard_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    shard = write(tmp_path, file_bytes({"a": ("U8", [3 << 20], bytes(3 << 20))}), "s.safetensors")
    path = write_index(tmp_path, {"weight_map": {"a": "s.safetensors"}})

    def shrink(done: int, total: int) -> None:
        os.truncate(shard, 100)

    with pytest.raises(FileChanged, match="to 100 bytes"):
        read_manifest(path, progress=shrink)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.sampled_from([*TENSORS, INDEX, "s"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["weight_map", "metadata", *TENSORS]), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(JSON, st.sampled_from([lambda x: x, lambda x: {"weight_map": x}]))
def test_hostile_index_raises_nothing_but_our_own_errors(
    tmp_path: Path, value: object, wrap: Callable[[object], object]
) -> None:
    try:
        manifest = read_manifest(write_index(tmp_path, wrap(value)))
    except ModelproofError as error:
        reason = str(error)
    else:
        reason = ""
        assert manifest.tensor_count == 0
    assert reason.isprintable()
