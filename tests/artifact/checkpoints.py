"""Torch checkpoints made by hand, valid and not: a zip archive, a pickle, and storages."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")


@dataclass(frozen=True)
class Part:
    """A member of an archive, and what the archive says of it, which may be a lie."""

    name: bytes
    data: bytes
    method: int = 0
    flags: int = 0
    crc: int | None = None
    """None for the true one."""
    size: int | None = None
    extra: bytes = b""
    central_extra: bytes = b""
    descriptor: bytes = b""
    local: dict[str, Any] = field(default_factory=dict)
    """What the local header says that the directory does not, by these fields."""
    offset: int | None = None
    """Where the directory says that the member is; None for the truth."""

    @property
    def stated(self) -> tuple[int, int]:
        """Its checksum and its size, as they are stated."""
        crc = zlib.crc32(self.data) if self.crc is None else self.crc
        return crc, len(self.data) if self.size is None else self.size

    def local_header(self) -> bytes:
        """What stands before the member."""
        told = replace(self, **self.local)
        crc, size = told.stated
        head = (b"PK\3\4", 20, told.flags, told.method, 0, 0, crc, size, size)
        return LOCAL.pack(*head, len(told.name), len(self.extra)) + told.name + self.extra

    def central_header(self, offset: int) -> bytes:
        """What the directory says."""
        crc, size = self.stated
        head = (b"PK\1\2", 20, 20, self.flags, self.method, 0, 0, crc, size, size)
        lengths = (len(self.name), len(self.central_extra), 0, 0, 0, 0)
        where = offset if self.offset is None else self.offset
        return CENTRAL.pack(*head, *lengths, where) + self.name + self.central_extra


def archive(
    parts: Sequence[Part],
    *,
    before: bytes = b"",
    gap: bytes = b"",
    count: int | None = None,
    comment: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A zip archive of the parts; ``gap`` lies between them and the directory."""
    data = before
    directory = b""
    for part in parts:
        directory += part.central_header(len(data))
        data += part.local_header() + part.data + part.descriptor
    data += gap
    number = len(parts) if count is None else count
    end = END.pack(b"PK\5\6", 0, 0, number, number, len(directory), len(data), len(comment))
    return data + directory + end + comment + after


def checkpoint(pickled: bytes, storages: dict[str, bytes] | None = None) -> bytes:
    """A checkpoint with this pickle and these storages."""
    return archive(members(pickled, storages or {}))


def members(pickled: bytes, storages: dict[str, bytes]) -> list[Part]:
    """What a checkpoint consists of."""
    rest = [Part(f"m/data/{key}".encode(), data) for key, data in storages.items()]
    notes = [Part(b"m/version", b"3\n"), Part(b"m/byteorder", b"little")]
    return [Part(b"m/data.pkl", pickled), *notes, *rest]


# Pickles, instruction by instruction, in protocol 2.


def pickled(value: bytes) -> bytes:
    """A pickle whose value these instructions make."""
    return b"\x80\x02" + value + b"."


def text(value: str) -> bytes:
    """A string."""
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<L", len(data)) + data


def number(value: int) -> bytes:
    """A whole number."""
    data = value.to_bytes(16, "little", signed=True)
    return b"\x8a\x10" + data


def numbers(values: Iterable[int]) -> bytes:
    """A tuple of whole numbers."""
    return b"(" + b"".join(map(number, values)) + b"t"


def named(module: str, name: str) -> bytes:
    """What is called so in a module."""
    return f"c{module}\n{name}\n".encode()


def called(function: bytes, *arguments: bytes) -> bytes:
    """What a function makes of arguments."""
    return function + b"(" + b"".join(arguments) + b"tR"


def dictionary(items: dict[bytes, bytes]) -> bytes:
    """A dict with these instructions for keys and values."""
    return b"}(" + b"".join(key + value for key, value in items.items()) + b"u"


def storage(key: str, elements: int, kind: str = "FloatStorage", module: str = "torch") -> bytes:
    """A storage."""
    parts = text("storage") + named(module, kind) + text(key) + text("cpu") + number(elements)
    return b"(" + parts + b"tQ"


def tensor(
    stored: bytes, shape: Sequence[int], strides: Sequence[int] | None = None, offset: int = 0
) -> bytes:
    """A tensor, contiguous unless strides are given."""
    if strides is None:
        strides = [1] * len(shape)
        for i in range(len(shape) - 2, -1, -1):
            strides[i] = strides[i + 1] * shape[i + 1]
    hooks = called(named("collections", "OrderedDict"))
    rebuild = named("torch._utils", "_rebuild_tensor_v2")
    return called(rebuild, stored, number(offset), numbers(shape), numbers(strides), b"\x89", hooks)


def state_dict(tensors: dict[str, bytes]) -> bytes:
    """A pickle of a state dict."""
    return pickled(dictionary({text(name): value for name, value in tensors.items()}))


ONE = bytes(range(24))
SMALL = checkpoint(state_dict({"w": tensor(storage("0", 6), [2, 3])}), {"0": ONE})
"""A checkpoint of one tensor."""
