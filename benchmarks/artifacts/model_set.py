"""A model as Llama's are, of 400 bf16 tensors and 1 GiB: as one file, as shards, as a checkpoint.

The bytes are random and always the same, so that the identity is too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

HIDDEN: Final = 1024
INTERMEDIATE: Final = 2112
VOCABULARY: Final = 32_000
LAYERS: Final = 44
SHARDS: Final = 5
SEED: Final = 4


class ModelSet(NamedTuple):
    """The same tensors in every format."""

    one: Path
    shards: Path
    """Their index."""
    checkpoint: Path
    nbytes: int


def shapes(layers: int = LAYERS) -> dict[str, tuple[int, ...]]:
    """The tensors of a model of so many layers, in their order."""
    named: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        for part in "qkvo":
            named[f"{prefix}.self_attn.{part}_proj.weight"] = (HIDDEN, HIDDEN)
        for part in ("gate", "up"):
            named[f"{prefix}.mlp.{part}_proj.weight"] = (INTERMEDIATE, HIDDEN)
        named[f"{prefix}.mlp.down_proj.weight"] = (HIDDEN, INTERMEDIATE)
        for part in ("input", "post_attention"):
            named[f"{prefix}.{part}_layernorm.weight"] = (HIDDEN,)
    named["model.norm.weight"] = (HIDDEN,)
    named["model.rotary_emb.inv_freq"] = (32,)
    named["lm_head.weight"] = (VOCABULARY, HIDDEN)
    return named


def make(folder: Path) -> ModelSet:
    """Write the whole set."""
    named = shapes()
    one = folder / "one" / "model.safetensors"
    _write(one, named, np.random.default_rng(SEED))
    return ModelSet(one, _shard(one, folder / "shards", named), _save(one, folder), _size(named))


def make_small(folder: Path) -> Path:
    """Write a model of 2 MB."""
    path = folder / "small" / "model.safetensors"
    named: dict[str, tuple[int, ...]] = {f"layers.{i}.weight": (128, 128) for i in range(64)}
    _write(path, named, np.random.default_rng(SEED))
    return path


def _size(named: dict[str, tuple[int, ...]]) -> int:
    return sum(2 * prod(shape) for shape in named.values())


def _header(named: dict[str, tuple[int, ...]]) -> bytes:
    described, offset = {}, 0
    for name, shape in named.items():
        stop = offset + 2 * prod(shape)
        described[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, stop]}
        offset = stop
    text = json.dumps(described, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text


def _write(path: Path, named: dict[str, tuple[int, ...]], rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.write(_header(named))
        for shape in named.values():
            file.write(rng.bytes(2 * prod(shape)))


def _tensors(one: Path, named: dict[str, tuple[int, ...]]) -> Iterator[tuple[str, bytes]]:
    with one.open("rb") as file:
        file.seek(len(_header(named)))
        for name, shape in named.items():
            yield name, file.read(2 * prod(shape))


def _shard(one: Path, folder: Path, named: dict[str, tuple[int, ...]]) -> Path:
    """Write the tensors of a file, in turn, to shards with an index."""
    folder.mkdir(parents=True)
    placed = {
        name: f"model-{number % SHARDS + 1:05}-of-{SHARDS:05}.safetensors"
        for number, name in enumerate(named)
    }
    files = {}
    for shard in set(placed.values()):
        files[shard] = (folder / shard).open("wb")
        files[shard].write(_header({n: s for n, s in named.items() if placed[n] == shard}))
    for name, data in _tensors(one, named):
        files[placed[name]].write(data)
    for file in files.values():
        file.close()
    index = folder / "model.safetensors.index.json"
    metadata = {"total_size": _size(named)}
    index.write_text(json.dumps({"metadata": metadata, "weight_map": placed}, indent=2))
    return index


def _save(one: Path, folder: Path) -> Path:
    """Write the tensors of a file as torch does."""
    import torch
    from safetensors.torch import load_file

    path = folder / "checkpoint" / "model.pt"
    path.parent.mkdir(parents=True)
    torch.save({name: tensor.clone() for name, tensor in load_file(one).items()}, path)
    return path
