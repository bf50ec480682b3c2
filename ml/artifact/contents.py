"""What a provenance log knows files and folders by: one digest of 32 bytes.

A file is known by the SHA-256 of its bytes, which ``sha256sum`` prints too; where it is and what it
is called do not count. A folder is known by the root over its files, each with its path below the
folder, its size and its SHA-256: the tree of a manifest's files (``entries.FileEntry``), which is
OpenZeppelin's StandardMerkleTree over ``(string path, uint256 size, bytes32 sha256)``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import opaque
from .entries import OPAQUE_PATH, FileEntry
from .errors import ArtifactError, UnreadableFile, quoted_path
from .merkle import MerkleTree


@dataclass(frozen=True, slots=True)
class Contents:
    """What a path led to."""

    digest: bytes
    """32 bytes."""
    files: int
    """How many."""


def contents_of(path: Path) -> Contents:
    """Digest a file or a folder, with all that is below it.

    Raises:
        UnreadableFile: there is nothing, or something below a folder is no regular file.
        FileChanged: a file changed while it was read.
        InvalidEntry: a file's name cannot be written as UTF-8, or has a backslash in it.
        ArtifactError: the folder has no files.
    """
    if not path.is_dir():
        return Contents(file_entry(path).sha256, 1)
    entries = [file_entry(file, name) for name, file in files_below(path)]
    return Contents(MerkleTree([entry.leaf for entry in entries]).root, len(entries))


def file_entry(path: Path, name: str = OPAQUE_PATH) -> FileEntry:
    """Size and SHA-256 of a file under a name; errors as for ``contents_of``."""
    (entry,) = opaque.read_manifest(path).files
    return FileEntry(name, entry.size, entry.sha256)


def files_of(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """All files that the paths lead to, by their paths below the folder that is common to these.

    Raises:
        ArtifactError: a file is led to twice, or a folder has no files.
        UnreadableFile: a folder holds something else.
    """
    absolute = [path.resolve() for path in paths]
    common = Path(os.path.commonpath([path.parent for path in absolute]))
    found: dict[str, Path] = {}
    for path in absolute:
        for _, file in files_below(path) if path.is_dir() else [("", path)]:
            name = file.relative_to(common).as_posix()
            if name in found:
                raise ArtifactError(f"{quoted_path(name)} is named twice; name it once")
            found[name] = file
    return sorted(found.items())


def files_below(folder: Path) -> list[tuple[str, Path]]:
    """All files of a folder and its subfolders, by their paths below it, in the order of these.

    Empty subfolders do not count.

    Raises:
        UnreadableFile: a folder cannot be read, or holds something that is neither file nor folder:
            a symbolic link would make the digest depend on what is elsewhere.
        ArtifactError: there are no files.
    """
    found = sorted((file.relative_to(folder).as_posix(), file) for file in _walk(folder))
    if not found:
        raise ArtifactError(f"the folder {quoted_path(folder)} has no files; name another")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise UnreadableFile(f"cannot read {quoted_path(folder)}: {error.strerror}") from error
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
        else:
            raise UnreadableFile(
                f"{quoted_path(entry.path)} is neither a file nor a folder; copy what it stands for"
                " into its place, or leave it out"
            )
