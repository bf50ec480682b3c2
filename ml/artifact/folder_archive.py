"""A model's folder as one file: a tar archive that any tar unpacks, of the same bytes each time.

It has the identity of the folder, and can be copied, stored and registered as one file. Of tar's
freedoms none is used: members are regular files, sorted by their paths, owned by nobody and of no
date, and a header has to be the very bytes that are written here. The name of the owner marks such
an archive; any other tar is an opaque file.
Source: POSIX.1-1988's ustar; GNU tar's numbers in base 256, for files of 8 GiB and more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from .entries import check_path
from .errors import (
    AmbiguousModel,
    FileChanged,
    InvalidEntry,
    MalformedFile,
    UnsupportedFormat,
    quoted,
    quoted_path,
)
from .file_reader import FilePath, FileReader, Part
from .folder import ALWAYS_IGNORED, files_below, is_ignored
from .spans import ModelFile

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "archive"
SUFFIX: Final = ".tar"

MAX_FILES: Final = 1_000_000

BLOCK: Final = 512
"""What headers and files are padded to, in bytes."""

_END: Final = bytes(2 * BLOCK)
_MARK: Final = b"modelproof.folder.v1"
_MARK_AT: Final = slice(265, 265 + 32)
_CHECKSUM_AT: Final = slice(148, 156)
_NAME_BYTES: Final = 100
_PREFIX_BYTES: Final = 155
_MAX_OCTAL: Final = 8**11 - 1


_Member: TypeAlias = tuple[str, int, int]
"""A file's path, and where its bytes begin and end."""


