"""A copy of a model with one weight changed, to show that the change is found."""

from __future__ import annotations

import shutil
from pathlib import Path

from ml import files

from .errors import UnknownTensor
from .file_reader import FileReader
from .model_file import is_safetensors
from .safetensors import TensorSpan, read_header

_LOWEST_BIT = 0x01


def tamper(source: Path, target: Path, tensor: str | None = None) -> str:
    """Copy ``source`` to ``target`` with the lowest bit of one weight flipped.

    The weight is the first of ``tensor``, or of the file's first tensor that is not empty; of an
    opaque file, its middle byte. Nothing else changes, so that the copy still loads.

    Returns:
        what was changed, in a clause.

    Raises:
        UnknownTensor: there is no such tensor, or it is empty.
        MalformedFile: the source is not what its name says.
        UnreadableFile: it is missing, special, or may not be read.
    """
    if is_safetensors(source):
        span = _span(source, tensor)
        position, what = span.start, f"the first weight of tensor {span.name!r}"
    else:
        if tensor is not None:
            raise UnknownTensor(f"{source} is an opaque file, so it has no tensor {tensor!r}")
        with FileReader(source) as reader:
            position, what = reader.size // 2, "its middle byte"
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


def _span(source: Path, tensor: str | None) -> TensorSpan:
    spans = [span for span in read_header(source).tensors if span.nbytes]
    for span in spans:
        if tensor in (None, span.name):
            return span
    wanted = f"no tensor {tensor!r} with weights" if tensor is not None else "no weights"
    names = ", ".join(span.name for span in spans[:10])
    raise UnknownTensor(f"{source} has {wanted}; it has {names or 'none'}")
