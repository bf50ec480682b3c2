"""A model on disk, whatever its format: what it consists of, and every byte of it read once.

A format's reader finds out where each tensor lies, and nothing more; digesting and loading are the
same for all of them, so that the same weights have the same identity in each.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from . import collector, sharded
from .digests import DigestAlgorithm
from .entries import OPAQUE_PATH, FileEntry
from .errors import (
    ArtifactError,
    UnknownTensor,
    UnreadableFile,
    UnsupportedFormat,
    quoted,
    quoted_path,
)
from .file_reader import FilePath, FileReader, Part, Progress, digest_pieces
from .formats import format_of
from .manifest import Manifest
from .reading import Consume, Read, Reading, Result, tensor_pieces
from .spans import ModelFile, Tensor, TensorSpan

if TYPE_CHECKING:
    from .folder import ModelFolder


class Layout(NamedTuple):
    """What a model consists of."""

    format: str
    """``safetensors``, ``torch``, ``shards`` of either, ``files`` alone, the ``archive`` of a
    folder, or one ``opaque`` file."""
    tensors: Sequence[TensorSpan]
    """In the order of their places."""
    files: Sequence[ModelFile] = ()
    """All other files of a folder, or the opaque file."""
    ignored: tuple[str, ...] = ()
    """The rules by which files of a folder were left out."""

    @property
    def is_one_file(self) -> bool:
        """Whether the model is a single file, so that copying that one copies all of it."""
        if self.format == "archive":
            return True
        return self.format in ("safetensors", "torch", "opaque") and not self.ignored


class Model:
    """An open model; a context manager. `open_model` makes it."""

    def __init__(self, path: FilePath, layout: Layout, readers: Sequence[FileReader]) -> None:
        self.path: Final = path
        """What was opened."""
        self.layout: Final = layout
        self._readers: Final = readers

    def __enter__(self) -> Self:
        """Return the model itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the model."""
        self.close()

    def close(self) -> None:
        """Close its files; nothing can be read after that."""
        for reader in self._readers:
            reader.close()

    def pieces(self, name: str) -> Iterator[memoryview]:
        """Yield a tensor's contiguous bytes in pieces of at most 1 MiB, each valid until the next.

        Raises:
            UnknownTensor: there is no tensor of that name.
            UnreadableFile, FileChanged: as for `manifest`.
        """
        span = self._spans_by_name.get(name)
        if span is None:
            raise UnknownTensor(f"{quoted_path(self.path)} has no tensor {quoted(name)}")
        return tensor_pieces(span, self._readers[span.file])

    def file_of(self, span: TensorSpan) -> FilePath:
        """The file that a tensor's span is in: a `Part` of the archive, where the model is one."""
        return self._readers[span.file].path

    def manifest(
        self,
        algorithm: DigestAlgorithm = DigestAlgorithm.BLAKE3,
        progress: Progress | None = None,
    ) -> Manifest:
        """Digest everything, on all processors, holding 1 MiB per processor at a time.

        Args:
            algorithm: how tensors are digested; part of the identity. What has no tensors is always
                digested by SHA-256, so that it has one identity.
            progress: called with bytes done and bytes in all, once per MiB or so and at the end.

        Raises:
            UnreadableFile: a file is missing, special, or may not be read.
            FileChanged: a file's size changed while it was read.
        """

        def digest(_: TensorSpan, read: Read) -> bytes:
            return digest_pieces(read(None), algorithm)

        digests, files = Reading(self._readers, *self._parts, digest, progress).run()
        return self._manifest(digests, files, algorithm)

    def load(
        self,
        algorithm: DigestAlgorithm = DigestAlgorithm.BLAKE3,
        progress: Progress | None = None,
    ) -> tuple[dict[str, Tensor], Manifest]:
        """Load every tensor, with the manifest of the very bytes loaded.

        Names that share all their bytes share the loaded memory. Verifying the manifest is the
        caller's part. Arguments and errors as for `manifest`.
        """

        def load(span: TensorSpan, read: Read) -> tuple[Tensor, bytes]:
            data = bytearray(span.nbytes)
            digest = digest_pieces(read(memoryview(data)), algorithm)
            return Tensor(span.dtype, span.shape, data), digest

        loaded, files = Reading(self._readers, *self._parts, load, progress).run()
        manifest = self._manifest([digest for _, digest in loaded], files, algorithm)
        names = (span.name for span in self.layout.tensors)
        return dict(zip(names, (tensor for tensor, _ in loaded), strict=True)), manifest

    def map_tensors(self, consume: Consume[Result]) -> list[Result]:
        """Hand every tensor to a function, from several threads; errors as for `manifest`."""
        return Reading(self._readers, self.layout.tensors, (), consume).run()[0]

    @cached_property
    def _spans_by_name(self) -> dict[str, TensorSpan]:
        return {span.name: span for span in self.layout.tensors}

    @property
    def _parts(self) -> tuple[Sequence[TensorSpan], Sequence[ModelFile]]:
        return self.layout.tensors, self.layout.files

    def _manifest(
        self, digests: Iterable[bytes], files: Sequence[FileEntry], algorithm: DigestAlgorithm
    ) -> Manifest:
        with collector.paused():
            entries = tuple(map(TensorSpan.entry, self.layout.tensors, digests))
        if files and not entries:
            algorithm = DigestAlgorithm.SHA256
        return Manifest(entries, tuple(files), algorithm, self.layout.ignored)