class _Source(Protocol):
    """What an archive is read from."""

    path: FilePath
    """What messages call it."""
    size: int

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes of a range."""


class _Bytes:
    """An archive in memory."""

    def __init__(self, data: bytes, name: str) -> None:
        self.path: FilePath = name
        self.size = len(data)
        self._data: Final = data

    def read(self, start: int, stop: int) -> bytes:
        return self._data[start:stop]


def looks_like(start: bytes) -> bool:
    """Tell by the first block of a file whether it is such an archive."""
    return start[_MARK_AT] == _MARK.ljust(32, b"\0")


def read_files(reader: FileReader) -> list[ModelFile]:
    """Find the files in an archive, in the order of their paths.

    Raises:
        MalformedFile: it is not the archive of a folder, byte for byte.
        UnreadableFile, FileChanged: as for ``FileReader.fill``.
    """
    return [
        ModelFile(path, Part(reader.path, path, start, stop - start), stop - start)
        for path, start, stop in _found(reader)
    ]


def pack(folder: Path, target: Path) -> None:
    """Write the archive of a folder, without what never belongs to a model.

    Raises:
        UnreadableFile, InvalidEntry: as for ``folder.walk``.
        UnsupportedFormat: a path is too long.
        AmbiguousModel: there is nothing in the folder.
        FileChanged: a file changed while it was read.
    """
    from ml import files  # of no use to those who read

    found = files_below(os.fspath(folder), ALWAYS_IGNORED)
    if not found:
        raise AmbiguousModel(
            f"there is nothing in the folder {quoted_path(folder)} that is a model"
        )
    with files.replacing(target) as temporary, temporary.open("wb") as archive:
        for file in found:
            archive.write(_header(file.path, file.size))
            with FileReader(file.location, follow_link=False) as reader:
                if reader.size != file.size:
                    raise FileChanged(file.location, file.size, reader.size)
                archive.writelines(reader.pieces(0, reader.size))
                reader.check_size()
            archive.write(bytes(-file.size % BLOCK))
        archive.write(_END)


def pack_bytes(files: Mapping[str, bytes]) -> bytes:
    """Return the archive of a folder whose files are in memory: those of `pack`, by their paths.

    Raises:
        InvalidEntry: a path leads elsewhere, or to what never belongs to a model.
        UnsupportedFormat: a path is too long.
    """
    parts = []
    for path, data in sorted(files.items()):
        check_path(path)
        if is_ignored(path, ALWAYS_IGNORED):
            raise InvalidEntry(f"the file {quoted(path)} never belongs to a model")
        parts += [_header(path, len(data)), data, bytes(-len(data) % BLOCK)]
    return b"".join([*parts, _END])


def unpack_bytes(data: bytes, name: str) -> dict[str, bytes]:
    """Return the files of an archive in memory by their paths; ``name`` is for messages.

    Raises:
        MalformedFile: it is not the archive of a folder, byte for byte.
    """
    return {path: data[start:stop] for path, start, stop in _found(_Bytes(data, name))}


def _found(source: _Source) -> list[_Member]:
    try:
        return list(_members(source))
    except InvalidEntry as error:
        raise MalformedFile(source.path, str(error), "archive of a model's folder") from None


def _members(reader: _Source) -> Iterator[_Member]:
    at, previous, count = 0, "", 0
    while (header := _read(reader, at, BLOCK)) != bytes(BLOCK):
        path, size = _parsed(header)
        start = at + BLOCK
        at = start + size + -size % BLOCK
        if header != _header(path, size):
            raise InvalidEntry(f"the header of its file {quoted(path)} is not as it is written")
        if path <= previous or is_ignored(path, ALWAYS_IGNORED):
            raise InvalidEntry(f"its file {quoted(path)} does not belong there")
        if any(_read(reader, start + size, at - start - size)):
            raise InvalidEntry(f"something hides behind its file {quoted(path)}")
        count += 1
        if count > MAX_FILES:
            raise InvalidEntry(f"it has more than {MAX_FILES} files")
        previous = path
        yield path, start, start + size
    if _read(reader, at, len(_END)) != _END or at + len(_END) != reader.size:
        raise InvalidEntry("it does not end where its files do")


def _read(reader: _Source, start: int, count: int) -> bytes:
    if start + count > reader.size:
        raise InvalidEntry("it is cut off")
    return reader.read(start, start + count)


def _header(path: str, size: int) -> bytes:
    """The one header that a file of this path and size has."""
    name, prefix = _split(path.encode())
    header = bytearray(
        name.ljust(_NAME_BYTES, b"\0")
        + b"0000644\0"  # its owner may write it, and anybody read it
        + b"0000000\0" * 2
        + (b"%011o\0" % size if size <= _MAX_OCTAL else b"\x80" + size.to_bytes(11, "big"))
        + b"00000000000\0"
        + b" " * 8
        + b"0"
        + bytes(_NAME_BYTES)
        + b"ustar\00000"
        + _MARK.ljust(32, b"\0")
        + bytes(32)
        + b"0000000\0" * 2
        + prefix.ljust(_PREFIX_BYTES, b"\0")
        + bytes(12)
    )
    header[_CHECKSUM_AT] = b"%06o\0 " % sum(header)
    return bytes(header)


def _split(path: bytes) -> tuple[bytes, bytes]:
    """What stands in the field of the name, and the folders before it, if it is too long."""
    if len(path) <= _NAME_BYTES:
        return path, b""
    at = path.find(b"/", len(path) - _NAME_BYTES - 1)
    if not 0 < at <= _PREFIX_BYTES:
        raise UnsupportedFormat(
            f"the path {quoted(path.decode())} is too long for an archive: make it shorter"
        )
    return path[at + 1 :], path[:at]


def _parsed(header: bytes) -> tuple[str, int]:
    """The path and the size that a header states."""
    name, prefix = header[:_NAME_BYTES].rstrip(b"\0"), header[345:500].rstrip(b"\0")
    digits = header[124:136]
    try:
        path = b"/".join([prefix, name] if prefix else [name]).decode()
        size = int.from_bytes(digits[1:], "big") if digits[0] == 0x80 else int(digits[:-1], 8)
    except ValueError:
        raise InvalidEntry("it has a header that is damaged") from None
    check_path(path)
    if size < 0:
        raise InvalidEntry("it has a header that is damaged")
    return path, size
