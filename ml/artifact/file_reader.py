"""Bytes from a file that may be missing, special, hostile or changing.

Reading is by ``preadv`` into buffers that we own: a memory map of a file that somebody truncates
kills the process, and bytes that are read twice can differ.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Final, Self

from .digests import DigestAlgorithm, new_hasher
from .errors import FileChanged, UnreadableFile, quoted_path

PIECE_BYTES: Final = 1 << 20
"""How much is read and digested at a time: fits a CPU cache, and hides the cost of a call."""

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all, once per MiB or so, and at the end."""

FilePath = str | os.PathLike[str]


class FileReader:
    """An open regular file; a context manager. One thread at a time: it reuses one buffer."""

    def __init__(self, path: FilePath, progress: Progress | None = None) -> None:
        """Open the file.

        Raises:
            UnreadableFile: it is missing, not a regular file, or may not be read.
        """
        self.path = path
        self._descriptor = _open_regular(path)
        self.size = os.fstat(self._descriptor).st_size
        self._progress = progress
        self._done = 0
        self._reported = -1
        self._buffer = memoryview(bytearray(min(PIECE_BYTES, self.size)))

    def __enter__(self) -> Self:
        """Return the reader itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def pieces(self, start: int, stop: int) -> Iterator[memoryview]:
        """Yield the bytes of a range in order; each piece is valid until the next one.

        Every piece but the last has ``PIECE_BYTES`` bytes, so that no element of a tensor lies
        across two of them.

        Raises:
            FileChanged: the file ends before ``stop``.
            UnreadableFile: the system reports a read error.
        """
        for offset in range(start, stop, PIECE_BYTES):
            piece = self._buffer[: min(PIECE_BYTES, stop - offset)]
            self._fill(piece, offset)
            yield piece

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes of a range; errors as for ``pieces``."""
        return b"".join(map(bytes, self.pieces(start, stop)))

    def read_into(self, target: memoryview, start: int) -> Iterator[memoryview]:
        """Fill ``target`` from ``start`` on, and yield each filled piece of it.

        Raises:
            FileChanged: the file ends before the target is full.
            UnreadableFile: the system reports a read error.
        """
        for offset in range(0, len(target), PIECE_BYTES):
            piece = target[offset : offset + PIECE_BYTES]
            self._fill(piece, start + offset)
            yield piece

    def digest(self, start: int, stop: int, algorithm: DigestAlgorithm) -> bytes:
        """Digest a range without holding more than one piece of it; errors as for ``pieces``."""
        return digest_pieces(self.pieces(start, stop), algorithm)

    def finish(self) -> None:
        """State that all was read that will be.

        Raises:
            FileChanged: the file no longer has the size that it was opened with.
        """
        self._check_size()
        if self._progress and self._reported != self._done:
            self._report()

    def _fill(self, piece: memoryview, offset: int) -> None:
        filled = 0
        while filled < len(piece):
            try:
                count = os.preadv(self._descriptor, [piece[filled:]], offset + filled)
            except OSError as error:
                raise _unreadable(self.path, error) from error
            if count == 0:
                self._check_size()
                raise FileChanged(self.path, self.size, offset + filled)
            filled += count
        self._done += filled
        if self._progress and self._done - self._reported >= PIECE_BYTES:
            self._report()

    def _report(self) -> None:
        self._reported = self._done
        if self._progress:
            self._progress(self._done, self.size)

    def _check_size(self) -> None:
        size = os.fstat(self._descriptor).st_size
        if size != self.size:
            raise FileChanged(self.path, self.size, size)


def digest_pieces(pieces: Iterable[memoryview], algorithm: DigestAlgorithm) -> bytes:
    """Digest pieces in order into 32 bytes."""
    hasher = new_hasher(algorithm)
    for piece in pieces:
        hasher.update(piece)
    return hasher.digest()


def _open_regular(path: FilePath) -> int:
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise UnreadableFile(f"there is no file {quoted_path(path)}; check the path") from None
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:  # a NUL in the path
        raise UnreadableFile(f"cannot read {quoted_path(path)}: {error}") from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise UnreadableFile(f"{quoted_path(path)} is a folder; name one model file in it")
    raise UnreadableFile(f"{quoted_path(path)} is not a regular file; copy it to one first")


def _unreadable(path: FilePath, error: OSError) -> UnreadableFile:
    reason = error.strerror or type(error).__name__
    return UnreadableFile(
        f"cannot read {quoted_path(path)}: {reason}; check the path and its permissions"
    )
