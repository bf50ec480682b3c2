"""Torch checkpoints, ``.pt`` and ``.pth``: where the tensors of a state dict lie, without torch.

A checkpoint is a zip archive with a pickle, which says how tensors are views of storages, and a
member per storage. Nothing is unpacked and nothing is run. A view that is not contiguous is read
in row-major order, so that a tensor has the identity that it has in a safetensors file; names that
share a storage each count, as they would there.
Source: ``torch/serialization.py`` of torch 2.13.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Final

from . import torch_pickle
from .dtypes import DTYPE_BITS, PAIRED, TORCH_DTYPES, tensor_nbytes
from .entries import check_unicode
from .errors import (
    AmbiguousModel,
    InvalidEntry,
    MalformedFile,
    UnsafePickle,
    UnsupportedFormat,
    quoted,
    quoted_path,
)
from .file_reader import FileReader
from .spans import TensorSpan
from .strided import extent, is_contiguous
from .torch_names import PickleError, Storage, StoredTensor, Unreadable
from .zip_archive import Member, read_members

NAME: Final = "torch"

MAX_PICKLE_BYTES: Final = 100_000_000
"""As much as a safetensors header may have."""

MAX_REPETITION: Final = 8
"""How many times over views may read a file: some bytes could stand for any number of others."""

_FREE_BYTES: Final = 1 << 20
_OTHER_ITEMSIZES: Final = {"complex128": 16, "complex32": 4, "qint8": 1, "quint8": 1, "qint32": 4}
_PICKLE: Final = "data.pkl"
_STORAGE: Final = re.compile(r"data/[^/]+")
_NOTES: Final = (
    "version",
    "byteorder",
    ".format_version",
    ".storage_alignment",
    ".data/serialization_id",
)
_MAX_NOTE_BYTES: Final = 1024


def read_spans(reader: FileReader, file: int = 0, key: str | None = None) -> list[TensorSpan]:
    """Find the tensors of an open checkpoint, in the order of their places.

    Args:
        reader: the file.
        file: its number among the files of the model.
        key: the entry that is the state dict, where the checkpoint has several.

    Raises:
        MalformedFile: it breaks a rule of the format, or repeats its bytes too often.
        UnsafePickle: its pickle asks for something that no state dict needs.
        UnsupportedFormat: it holds tensors that safetensors cannot hold, or no state dict.
        AmbiguousModel: it holds several state dicts, or none under that key.
        UnreadableFile, FileChanged: as for ``FileReader.fill``.
    """
    where = quoted_path(reader.path)
    try:
        members = _members(reader)
        root, storages = torch_pickle.load(_checked(reader, members[_PICKLE], MAX_PICKLE_BYTES))
        _check_storages(storages, members)
        starts = {storage: members[_storage_name(storage)].start for storage in storages}
        tensors = _state_dict(where, root, key)
        spans = [_span(where, name, tensors[name], file, starts) for name in tensors]
        _check_repetition(spans, reader.size)
    except (PickleError, InvalidEntry) as error:
        raise MalformedFile(reader.path, str(error), "torch checkpoint") from None
    except torch_pickle.ForbiddenError as error:
        raise UnsafePickle(
            f"{where} is refused: its pickle asks for {error}, which no"
            " state dict needs; nothing of it was run: save model.state_dict() alone"
        ) from None
    return sorted(spans, key=_place)


def _members(reader: FileReader) -> dict[str, Member]:
    """The archive's members, by their names in its one folder; all of them known."""
    found = read_members(reader)
    folders = {member.name.partition("/")[0] for member in found}
    members = {member.name.partition("/")[2]: member for member in found}
    if len(folders) != 1 or _PICKLE not in members:
        raise InvalidEntry("it has no folder with a data.pkl")
    for name, member in members.items():
        if name in _NOTES:
            note = _checked(reader, member, _MAX_NOTE_BYTES)
            if name == "byteorder" and note != b"little":
                raise UnsupportedFormat(
                    f"{quoted_path(reader.path)} was not saved on a little-endian machine;"
                    " load it in torch on one that is, and save it again"
                )
        elif name != _PICKLE and not _STORAGE.fullmatch(name):
            raise InvalidEntry(f"it has the member {quoted(name)}, which checkpoints have not")
    return members


def _checked(reader: FileReader, member: Member, limit: int) -> bytes:
    """Read a member that is not a storage, and check its checksum.

    That of a storage is not looked at, here as in torch, which may be told to leave it out: a
    digest follows that tells more.
    """
    if member.size > limit:
        raise InvalidEntry(f"its {quoted(member.name)} has {member.size} bytes, more than {limit}")
    data = reader.read(member.start, member.start + member.size)
    if zlib.crc32(data) != member.crc32:
        raise InvalidEntry(f"its {quoted(member.name)} does not have the checksum that it states")
    return data


def _storage_name(storage: Storage) -> str:
    return f"data/{storage.key}"


def _check_storages(storages: Iterable[Storage], members: Mapping[str, Member]) -> None:
    """Check that storages are there, of their sizes, and no others."""
    named = set()
    for storage in storages:
        name = _storage_name(storage)
        named.add(name)
        if name not in members:
            raise InvalidEntry(f"its storage {quoted(storage.key)} is missing")
        nbytes = storage.elements * (_itemsize(storage.dtype) if storage.dtype else 1)
        if nbytes != members[name].size:
            raise InvalidEntry(
                f"its storage {quoted(storage.key)} has {members[name].size} bytes,"
                f" but {nbytes} by its pickle"
            )
    for name in members:
        if name.startswith("data/") and name not in named:
            raise InvalidEntry(f"its storage {quoted(name[5:])} belongs to no tensor")


