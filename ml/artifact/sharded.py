"""Sharded models: an index that says which tensor lies in which file of its folder.

``<name>.safetensors.index.json`` is what Hugging Face's libraries write, and
``<name>.bin.index.json`` is the same for torch checkpoints. The index has to agree with its shards
in every name, so that nothing is loaded that is not identified. Its ``metadata`` is not part of the
identity, as the one in a safetensors header is not.
Source: ``split_torch_state_dict_into_shards`` in the documentation of huggingface_hub.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from . import strict_json
from .errors import InvalidEntry, MalformedFile, quoted
from .file_reader import FilePath, FileReader
from .formats import format_of
from .json_fields import string
from .spans import TensorSpan

SUFFIXES: Final = (".safetensors.index.json", ".bin.index.json")

MAX_INDEX_BYTES: Final = 100_000_000
"""As much as a safetensors header may have."""

_WHAT: Final = "index of shards"


def is_index(path: FilePath) -> bool:
    """Tell by its name whether a file is an index of shards."""
    return os.fspath(path).lower().endswith(SUFFIXES)


def read_index(path: FilePath, *, follow_link: bool = True) -> dict[str, str]:
    """Read an index: the file name of the shard that each tensor lies in.

    Raises:
        MalformedFile: it is not an index, or names something that is not a file of its folder.
        UnreadableFile, FileChanged: as for ``FileReader``.
    """
    try:
        with FileReader(path, follow_link=follow_link) as reader:
            if reader.size > MAX_INDEX_BYTES:
                raise InvalidEntry(f"it has {reader.size} bytes, more than {MAX_INDEX_BYTES}")
            document = strict_json.loads(reader.read(0, reader.size), fractions=True)
        if not isinstance(document, dict) or not document.keys() <= {"metadata", "weight_map"}:
            raise InvalidEntry("it is not an object of metadata and weight_map")
        weight_map = document.get("weight_map")
        if not isinstance(weight_map, dict):
            raise InvalidEntry("its weight_map is not an object")
        shards = {name: string(shard, "a shard's name") for name, shard in weight_map.items()}
        for shard in set(shards.values()):
            _check_shard_name(shard)
    except (InvalidEntry, strict_json.StrictJsonError) as error:
        raise MalformedFile(path, str(error), _WHAT) from None
    return shards


def read_spans(
    path: FilePath, index: dict[str, str], open_shard: Callable[[str], FileReader]
) -> list[TensorSpan]:
    """Find the tensors of all shards, file by file, each in the order of their places.

    Args:
        path: of the index.
        index: what it says.
        open_shard: opens a shard by its name; its number is how many were opened before.

    Raises:
        MalformedFile: index and shards disagree, or a shard breaks a rule of its format.
        UnreadableFile: a shard is missing, or a link, or may not be read.
        FileChanged, UnsafePickle, UnsupportedFormat: as for a shard's format.
    """
    spans: list[TensorSpan] = []
    for number, shard in enumerate(sorted(set(index.values()))):
        reader = open_shard(shard)
        shard_format = format_of(reader)
        found = shard_format.read_spans(reader, number) if shard_format else []
        for span in found:
            if index.get(span.name) != shard:
                reason = f"shard {quoted(shard)} has tensor {quoted(span.name)}, which it places"
                elsewhere = index.get(span.name)
                place = f"in {quoted(elsewhere)}" if elsewhere else "nowhere"
                raise MalformedFile(path, f"{reason} {place}", _WHAT)
        spans += found
    missing = index.keys() - {span.name for span in spans}
    if missing:
        name = min(missing)
        reason = f"tensor {quoted(name)} is not in shard {quoted(index[name])}"
        raise MalformedFile(path, reason, _WHAT)
    return spans


def _check_shard_name(shard: str) -> None:
    """A shard is a file beside its index, so that it leads nowhere else."""
    if shard in ("", ".", "..") or not {"/", "\\", "\0"}.isdisjoint(shard):
        raise InvalidEntry(f"its shard {quoted(shard)} is not the name of a file beside it")
