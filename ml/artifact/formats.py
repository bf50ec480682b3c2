"""The file formats that tensors are read from, and which of them a file has.

A reader of a format is a module with the members of `Format`: it says where tensors lie, and
nothing is digested, loaded or run by it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Protocol

from . import safetensors
from .errors import UnsupportedFormat, quoted_path

if TYPE_CHECKING:
    from .file_reader import FileReader
    from .spans import TensorSpan

PICKLE_SUFFIXES: Final = (".bin", ".ckpt", ".pkl", ".pickle")
"""Names under which a zip archive is meant as a torch checkpoint, besides torch's own."""

_TORCH_SUFFIXES: Final = (".pt", ".pth")
_ZIP_MAGIC: Final = b"PK\x03\x04"
_ZIP_HEADER_BYTES: Final = 30
# What torch.save wrote before it wrote zip archives: its magic number, pickled by itself.
_LEGACY_MAGIC: Final = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_LOOKED_AT_BYTES: Final = 1024


class Format(Protocol):
    """How a file says where its tensors are."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a module's constant
        """What the format is called."""
        ...

    def read_spans(
        self, reader: FileReader, file: int = 0, key: str | None = None
    ) -> list[TensorSpan]:
        """Find the tensors of an open file, which is number ``file`` of its model.

        ``key`` chooses among several sets of tensors. They come in the order of their places, those
        of equal places side by side.

        Raises:
            ArtifactError: the format has no such choice.
            MalformedFile: the file breaks a rule of the format.
            UnsafePickle, UnsupportedFormat: it holds what is not read here.
            UnreadableFile, FileChanged: as for ``FileReader.fill``.
        """
        ...


def format_of(reader: FileReader) -> Format | None:
    """Tell an open file's format, or None if its inside has no reader here.

    It is by the file's name, and by its content under any other name: else a copy of a model would
    have a second identity, under which nothing is known of it.

    Raises:
        UnsupportedFormat: a torch checkpoint as torch wrote it before version 1.6.
        UnreadableFile, FileChanged: as for ``FileReader.fill``.
    """
    name = os.fspath(reader.path).lower()
    if name.endswith(safetensors.SUFFIX):
        return safetensors
    start = reader.read(0, min(reader.size, _LOOKED_AT_BYTES))
    if safetensors.looks_like(start, reader.size):
        return safetensors
    if start.startswith(_LEGACY_MAGIC):
        raise UnsupportedFormat(
            f"{quoted_path(reader.path)} is a torch checkpoint as versions before 1.6 wrote them;"
            " load it in torch and save it again"
        )
    if name.endswith(_TORCH_SUFFIXES) or _is_torch_archive(start, name):
        from . import torch_checkpoint

        return torch_checkpoint
    return None


def _is_torch_archive(start: bytes, name: str) -> bool:
    """Tell by its first entry, or by a name that pickles have, whether a zip archive is torch's.

    Source: "Local file header" in PKWARE's APPNOTE.TXT; torch's archives begin with a data.pkl.
    """
    if not start.startswith(_ZIP_MAGIC):
        return False
    length = int.from_bytes(start[26:28], "little")
    entry = start[_ZIP_HEADER_BYTES : _ZIP_HEADER_BYTES + length]
    return entry.endswith(b"/data.pkl") or name.endswith(PICKLE_SUFFIXES)
