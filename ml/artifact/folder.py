"""A folder that is a model: the file with its tensors, and all others, which are part of it too.

A config or a tokenizer decides what a model does as its weights do, so every file of the folder
counts, but for those that rules leave out. What a rule leaves out is not verified: rules are those
of the caller, and the fixed ones; a manifest records them and nobody obeys what it says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from . import sharded
from .entries import check_path
from .errors import AmbiguousModel, UnreadableFile, quoted, quoted_path
from .file_reader import FilePath, FileReader, unreadable
from .formats import format_of
from .safetensors import SUFFIX
from .spans import ModelFile

ALWAYS_IGNORED: Final = (".git", ".cache/huggingface", "modelproof.*.json", "model.sig")
"""Rules of this version of the identity: what tools keep in a folder, and what is said about it."""


class ModelFolder(NamedTuple):
    """What is in a model's folder."""

    tensors: FilePath | None
    """The file that has the tensors, or the index of those that have."""
    shards: dict[str, str]
    """What the index says: the file name of the shard that each tensor lies in."""
    files: list[ModelFile]
    """All others."""
    top: Mapping[str, FilePath]
    """The files at its top, whatever they hold, by their names."""
    ignored: tuple[str, ...]
    """The rules by which files were left out."""


def read_folder(path: str, ignore: Sequence[str] = (), tensors: str | None = None) -> ModelFolder:
    """Find out what belongs to the model in a folder.

    The tensors are in the one safetensors file at its top, or the shards of the one index there;
    without either, in the one torch checkpoint, or the shards of the one index of such. A folder
    may also have none.

    Args:
        path: the folder.
        ignore: rules by which files are left out. One without a slash is the name of a file or
            folder at any depth, one with a slash a path from the top; ``*``, ``?`` and ``[…]``
            stand for characters of a name.
        tensors: the name of the file that has the tensors, or of the index, if there are several.

    Raises:
        AmbiguousModel: several files could be the one with the tensors, or nothing is there.
        UnreadableFile: something is a link or not a regular file, or may not be read.
        InvalidEntry: a file's name is not UTF-8, or could lead elsewhere on another system.
        MalformedFile, UnsupportedFormat: as for an index and a torch checkpoint.
    """
    rules = (*ALWAYS_IGNORED, *ignore)
    files = files_below(path, rules)
    if not files:
        raise AmbiguousModel(f"there is nothing in the folder {quoted_path(path)} that is a model")
    return divided(path, files, rules, tensors)


def divided(
    path: FilePath,
    files: Sequence[ModelFile],
    rules: tuple[str, ...],
    tensors: str | None = None,
) -> ModelFolder:
    """Tell the files with tensors from all others; arguments and errors as for `read_folder`."""
    top = {file.path: file.location for file in files if "/" not in file.path}
    chosen = _named(path, top, tensors) if tensors is not None else _tensors(path, top)
    index = {}
    if chosen is not None and sharded.is_index(chosen):
        index = sharded.read_index(top[chosen], follow_link=False)
    read_otherwise = {chosen, *index.values()}
    others = [file for file in files if file.path not in read_otherwise]
    return ModelFolder(None if chosen is None else top[chosen], index, others, top, rules)


def is_ignored(path: str, rules: Sequence[str]) -> bool:
    """Tell whether a rule leaves out a path of a model, or a folder that it is in."""
    names = path.split("/")
    return any(_matches(names, rule.split("/")) for rule in rules)


def _matches(names: list[str], rule: list[str]) -> bool:
    if len(rule) == 1:
        return any(fnmatchcase(name, rule[0]) for name in names)
    return len(rule) <= len(names) and all(map(fnmatchcase, names, rule))


def files_below(folder: str, rules: Sequence[str] = ()) -> list[ModelFile]:
    """All files of a folder and its subfolders that no rule leaves out; as for `walk`."""
    return walk(folder, lambda path: is_ignored(path, rules))


def walk(
    folder: str, is_left_out: Callable[[str], bool], *, follow_links: bool = False
) -> list[ModelFile]:
    """All files of a folder and its subfolders that are not left out, in the order of paths.

    Empty subfolders do not count.

    Args:
        folder: the folder.
        is_left_out: whether a path in it, of a file or a subfolder, is passed over.
        follow_links: whether a link to a file counts as that file.

    Raises:
        UnreadableFile: a folder cannot be read, or holds something that is neither file nor folder:
            a link would make the model depend on what is elsewhere.
        InvalidEntry: a file's name is not UTF-8, or could lead elsewhere on another system.
    """
    return sorted(_walk(folder, is_left_out, follow_links))


def _walk(root: str, is_left_out: Callable[[str], bool], follow_links: bool) -> Iterator[ModelFile]:
    folders = [""]
    while folders:
        folder = folders.pop()
        for entry in _entries(os.path.join(root, folder)):  # noqa: PTH118 - may be no Path
            path = f"{folder}{entry.name}"
            if is_left_out(path):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(f"{path}/")
            elif entry.is_file(follow_symlinks=follow_links):
                check_path(path)
                yield ModelFile(path, entry.path, _size(entry, follow_links))
            else:
                raise UnreadableFile(
                    f"{quoted_path(entry.path)} is neither a file nor a folder; copy what it stands"
                    " for into its place (cp -rL), or leave it out"
                )


def _size(entry: os.DirEntry[str], follow_links: bool) -> int:
    try:
        return entry.stat(follow_symlinks=follow_links).st_size
    except OSError as error:  # it was there a moment ago
        raise unreadable(entry.path, error) from error


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError as error:
        raise UnreadableFile(
            f"cannot read the folder {quoted_path(folder)}: {error.strerror}; check the path and"
            " its permissions"
        ) from error


_Top = Mapping[str, FilePath]
"""The files at the top of a folder, by their names."""


def _named(folder: FilePath, top: _Top, name: str) -> str:
    if name not in top:
        raise UnreadableFile(f"there is no file {quoted(name)} in {quoted_path(folder)}")
    return name


def _tensors(folder: FilePath, top: _Top) -> str | None:
    """The name of the file or index that has the tensors; None if there is none."""
    candidates = _candidates(top, f"{SUFFIX}.index.json", _is_safetensors)
    if not candidates:
        candidates = _candidates(top, ".bin.index.json", _is_torch)
    if len(candidates) > 1:
        names = ", ".join(map(quoted, candidates[:10]))
        raise AmbiguousModel(
            f"{quoted_path(folder)} has tensors in {names}; say which of them is the model"
            " (tensors), or which to leave out (ignore)"
        )
    return candidates[0] if candidates else None


def _candidates(top: _Top, index_suffix: str, has_tensors: Callable[[FilePath], bool]) -> list[str]:
    """The indices, and the files with tensors that none of them names."""
    indices = [name for name in top if name.lower().endswith(index_suffix)]
    shards: set[str] = set()
    for index in indices:
        shards.update(sharded.read_index(top[index], follow_link=False).values())
    single = [name for name, path in top.items() if name not in shards and has_tensors(path)]
    return [*indices, *single]


def _is_safetensors(path: FilePath) -> bool:
    return os.fspath(path).lower().endswith(SUFFIX)


def _is_torch(path: FilePath) -> bool:
    with FileReader(path, follow_link=False) as reader:
        return format_of(reader) is not None
