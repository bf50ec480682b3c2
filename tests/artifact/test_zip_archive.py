"""Tricks that zip archives can play, each in a real file, beside the plain one that is read."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ml.artifact import MalformedFile, read_manifest
from ml.artifact.file_reader import FileReader
from ml.artifact.zip_archive import read_members

from .builders import write
from .checkpoints import ONE, Part, archive, members, state_dict, storage, tensor

PARTS = members(state_dict({"w": tensor(storage("0", 6), [2, 3])}), {"0": ONE})
DATA = PARTS[-1]
GIB = 1 << 30


def altered(**changes: object) -> list[Part]:
    """The parts, the storage's changed."""
    return [*PARTS[:-1], replace(DATA, **changes)]


def local(**changes: object) -> list[Part]:
    """The parts, what stands before the storage changed."""
    return altered(local=changes)


def refusal(folder: Path, data: bytes) -> str:
    """The reason for which a checkpoint with these bytes is refused."""
    with pytest.raises(MalformedFile) as caught:
        read_manifest(write(folder, data, "m.pt"))
    assert "is not a valid torch checkpoint" in str(caught.value)
    assert str(caught.value).isprintable()
    return caught.value.reason


def test_plain_archive_is_read(tmp_path: Path) -> None:
    assert read_manifest(write(tmp_path, archive(PARTS), "m.pt")).total_bytes == len(ONE)


def test_sizes_after_the_member_are_read(tmp_path: Path) -> None:
    descriptor = struct.pack("<4s3L", b"PK\7\x08", zlib.crc32(ONE), len(ONE), len(ONE))
    parts = altered(flags=8, descriptor=descriptor, local={"crc": 0, "size": 0})
    assert read_manifest(write(tmp_path, archive(parts), "m.pt")).total_bytes == len(ONE)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "does not begin as a zip archive"),
        (b"PK\3\4" + bytes(100), "does not end as a zip archive"),
        (b"MZ" + archive(PARTS), "does not begin as a zip archive"),
        (archive(PARTS, before=b"PK\3\4" + bytes(60)), "a hole before its member 'm/data.pkl'"),
        (archive(PARTS, after=b"x"), "does not end as a zip archive"),
        (archive(PARTS, comment=b"x"), "something was appended"),
        (archive(PARTS, gap=b"hidden"), "its members end at byte"),
        (archive(PARTS, count=3), "is said to list 3 members, but lists 4"),
        (archive(PARTS, count=5), "is said to list 5 members, but lists 4"),
        (archive([]), "has no folder with a data.pkl"),
        (archive([*PARTS, DATA]), "has the member 'm/data/0' twice"),
        (archive([*PARTS, replace(DATA, name=b"m/data/1", offset=0)]), "an overlap before"),
        (archive(altered(offset=0)), "an overlap before its member"),
        (archive(altered(offset=10**9)), "a hole before its member 'm/data/0'"),
        (archive(altered(method=8)), "'m/data/0' is compressed or encrypted"),
        (archive(altered(flags=1)), "'m/data/0' is compressed or encrypted"),
        (archive(local(method=8)), "disagrees with what stands before member 'm/data/0'"),
        (archive(local(flags=1)), "disagrees with what stands before member 'm/data/0'"),
        (archive(local(name=b"m/data/1")), "disagrees with what stands before member"),
        (archive(local(name=b"m/data/00")), "disagrees with what stands before member"),
        (archive(local(size=23)), "disagrees with what stands before member"),
        (archive(local(crc=1)), "disagrees with what stands before member"),
        (archive(altered(flags=8)), "disagrees with what stands before member"),
        (archive(altered(extra=b"FB\5\0x")), "an extra field that is damaged"),
        (archive(altered(extra=b"FB\0\0FB\0\0")), "an extra field that is damaged"),
        (archive(altered(extra=b"up\0\0")), "an extra field that does not belong there"),
        (archive(altered(central_extra=b"FB\0\0")), "an extra field that does not belong there"),
        (archive(altered(central_extra=b"\1\0\x08\0" + bytes(8))), "an extra field that does not"),
        (archive(altered(size=0xFFFF_FFFF)), "an extra field that does not belong there"),
        (archive(altered(size=10**6)), "is not where its directory says"),
        (archive(altered(size=4)), "its members end at byte"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_archive_that_can_be_read_in_two_ways_is_refused(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    assert reason in refusal(tmp_path, data)


@pytest.mark.parametrize(
    "name",
    [
        b"/etc/passwd",
        b"m/../../etc/passwd",
        b"../data/0",
        b"m/data/../../x",
        b"m\\data\\0",
        b"C:\\data",
        b"m//data/0",
        b"m/data/0\0.txt",
        b"m/data/\xff",
        b"m/data/0/",
        b"",
        b"\x1b[2J/data/0",
    ],
)
def test_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: bytes) -> None:
    assert refusal(tmp_path, archive(altered(name=name)))


@pytest.mark.parametrize("name", [b"n/data/0", b"m/data/0/1", b"m/code/x.py", b"m/data.pkl2", b"m"])
def test_member_that_checkpoints_have_not_is_refused(tmp_path: Path, name: bytes) -> None:
    assert refusal(tmp_path, archive([*PARTS, Part(name, b"")]))


def test_wrong_checksum_of_the_pickle_is_refused(tmp_path: Path) -> None:
    parts = [replace(PARTS[0], crc=1), *PARTS[1:]]
    assert "'m/data.pkl' does not have the checksum that it states" in refusal(
        tmp_path, archive(parts)
    )


def test_checksum_of_a_storage_is_not_looked_at(tmp_path: Path) -> None:
    expected = read_manifest(write(tmp_path, archive(PARTS), "m.pt"))
    assert read_manifest(write(tmp_path, archive(altered(crc=0)), "m.pt")) == expected


def test_bomb_is_refused_without_being_unpacked(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("m/data.pkl", bytes(10_000_000))
    assert "is compressed or encrypted" in refusal(tmp_path, packed.getvalue())


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (Part(b"m/data.pkl", b"\x80\x02"), "its pickle is damaged"),
        (Part(b"m/version", bytes(2000)), "has 2000 bytes, more than 1024"),
    ],
)
def test_small_member_that_is_not_what_it_should_be_is_refused(
    tmp_path: Path, part: Part, reason: str
) -> None:
    parts = [part if part.name == other.name else other for other in PARTS]
    assert reason in refusal(tmp_path, archive(parts))