def _state_dict(where: str, root: object, key: str | None) -> dict[str, StoredTensor]:
    """Find the state dict: the whole, or the one entry that is one, or the entry that is named."""
    entries = root if isinstance(root, dict) else {}
    found: dict[str, dict[object, object]] = {
        name: value
        for name, value in entries.items()
        if type(name) is str and type(value) is dict and any(map(_is_tensor, value.values()))
    }
    if key is not None:
        if key in entries and isinstance(entries[key], dict):
            return _tensors(where, entries[key])
        others = f"those in it are {_listed(found)}" if found else "leave the key out"
        raise AmbiguousModel(f"{where} has no state dict {quoted(key)}; {others}")
    if any(map(_is_tensor, entries.values())):
        if found:
            raise AmbiguousModel(
                f"{where} has tensors beside the state dicts in it, {_listed(found)};"
                " say which of these is the model (key)"
            )
        return _tensors(where, entries)
    if isinstance(root, dict) and not entries:
        return {}
    if len(found) == 1:
        (only,) = found.values()
        return _tensors(where, only)
    if found:
        raise AmbiguousModel(
            f"{where} has the state dicts {_listed(found)}; say which of them is the model (key)"
        )
    raise UnsupportedFormat(
        f"{where} holds no state dict, which is a dict with tensors alone, nor has one for an"
        " entry; save model.state_dict()"
    )


def _is_tensor(value: object) -> bool:
    return isinstance(value, StoredTensor | Unreadable)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(quoted, sorted(names)[:10]))


def _tensors(where: str, state: Mapping[object, object]) -> dict[str, StoredTensor]:
    """Check that a state dict has tensors alone, and such as have contiguous bytes."""
    tensors = {}
    for name, value in state.items():
        if not isinstance(name, str):
            raise UnsupportedFormat(
                f"the state dict in {where} has a key of type {type(name).__name__}, not text;"
                " save model.state_dict()"
            )
        check_unicode(name, "tensor name")
        if isinstance(value, Unreadable):
            kind = value.kind
        elif not isinstance(value, StoredTensor):
            raise UnsupportedFormat(
                f"the entry {quoted(name)} of the state dict in {where} is of type"
                f" {type(value).__name__}, not a tensor; leave it out or store it beside the model"
            )
        elif value.is_lazy:
            kind = "conjugated or negated when it is used"
        else:
            tensors[name] = value
            continue
        raise UnsupportedFormat(
            f"tensor {quoted(name)} in {where} is {kind}; make it a dense tensor and save it again"
        )
    return tensors


def _span(
    where: str, name: str, tensor: StoredTensor, file: int, starts: Mapping[Storage, int]
) -> TensorSpan:
    dtype = TORCH_DTYPES.get(tensor.dtype)
    if dtype is None:
        raise UnsupportedFormat(
            f"tensor {quoted(name)} in {where} has dtype {tensor.dtype}, which safetensors does not"
            " have; convert it and save it again"
        )
    itemsize = _itemsize(tensor.dtype)
    last = tensor.offset + extent(tensor.shape, tensor.strides)
    held = tensor.storage.elements * (itemsize if tensor.storage.dtype else 1)
    if last * itemsize > held:
        raise InvalidEntry(f"tensor {quoted(name)} reaches beyond its storage")
    shape, strides = tensor.shape, None
    if not is_contiguous(tensor.shape, tensor.strides):
        strides = tensor.strides
    if dtype == PAIRED:
        if strides or not shape:
            raise UnsupportedFormat(
                f"tensor {quoted(name)} in {where} has 4-bit floats that are not contiguous;"
                " make it contiguous and save it again"
            )
        shape = (*shape[:-1], 2 * shape[-1])
    nbytes = tensor_nbytes(name, dtype, shape)
    start = starts[tensor.storage] + tensor.offset * itemsize
    return TensorSpan(name, dtype, shape, file, start, nbytes, strides)


def _itemsize(dtype: str) -> int:
    """Bytes of what torch counts as one element."""
    shared = TORCH_DTYPES.get(dtype)
    if shared is None:
        return _OTHER_ITEMSIZES[dtype]
    return 1 if shared == PAIRED else DTYPE_BITS[shared] // 8


def _check_repetition(spans: Iterable[TensorSpan], size: int) -> None:
    """Refuse views that overlap so much that reading them would go on for ever."""
    distinct = {(span.start, span.strides, span.shape): span.nbytes for span in spans}
    total = sum(distinct.values())
    if total > MAX_REPETITION * size + _FREE_BYTES:
        raise InvalidEntry(
            f"its tensors are overlapping views of {total} bytes in all,"
            f" more than {MAX_REPETITION} times what the file has"
        )


def _place(span: TensorSpan) -> tuple[object, ...]:
    """Sorts by place; tensors that have all but their names in common come side by side."""
    return span.start, span.nbytes, span.strides or (), span.shape, span.dtype, span.name