def open_model(
    path: FilePath,
    *,
    key: str | None = None,
    tensors: str | None = None,
    ignore: Sequence[str] = (),
) -> Model:
    """Open a model and find out what it consists of; of its tensors, nothing is read yet.

    Args:
        path: a safetensors file, a torch checkpoint, the index of a model in shards of either, a
            folder with one of these and all that belongs to it, the archive of such a folder, or
            any other file.
        key: the entry of a torch checkpoint that is the state dict, where it has several.
        tensors: the name of the file in a folder that has the tensors, where it has several.
        ignore: rules by which files of a folder are left out; see `folder.read_folder`.

    Raises:
        UnreadableFile: a file is missing, special, or may not be read.
        MalformedFile: a file breaks a rule of its format.
        UnsafePickle: the pickle in a torch checkpoint asks for more than tensors and plain values.
        UnsupportedFormat: a file holds what cannot be read here.
        AmbiguousModel: which of several is the model is for the caller to say.
        FileChanged: a file's size changed while it was read.
    """
    opening = _Opening(key)
    try:
        with collector.paused():
            layout = opening.layout(path, tensors, ignore)
    except BaseException:
        opening.close()
        raise
    return Model(path, layout, opening.readers)


class _Opening:
    """A model being opened: its files with tensors, by their numbers."""

    def __init__(self, key: str | None) -> None:
        self.readers: Final[list[FileReader]] = []
        self._key: Final = key

    def close(self) -> None:
        for reader in self.readers:
            reader.close()

    def layout(self, path: FilePath, tensors: str | None, ignore: Sequence[str]) -> Layout:
        if os.path.isdir(path):  # noqa: PTH112 - a path that may be no Path
            return self.folder(path, tensors, ignore)
        if tensors is not None or ignore:
            raise ArtifactError(
                f"{quoted_path(path)} is no folder, so there is nothing to choose or ignore in it"
            )
        if sharded.is_index(path):
            return self.shards(path, sharded.read_index(path))
        layout = self.file(path, follow_link=True)
        if layout.format != "opaque":
            return layout
        archive = self.archive()
        if archive is None:
            self._refuse_key(path)
        return archive or layout

    def file(self, path: FilePath, *, follow_link: bool) -> Layout:
        reader = self._open(path, follow_link=follow_link)
        file_format = format_of(reader)
        if file_format is not None:
            return Layout(file_format.NAME, file_format.read_spans(reader, 0, self._key))
        return Layout("opaque", (), [ModelFile(OPAQUE_PATH, path, reader.size)])

    def shards(
        self, path: FilePath, index: dict[str, str], beside: Mapping[str, FilePath] | None = None
    ) -> Layout:
        """Shards beside their index, where they are not known by their names."""
        self._refuse_key(path)

        def open_shard(name: str) -> FileReader:
            if beside is not None and name in beside:
                return self._open(beside[name])
            if isinstance(path, Part):
                raise UnreadableFile(f"there is no file {quoted(name)} beside {quoted_path(path)}")
            return self._open(os.path.join(os.path.dirname(path), name))  # noqa: PTH118, PTH120

        return Layout("shards", sharded.read_spans(path, index, open_shard))

    def folder(self, path: FilePath, tensors: str | None, ignore: Sequence[str]) -> Layout:
        from .folder import read_folder

        return self._divided(path, read_folder(os.fspath(path), ignore, tensors))

    def archive(self) -> Layout | None:
        """The folder in the one file that was opened, if that is an archive of one."""
        from . import folder, folder_archive

        (reader,) = self.readers
        if not folder_archive.looks_like(reader.read(0, min(reader.size, folder_archive.BLOCK))):
            return None
        files = folder_archive.read_files(reader)
        self.readers.remove(reader)  # each file in it has a reader of its own
        reader.close()
        found = folder.divided(reader.path, files, folder.ALWAYS_IGNORED)
        return self._divided(reader.path, found)._replace(format=folder_archive.NAME)

    def _divided(self, path: FilePath, found: ModelFolder) -> Layout:
        if found.tensors is None:
            self._refuse_key(path)
            layout = Layout("files", ())
        elif sharded.is_index(found.tensors):
            layout = self.shards(found.tensors, found.shards, found.top)
        else:
            layout = self.file(found.tensors, follow_link=False)
            if layout.format == "opaque":
                raise UnsupportedFormat(f"{quoted_path(found.tensors)} has no tensors to be read")
        return layout._replace(files=found.files, ignored=found.ignored)

    def _open(self, path: FilePath, *, follow_link: bool = False) -> FileReader:
        reader = FileReader(path, follow_link=follow_link)
        self.readers.append(reader)
        return reader

    def _refuse_key(self, path: FilePath) -> None:
        if self._key is not None:
            raise ArtifactError(
                f"{quoted_path(path)} is no torch checkpoint, so it has no entry"
                f" {quoted(self._key)}; leave the key out"
            )
