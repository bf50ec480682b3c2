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


class Part(os.PathLike[str]):
    """A file that lies within another one, as in an archive: a path that `FileReader` opens."""

    def __init__(self, container: FilePath, name: str, start: int, size: int) -> None:
        self.container: Final = container
        self.name: Final = name
        self.start: Final = start
        self.size: Final = size

    def __fspath__(self) -> str:
        """Show it as if the archive were a folder."""
        return f"{os.fspath(self.container)}/{self.name}"


class FileReader:
    """An open regular file; a context manager. Threads may share it: each brings its own buffer."""

    def __init__(self, path: FilePath, *, follow_link: bool = True) -> None:
        """Open the file.

        Raises:
            UnreadableFile: it is missing, not a regular file, a link where none may be followed,
                or may not be read.
        """
        self.path = path
        part = path if isinstance(path, Part) else None
        if part is None:
            self._descriptor = _open_regular(path, follow_link=follow_link)
        else:  # in a file that a user names, which may be a link
            self._descriptor = _open_regular(part.container, follow_link=True)
        self._whole_size = os.fstat(self._descriptor).st_size
        self._start, self.size = (part.start, part.size) if part else (0, self._whole_size)

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
        self.close()

    def close(self) -> None:
        """Close the file; nothing can be read after that."""
        os.close(self._descriptor)

    def fill(self, target: memoryview, start: int) -> None:
        """Fill all of ``target`` with the bytes from ``start`` on.

        Raises:
            FileChanged: the file ends before the target is full.
            UnreadableFile: the system reports a read error.
        """
        filled = 0
        while filled < len(target):
            try:
                count = os.preadv(self._descriptor, [target[filled:]], self._start + start + filled)
            except OSError as error:
                raise unreadable(self.path, error) from error
            if count == 0:
                self.check_size()
                raise FileChanged(self.path, self.size, start + filled)
            filled += count

    def pieces(
        self, start: int, stop: int, buffer: memoryview | None = None
    ) -> Iterator[memoryview]:
        """Yield the bytes of a range in order; each piece is valid until the next one.

        Every piece but the last fills the buffer, which has ``PIECE_BYTES`` bytes unless one is
        given, so that no element of a tensor lies across two of them. Errors as for ``fill``.
        """
        if buffer is None:
            buffer = memoryview(bytearray(min(PIECE_BYTES, max(stop - start, 0))))
        for offset in range(start, stop, len(buffer) or 1):
            piece = buffer[: stop - offset]
            self.fill(piece, offset)
            yield piece

    def read_into(self, target: memoryview, start: int) -> Iterator[memoryview]:
        """Fill ``target`` from ``start`` on, yielding each filled piece; errors as for ``fill``."""
        for offset in range(0, len(target), PIECE_BYTES):
            piece = target[offset : offset + PIECE_BYTES]
            self.fill(piece, start + offset)
            yield piece

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes of a range; errors as for ``fill``."""
        return b"".join(map(bytes, self.pieces(start, stop)))

    def check_size(self) -> None:
        """Check, once all was read, that it still was the same file as far as its size tells.

        Raises:
            FileChanged: the file no longer has the size that it was opened with.
        """
        size = os.fstat(self._descriptor).st_size
        if size != self._whole_size:
            raise FileChanged(self.path, self._whole_size, size)


def digest_pieces(pieces: Iterable[memoryview], algorithm: DigestAlgorithm) -> bytes:
    """Digest pieces in order into 32 bytes."""
    hasher = new_hasher(algorithm)
    for piece in pieces:
        hasher.update(piece)
    return hasher.digest()


def _open_regular(path: FilePath, *, follow_link: bool) -> int:
    # Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow_link else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise UnreadableFile(f"there is no file {quoted_path(path)}; check the path") from None
    except OSError as error:
        if not follow_link and os.path.islink(path):  # noqa: PTH114 - a path that may be no Path
            raise UnreadableFile(
                f"{quoted_path(path)} is a link, and what a model says of its own files leads"
                " nowhere else; copy the model with its links followed (cp -rL)"
            ) from None
        raise unreadable(path, error) from error
    except ValueError as error:  # a NUL in the path
        raise UnreadableFile(f"cannot read {quoted_path(path)}: {error}") from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise UnreadableFile(f"{quoted_path(path)} is a folder; name one model file in it")
    raise UnreadableFile(f"{quoted_path(path)} is not a regular file; copy it to one first")


def unreadable(path: FilePath, error: OSError) -> UnreadableFile:
    """What the system has against reading a file, as a sentence."""
    reason = error.strerror or type(error).__name__
    return UnreadableFile(
        f"cannot read {quoted_path(path)}: {reason}; check the path and its permissions"
    )
