"""What a provenance log knows files and folders by: one digest of 32 bytes.

A file is known by the SHA-256 of its bytes, which ``sha256sum`` prints too; where it is and what it
is called do not count. A folder is known by the root over its files, each with its path below the
folder, its size and its SHA-256: the tree of a manifest's files (``entries.FileEntry``), which is
OpenZeppelin's StandardMerkleTree over ``(string path, uint256 size, bytes32 sha256)``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import opaque
from .entries import OPAQUE_PATH, FileEntry
from .errors import ArtifactError, quoted_path
from .folder import files_below as folder_files
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

    Raises:
        UnreadableFile, InvalidEntry: as for ``folder.files_below``.
        ArtifactError: there are no files.
    """
    found = [(file.path, Path(file.location)) for file in folder_files(str(folder))]
    if not found:
        raise ArtifactError(f"the folder {quoted_path(folder)} has no files; name another")
    return found
