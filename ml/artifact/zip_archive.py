"""Zip archives as ``torch.save`` writes them, read strictly: nothing hidden, nothing to unpack.

A zip archive says everything twice, at its end and before each member, and readers differ in whom
they believe. Here both have to agree, members are stored as they are, and they fill the file from
its first byte to the directory without a gap or an overlap.
Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 to 4.5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from .errors import MalformedFile, quoted
from .file_reader import FileReader

MAX_DIRECTORY_BYTES: Final = 100_000_000
"""As much as a safetensors header may have."""

_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")
_DESCRIPTORS: Final = (struct.Struct("<4s3L"), struct.Struct("<4sL2Q"))

_HAS_DESCRIPTOR: Final = 1 << 3
_IS_UTF8: Final = 1 << 11
_STORED: Final = 0
_IN_EXTRA: Final = 0xFFFF_FFFF  # where a 64-bit number stands in the extra field
_ZIP64_EXTRA: Final = 0x0001
_PADDING_EXTRA: Final = int.from_bytes(b"FB", "little")  # torch aligns its storages with it


class Member(NamedTuple):
    """A member of an archive: ``size`` bytes from ``start`` of the file on, stored as they are."""

    name: str
    start: int
    size: int
    crc32: int


class _Record(NamedTuple):
    """What the directory says of a member."""

    name: bytes
    flags: int
    crc32: int
    size: int
    offset: int


def read_members(reader: FileReader) -> list[Member]:
    """Find the members of an archive, in the order of their bytes.

    Raises:
        MalformedFile: the file is not a zip archive, or holds a trick.
        UnreadableFile, FileChanged: as for ``FileReader.fill``.
    """
    start, size, count = _directory(reader)
    records = sorted(_records(reader, start, size), key=lambda record: record.offset)
    if len(records) != count:
        raise _malformed(
            reader, f"its directory is said to list {count} members, but lists {len(records)}"
        )
    _check_names(reader, records)
    members = []
    position = 0
    for index, record in enumerate(records):
        if record.offset != position:
            fault = "a hole" if record.offset > position else "an overlap"
            raise _malformed(
                reader, f"there is {fault} before its member {quoted(_text(record.name))}"
            )
        next_at = records[index + 1].offset if index + 1 < len(records) else start
        data = _data_start(reader, record)
        position = data + record.size
        if record.flags & _HAS_DESCRIPTOR:
            position += _descriptor_bytes(reader, record, position, next_at)
        members.append(Member(_text(record.name), data, record.size, record.crc32))
    if position != start:
        raise _malformed(
            reader, f"its members end at byte {position}, but its directory begins at {start}"
        )
    return members


def _directory(reader: FileReader) -> tuple[int, int, int]:
    """Return where the directory begins, its size in bytes and its number of members."""
    end_at = reader.size - _END.size
    if reader.size < _END.size or reader.read(0, 2) != b"PK":
        raise _malformed(reader, "it does not begin as a zip archive does")
    end = _END.unpack(reader.read(end_at, reader.size))
    magic, disk, start_disk, here, count, size, start, comment = end
    if magic != b"PK\5\6" or comment:
        raise _malformed(
            reader, "it does not end as a zip archive does, or something was appended to it"
        )
    if disk or start_disk or here != count:
        raise _malformed(reader, "it is one of several parts of an archive")
    directory_end = end_at
    locator_at = end_at - _LOCATOR.size
    locator = reader.read(max(locator_at, 0), end_at)
    if locator.startswith(b"PK\6\7") and len(locator) == _LOCATOR.size:
        directory_end = locator_at - _END64.size
        start64, size64, count64 = _directory64(reader, locator, directory_end)
        # Each number is also in the older record, unless it is too large for it.
        for old, new, limit in (
            (start, start64, _IN_EXTRA),
            (size, size64, _IN_EXTRA),
            (count, count64, 0xFFFF),
        ):
            if old not in (new, limit):
                raise _malformed(reader, "the two records at its end disagree")
        start, size, count = start64, size64, count64
    if start + size != directory_end:
        raise _malformed(
            reader, "its directory does not end where the archive's last records begin"
        )
    if size > MAX_DIRECTORY_BYTES:
        raise _malformed(reader, f"its directory has {size} bytes, more than {MAX_DIRECTORY_BYTES}")
    return start, size, count


def _directory64(reader: FileReader, locator: bytes, expected_at: int) -> tuple[int, int, int]:
    """The same numbers of an archive that may be larger than 4 GiB."""
    _, disk, at, disks = _LOCATOR.unpack(locator)
    if disk or disks != 1 or at != expected_at or at < 0:
        raise _malformed(reader, "its 64-bit end record is not where it should be")
    record = _END64.unpack(reader.read(at, at + _END64.size))
    magic, length, _, _, disk, start_disk, here, count, size, start = record
    if magic != b"PK\6\6" or length != _END64.size - 12 or disk or start_disk or here != count:
        raise _malformed(reader, "its 64-bit end record is not one of a single archive")
    return start, size, count


def _records(reader: FileReader, start: int, size: int) -> Iterator[_Record]:
    """Read the directory, which has ``size`` bytes from ``start`` on."""
    data = reader.read(start, start + size)
    at = 0
    while at < size:
        if size - at < _CENTRAL.size:
            raise _malformed(reader, "its directory is cut off")
        fields = _CENTRAL.unpack_from(data, at)
        magic, _, _, flags, method, _, _, crc32, packed, unpacked = fields[:10]
        name_bytes, extra_bytes, comment_bytes, *elsewhere, offset = fields[10:]
        at += _CENTRAL.size
        name = data[at : at + name_bytes]
        extra = data[at + name_bytes : at + name_bytes + extra_bytes]
        at += name_bytes + extra_bytes
        if method != _STORED or flags & ~(_HAS_DESCRIPTOR | _IS_UTF8):
            raise _malformed(
                reader,
                f"its member {quoted(_text(name))} is compressed or encrypted, as TorchScript's may"
                " be and a checkpoint's never is",
            )
        # On another disk, or with attributes: of a folder, for one.
        if magic != b"PK\1\2" or at > size or comment_bytes or any(elsewhere):
            raise _malformed(
                reader, "its directory has an entry that is damaged, or says more than a file needs"
            )
        unpacked, packed, offset = _large(reader, extra, [unpacked, packed, offset])
        if packed != unpacked:
            raise _malformed(reader, f"its member {quoted(_text(name))} has two sizes")
        yield _Record(name, flags, crc32, unpacked, offset)


def _large(reader: FileReader, extra: bytes, numbers: list[int]) -> list[int]:
    """Replace the numbers that are too large for 32 bits by those in the extra field."""
    fields = _extra_fields(reader, extra)
    large = fields.pop(_ZIP64_EXTRA, b"")
    if fields or len(large) != 8 * numbers.count(_IN_EXTRA):
        raise _malformed(reader, "its directory has an extra field that does not belong there")
    values = (value for (value,) in struct.iter_unpack("<Q", large))
    return [next(values) if number == _IN_EXTRA else number for number in numbers]


def _extra_fields(reader: FileReader, extra: bytes) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    at = 0
    while at < len(extra):
        kind = int.from_bytes(extra[at : at + 2], "little")
        stop = at + 4 + int.from_bytes(extra[at + 2 : at + 4], "little")
        if len(extra) - at < 4 or stop > len(extra) or kind in fields:
            raise _malformed(reader, "it has an extra field that is damaged")
        fields[kind] = extra[at + 4 : stop]
        at = stop
    return fields


def _check_names(reader: FileReader, records: list[_Record]) -> None:
    seen: set[bytes] = set()
    for record in records:
        if record.name in seen:
            raise _malformed(reader, f"it has the member {quoted(_text(record.name))} twice")
        seen.add(record.name)
        try:
            parts = record.name.decode().split("/")
        except UnicodeDecodeError:
            parts = [""]
        if not {"", ".", ".."}.isdisjoint(parts) or b"\\" in record.name or b"\0" in record.name:
            raise _malformed(
                reader, f"its member {quoted(_text(record.name))} has a name to be wary of"
            )


def _data_start(reader: FileReader, record: _Record) -> int:
    """Check what stands before a member against the directory; return where its bytes begin."""
    name = quoted(_text(record.name))
    header_end = record.offset + _LOCAL.size
    if header_end > reader.size:
        raise _malformed(reader, f"its member {name} begins beyond its end")
    fields = _LOCAL.unpack(reader.read(record.offset, header_end))
    magic, _, flags, method, _, _, crc32, packed, unpacked, name_bytes, extra_bytes = fields
    data_start = header_end + name_bytes + extra_bytes
    if magic != b"PK\3\4" or data_start + record.size > reader.size:
        raise _malformed(reader, f"its member {name} is not where its directory says")
    rest = reader.read(header_end, data_start)
    if (rest[:name_bytes], flags, method) != (record.name, record.flags, _STORED):
        raise _malformed(reader, f"its directory disagrees with what stands before member {name}")
    extra = _extra_fields(reader, rest[name_bytes:])
    if not extra.keys() <= {_ZIP64_EXTRA, _PADDING_EXTRA}:
        raise _malformed(reader, f"its member {name} has an extra field that does not belong there")
    stated = (crc32, packed, unpacked)
    if flags & _HAS_DESCRIPTOR:  # then they follow the member, and here are nought
        agrees = not any(stated)
    else:
        small = min(record.size, _IN_EXTRA)
        agrees = stated == (record.crc32, small, small)
    if not agrees:
        raise _malformed(reader, f"its directory disagrees with what stands before member {name}")
    return int(data_start)


def _descriptor_bytes(reader: FileReader, record: _Record, at: int, next_at: int) -> int:
    """Check the sizes and the checksum that follow a member; return how many bytes they take."""
    expected = (b"PK\7\x08", record.crc32, record.size, record.size)
    for form in _DESCRIPTORS:
        if at + form.size == next_at and form.unpack(reader.read(at, next_at)) == expected:
            return form.size
    raise _malformed(
        reader, f"its directory disagrees with what follows member {quoted(_text(record.name))}"
    )


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")


def _malformed(reader: FileReader, reason: str) -> MalformedFile:
    return MalformedFile(reader.path, reason, "torch checkpoint")
