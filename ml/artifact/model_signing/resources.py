"""The files of a model as Model Signing counts them: whole, or in shards of one size.

Source: ``_serialization/file.py``, ``_serialization/file_shard.py`` and ``manifest.py`` of
``model_signing`` 1.1.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from blake3 import blake3

from ml.artifact.digests import Hasher
from ml.artifact.entries import OPAQUE_PATH
from ml.artifact.errors import FileChanged, UnsupportedFormat, quoted
from ml.artifact.file_reader import FileReader, Progress
from ml.artifact.folder import walk
from ml.artifact.parallel import Job, Meter, run_all
from ml.artifact.spans import ModelFile

SHARD_BYTES: Final = 1_000_000_000
"""The size of a shard unless another is asked for, as in the library."""

GIT_PATHS: Final = (".git", ".gitattributes", ".github", ".gitignore")
"""What the library leaves out by itself."""

_HASHERS: Final[dict[str, Callable[[], Hasher]]] = {
    "sha256": hashlib.sha256,
    "blake2b": hashlib.blake2b,
    "blake3": blake3,
}
DIGEST_BYTES: Final = {name: len(new().digest()) for name, new in _HASHERS.items()}
"""The algorithms, by the names that bundles have for them, and how long their digests are."""


class Serialization(NamedTuple):
    """How the files of a model are counted and digested."""

    algorithm: str = "sha256"
    """Of `DIGEST_BYTES`."""
    shard_bytes: int | None = None
    """None if every file is digested as a whole."""
    follow_links: bool = False
    """Whether a link to a file counts as that file; if not, links are refused."""
    ignored: tuple[str, ...] = ()
    """Files and folders that are left out, as paths from the top of the model."""

    @property
    def resource_algorithm(self) -> str:
        """What the library calls the digest of one resource."""
        if self.shard_bytes is None:
            return self.algorithm
        return f"{self.algorithm}-sharded-{self.shard_bytes}"

    def leaves_out(self, path: str) -> bool:
        """Tell whether a path in the model, of a file or a folder, is left out."""
        return any(path == rule or path.startswith(f"{rule}/") for rule in self.ignored)


class Resource(NamedTuple):
    """A file, or a shard of one."""

    path: str
    """In the model, with ``/`` between its parts; ``OPAQUE_PATH`` if the file is the model."""
    start: int
    """Where it begins in the file, in bytes."""
    stop: int | None
    """Where it ends; None for a whole file, whose size is not recorded."""
    digest: bytes = b""


def files_of(model: Path, serialization: Serialization) -> list[ModelFile]:
    """The files of a model that are not left out, in the order of their paths.

    Raises:
        UnreadableFile: there is nothing there, or something that may not be read, or a link.
        InvalidEntry: a file's name is not UTF-8, or could lead elsewhere on another system.
    """
    if model.is_dir():
        return walk(str(model), serialization.leaves_out, follow_links=serialization.follow_links)
    with FileReader(model) as reader:
        return [ModelFile(OPAQUE_PATH, model, reader.size)]


def resources_of(files: Iterable[ModelFile], shard_bytes: int | None) -> list[Resource]:
    """What files consist of, in the library's order; an empty file has no shard.

    Raises:
        UnsupportedFormat: a file in shards has a name that the library cannot read.
    """
    found: list[Resource] = []
    for file in files:
        if shard_bytes is None:
            found.append(Resource(file.path, 0, None))
            continue
        if ":" in file.path:
            raise UnsupportedFormat(
                f"the name {quoted(file.path)} has a colon, which separates the parts of a shard's"
                " name; rename the file, or sign whole files"
            )
        found += divided(file.path, file.size, shard_bytes)
    return sorted(found, key=_place)


def divided(path: str, size: int, shard_bytes: int) -> Iterator[Resource]:
    """The shards of a file."""
    for start in range(0, size, shard_bytes):
        yield Resource(path, start, min(start + shard_bytes, size))


def by_file(resources: Iterable[Resource]) -> dict[str, list[Resource]]:
    """Resources by the paths of their files, each file's in the order of their places."""
    files: dict[str, list[Resource]] = {}
    for resource in sorted(resources, key=_place):
        files.setdefault(resource.path, []).append(resource)
    return files


def _place(resource: Resource) -> tuple[list[str], int]:
    """Sorts as the library does: folder by folder, then by the shards."""
    return resource.path.split("/"), resource.start


def digested(
    files: Sequence[ModelFile],
    resources: Sequence[Resource],
    serialization: Serialization,
    progress: Progress | None = None,
) -> list[Resource]:
    """Digest resources of files, on all processors, holding 1 MiB per processor at a time.

    Args:
        files: all that resources lie in; a resource of bounds ends no later than its file.
        resources: what to digest.
        serialization: how.
        progress: called with bytes done and bytes in all, once per MiB or so and at the end.

    Raises:
        UnreadableFile: a file is missing, special, or may not be read.
        FileChanged: a file's size changed since it was found.
    """
    by_path = {file.path: file for file in files}
    sizes = [_nbytes(resource, by_path[resource.path]) for resource in resources]
    meter = Meter(sum(sizes), progress)
    digests = [b""] * len(resources)

    def job(number: int, resource: Resource) -> Job:
        file = by_path[resource.path]
        # A path that a user gives may be a link, whatever holds for the inside of a folder.
        follow_link = serialization.follow_links or file.path == OPAQUE_PATH

        def run(buffer: memoryview) -> None:
            hasher = _HASHERS[serialization.algorithm]()
            with FileReader(file.location, follow_link=follow_link) as reader:
                if reader.size != file.size:
                    raise FileChanged(file.location, file.size, reader.size)
                stop = file.size if resource.stop is None else resource.stop
                for piece in meter.count(reader.pieces(resource.start, stop, buffer)):
                    hasher.update(piece)
                reader.check_size()
            digests[number] = hasher.digest()

        return Job(sizes[number], run)

    run_all([job(number, resource) for number, resource in enumerate(resources)], meter)
    meter.finish()
    return [
        resource._replace(digest=digest)
        for resource, digest in zip(resources, digests, strict=True)
    ]


def _nbytes(resource: Resource, file: ModelFile) -> int:
    return (file.size if resource.stop is None else resource.stop) - resource.start