@pytest.mark.parametrize("at", [0, 1, 2])
def test_folders_and_attributes_are_refused(tmp_path: Path, at: int) -> None:
    whole = bytearray(archive(PARTS))
    entry = whole.rindex(b"PK\1\2")
    whole[entry + 34 + 2 * at] = 0x10  # the disk, or attributes
    assert "says more than a file needs" in refusal(tmp_path, bytes(whole))


# Archives of more than 4 GiB: sparse files, of which little is read.

LARGE = 5 * GIB


def large(folder: Path, change: Callable[[bytearray], object] = len) -> FileReader:
    """An archive with a storage of 5 GiB and a small one behind it; ``change`` sees its end."""
    size64 = struct.pack("<HH2Q", 1, 16, LARGE, LARGE)
    first, name = PARTS[0], b"m/data/0"
    start = first.local_header() + first.data
    header = Part(name, b"", crc=0, flags=8, extra=size64).local_header()
    data_at = len(start) + len(header)
    descriptor = struct.pack("<4sL2Q", b"PK\7\x08", 0, LARGE, LARGE)
    last = Part(b"m/data/1", b"abc")
    last_at = data_at + LARGE + len(descriptor)
    tail = descriptor + last.local_header() + last.data
    directory_at = data_at + LARGE + len(tail)
    offset64 = struct.pack("<HHQ", 1, 8, last_at)
    directory = b"".join(
        (
            first.central_header(0),
            Part(name, b"", crc=0, size=0xFFFF_FFFF, flags=8, central_extra=size64).central_header(
                len(start)
            ),
            replace(last, central_extra=offset64).central_header(0xFFFF_FFFF),
        )
    )
    end_at = directory_at + len(directory)
    numbers = (3, 3, len(directory), directory_at)
    end = bytearray(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, *numbers))
    end += struct.pack("<4sLQL", b"PK\6\7", 0, end_at, 1)
    end += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 3, 3, len(directory), 0xFFFF_FFFF, 0)
    change(end)
    path = folder / "large.pt"
    with path.open("wb") as file:
        file.write(start + header)
        file.seek(data_at + LARGE)
        file.write(tail + directory + end)
    return FileReader(path)


def test_members_of_an_archive_of_more_than_4_gib_are_found(tmp_path: Path) -> None:
    with large(tmp_path) as reader:
        found = {member.name: member.size for member in read_members(reader)}
    assert found == {"m/data.pkl": len(PARTS[0].data), "m/data/0": LARGE, "m/data/1": 3}


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (-22 + 16, b"\1\0\0\0", "the two records at its end disagree"),
        (-22 + 8, b"\4\0\4\0", "the two records at its end disagree"),
        (-22 - 20 + 8, b"\0\0\0\0", "its 64-bit end record is not where it should be"),
        (-22 - 20 + 16, b"\2", "its 64-bit end record is not where it should be"),
        (4, b"\x2d", "its 64-bit end record is not one of a single archive"),
        (16, b"\1", "its 64-bit end record is not one of a single archive"),
        (40, b"\0", "the two records at its end disagree"),
        (48, b"\0", "its directory does not end where"),
    ],
)
def test_64_bit_records_that_do_not_fit_are_refused(
    tmp_path: Path, at: int, value: bytes, reason: str
) -> None:
    def change(end: bytearray) -> None:
        start = at % len(end)
        end[start : start + len(value)] = value

    with large(tmp_path, change) as reader, pytest.raises(MalformedFile, match=reason):
        read_members(reader)
