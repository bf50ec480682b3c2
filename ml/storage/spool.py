"""Bytes that were streamed once, kept in a temporary file to be read again.

What is sent over a network has to be sent again when it fails, and to several stores at once each
at its own pace; a stream can be read only once. In the file it has its name, too, before anybody
else says what that is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ml.artifact.file_reader import FileReader

from .errors import StorageError
from .naming import Namer, Stored
from .pieces import Piece


class Spool:
    """Named bytes on the disk; iterating reads them from the start, as often as one likes."""

    def __init__(self, path: Path, stored: Stored) -> None:
        self.path = path
        self.stored = stored

    def __iter__(self) -> Iterator[memoryview]:
        with FileReader(self.path) as reader:
            yield from reader.pieces(0, self.stored.size)


@contextmanager
def spooled(pieces: Iterable[Piece]) -> Iterator[Spool]:
    """Keep a stream in a temporary file while the block runs; what is a spool is used as it is.

    Raises:
        StorageError: the disk of temporary files does not take it.
    """
    if isinstance(pieces, Spool):
        yield pieces
        return
    with ExitStack() as stack:
        try:
            file = tempfile.NamedTemporaryFile(prefix="modelproof-")  # noqa: SIM115 (closed below)
        except OSError as error:
            raise _refusal(error) from error
        stack.callback(_close, file)
        namer = Namer()
        for piece in pieces:
            namer.update(piece)
            try:
                file.write(piece)
            except OSError as error:
                raise _refusal(error) from error
        try:
            file.flush()
        except OSError as error:
            raise _refusal(error) from error
        yield Spool(Path(file.name), namer.finish())


def _close(file: tempfile._TemporaryFileWrapper[bytes]) -> None:
    with suppress(OSError):  # bytes that nobody wants any more need not fit the disk
        file.close()


def _refusal(error: OSError) -> StorageError:
    try:
        folder = tempfile.gettempdir()
    except OSError as none:  # none can be written to
        return StorageError(f"there is no folder for temporary files: {none.strerror}")
    return StorageError(f"cannot write to {folder}: {error.strerror}; TMPDIR names another folder")
