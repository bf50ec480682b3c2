"""Every byte of a model's tensors and files, read once, in parallel, 1 MiB at a time."""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, TypeVar, cast

from .digests import DigestAlgorithm
from .dtypes import DTYPE_BITS
from .entries import OPAQUE_PATH, FileEntry
from .errors import FileChanged
from .file_reader import PIECE_BYTES, FileReader, Progress, digest_pieces
from .parallel import Job, Meter, run_all
from .spans import ModelFile, TensorSpan

Result = TypeVar("Result")

Read = Callable[[memoryview | None], Iterator[memoryview]]
"""Reads one tensor in pieces of at most 1 MiB, into memory of its size or into a passing buffer."""

Consume = Callable[[TensorSpan, Read], Result]
"""Makes something of one tensor; has to read it to its end."""


def tensor_pieces(
    span: TensorSpan, reader: FileReader, buffer: memoryview | None = None
) -> Iterator[memoryview]:
    """Yield a tensor's contiguous bytes in pieces of at most 1 MiB; each is valid until the next.

    Raises:
        FileChanged, UnreadableFile: as for ``FileReader.fill``.
    """
    if span.strides is None:
        return reader.pieces(span.start, span.start + span.nbytes, buffer)
    from .strided import contiguous_pieces

    itemsize = DTYPE_BITS[span.dtype] // 8
    return contiguous_pieces(reader, span.start, span.shape, span.strides, itemsize)


class Reading(Generic[Result]):
    """One reading of a model: every tensor is handed to ``consume``, and every file digested.

    Args:
        readers: the files that the tensors lie in, by their numbers.
        tensors: in the order of their places, so that small neighbours are read at once, and those
            that share all their bytes are consumed once.
        files: what else belongs to the model.
        consume: called from several threads.
        progress: called with bytes done and bytes in all, once per MiB or so and at the end.
    """

    def __init__(
        self,
        readers: Sequence[FileReader],
        tensors: Sequence[TensorSpan],
        files: Sequence[ModelFile],
        consume: Consume[Result],
        progress: Progress | None = None,
    ) -> None:
        self._readers: Final = readers
        self._tensors: Final = tensors
        self._files: Final = files
        self._consume: Final = consume
        total = sum(span.nbytes for span in tensors) + sum(file.size for file in files)
        self._meter: Final = Meter(total, progress)
        self._one_at_a_time: Final = allocate_lock()  # each strided tensor takes a large block
        self._results: Final[list[Result | None]] = [None] * len(tensors)
        self._entries: Final[list[FileEntry | None]] = [None] * len(files)

    def run(self) -> tuple[list[Result], list[FileEntry]]:
        """Read everything.

        Returns:
            what became of each tensor, and each file's entry.

        Raises:
            UnreadableFile: a file is missing, special, or may not be read.
            FileChanged: a file's size changed while it was read.
        """
        run_all([*self._tensor_jobs(), *map(self._file_job, range(len(self._files)))], self._meter)
        for reader in self._readers:
            reader.check_size()
        self._meter.finish()
        self._give_to_twins()
        return cast(list[Result], self._results), cast(list[FileEntry], self._entries)

    def _tensor_jobs(self) -> Iterator[Job]:
        """One job per tensor, or per run of small ones that fit into one piece together."""
        run: list[int] = []
        size, end = 0, (-1, -1)
        for index, span in enumerate(self._tensors):
            if self._is_twin(index):
                continue
            joins = (span.file, span.start) == end and size + span.nbytes <= PIECE_BYTES
            if run and not (joins and span.strides is None):
                yield self._tensor_job(run, size)
                run, size = [], 0
            run.append(index)
            size += span.nbytes
            end = (span.file, span.start + span.nbytes) if span.strides is None else (-1, -1)
        if run:
            yield self._tensor_job(run, size)

    def _is_twin(self, index: int) -> bool:
        """Whether a tensor has all but its name in common with the one before."""
        if index == 0:
            return False
        span, before = self._tensors[index], self._tensors[index - 1]
        return span.start == before.start and span[1:] == before[1:]

    def _give_to_twins(self) -> None:
        for index in range(len(self._tensors)):
            if self._is_twin(index):
                self._results[index] = self._results[index - 1]

    def _tensor_job(self, run: list[int], size: int) -> Job:
        if len(run) == 1:
            return Job(size, lambda buffer: self._read_one(run[0], buffer))
        return Job(size, lambda buffer: self._read_run(run, buffer[:size]))

    def _read_one(self, index: int, buffer: memoryview) -> None:
        span = self._tensors[index]
        reader = self._readers[span.file]

        def read(target: memoryview | None) -> Iterator[memoryview]:
            if target is not None and span.strides is None:
                return self._meter.count(reader.read_into(target, span.start))
            pieces = self._meter.count(tensor_pieces(span, reader, buffer))
            return pieces if target is None else _copied(pieces, target)

        if span.strides is None:
            self._results[index] = self._consume(span, read)
            return
        with self._one_at_a_time:
            self._results[index] = self._consume(span, read)

    def _read_run(self, run: list[int], buffer: memoryview) -> None:
        first = self._tensors[run[0]]
        self._readers[first.file].fill(buffer, first.start)
        for index in run:
            span = self._tensors[index]
            offset = span.start - first.start
            pieces = iter([buffer[offset : offset + span.nbytes]])

            def read(
                target: memoryview | None, pieces: Iterator[memoryview] = pieces
            ) -> Iterator[memoryview]:
                return pieces if target is None else _copied(pieces, target)

            self._results[index] = self._consume(span, read)
        self._meter.add(len(buffer))

    def _file_job(self, index: int) -> Job:
        file = self._files[index]
        # What a folder says is a file leads nowhere else; a path that a user gives may be a link.
        follow_link = file.path == OPAQUE_PATH

        def read(buffer: memoryview) -> None:
            with FileReader(file.location, follow_link=follow_link) as reader:
                if reader.size != file.size:
                    raise FileChanged(file.location, file.size, reader.size)
                pieces = self._meter.count(reader.pieces(0, reader.size, buffer))
                digest = digest_pieces(pieces, DigestAlgorithm.SHA256)
                reader.check_size()
            self._entries[index] = FileEntry(file.path, reader.size, digest)

        return Job(file.size, read)


def _copied(pieces: Iterator[memoryview], target: memoryview) -> Iterator[memoryview]:
    """Copy pieces to where they belong, and yield the copies."""
    done = 0
    for piece in pieces:
        copy = target[done : done + len(piece)]
        copy[:] = piece
        done += len(piece)
        yield copy
