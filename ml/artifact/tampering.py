"""A copy of a model with one weight changed, to show that the change is found."""

from __future__ import annotations

import shutil
from pathlib import Path

from ml import files

from .errors import UnknownTensor, UnsupportedFormat
from .file_reader import FilePath, Part
from .model import Model, open_model
from .spans import TensorSpan

_LOWEST_BIT = 0x01


def tamper(source: Path, target: Path, tensor: str | None = None) -> str:
    """Copy ``source`` to ``target`` with the lowest bit of one weight flipped.

    The weight is the first of ``tensor``, or of the file's first tensor that is not empty; of an
    opaque file, its middle byte, and of an archive without tensors, that of its first file with any
    bytes. Nothing else changes, so that the copy still loads.

    Returns:
        what was changed, in a clause.

    Raises:
        UnknownTensor: there is no such tensor, or it is empty.
        UnsupportedFormat: the model consists of several files, and is not the archive of them.
        MalformedFile: the source is not what its name says.
        UnreadableFile: it is missing, special, or may not be read.
    """
    with open_model(source) as model:
        position, what = _weight(model, tensor)
    with files.replacing(target) as temporary:
        shutil.copyfile(source, temporary)
        with temporary.open("r+b") as copy:
            copy.seek(position)
            byte = copy.read(1)
            if not byte:
                raise UnknownTensor(f"{source} is empty, so there is nothing to change")
            copy.seek(position)
            copy.write(bytes([byte[0] ^ _LOWEST_BIT]))
    return what


def _weight(model: Model, tensor: str | None) -> tuple[int, str]:
    """Where the byte to change is, and what it is part of."""
    layout = model.layout
    if not layout.is_one_file:
        raise UnsupportedFormat(f"{model.path} consists of several files; name one of them")
    if layout.tensors or layout.format not in ("opaque", "archive"):
        span = _span(model, tensor)
        start = _start_of(model.file_of(span)) + span.start
        return start, f"the first weight of tensor {span.name!r}"
    if tensor is not None:
        raise UnknownTensor(f"{model.path} has no tensors, so none is called {tensor!r}")
    file = next((each for each in layout.files if each.size), layout.files[0])
    what = "its middle byte" if layout.format == "opaque" else f"the middle byte of {file.path!r}"
    return _start_of(file.location) + file.size // 2, what


def _start_of(file: FilePath) -> int:
    """Where a file begins in the one that is copied."""
    return file.start if isinstance(file, Part) else 0


def _span(model: Model, tensor: str | None) -> TensorSpan:
    spans = [span for span in model.layout.tensors if span.nbytes]
    for span in spans:
        if tensor in (None, span.name):
            return span
    wanted = f"no tensor {tensor!r} with weights" if tensor is not None else "no weights"
    names = ", ".join(span.name for span in spans[:10])
    raise UnknownTensor(f"{model.path} has {wanted}; it has {names or 'none'}")
