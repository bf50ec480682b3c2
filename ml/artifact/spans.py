"""Where a model's tensors and files lie: all that a reader of a format has to find out."""

from __future__ import annotations

import os
from typing import NamedTuple

from .entries import TensorEntry


class TensorSpan(NamedTuple):
    """Where one tensor lies; a tuple, since a model may have a million of them.

    ``nbytes`` is the tensor's size, contiguous. Its bytes are those from ``start`` on of the file
    of that number, or, if there are ``strides`` (in elements, one per dimension), those that lie
    as far apart there. ``shape`` and ``dtype`` are as safetensors counts and names them.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: int
    start: int
    nbytes: int
    strides: tuple[int, ...] | None = None

    def entry(self, digest: bytes) -> TensorEntry:
        """Return the manifest's entry, given the digest of the bytes."""
        return TensorEntry(self.name, self.dtype, self.shape, digest, self.nbytes)


class ModelFile(NamedTuple):
    """A file that belongs to a model besides its tensors."""

    path: str
    """In the model, with ``/`` between its parts; ``OPAQUE_PATH`` if the file is the model."""
    location: str | os.PathLike[str]
    """Where it is now."""
    size: int
    """In bytes, when it was found."""


class Tensor(NamedTuple):
    """A loaded tensor: ``data`` holds its contiguous little-endian bytes, and may be written to."""

    dtype: str
    shape: tuple[int, ...]
    data: bytearray
