"""Which tensors hold NaN or infinity: legal in a model, and nearly always a failed training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from .file_reader import PIECE_BYTES, FilePath
from .model import Model, open_model
from .reading import Read
from .spans import Tensor, TensorSpan

# Per dtype: bytes of the integer read, the bits looked at, and their value when not finite. IEEE
# 754 formats have an exponent of ones for NaN and infinity alike; the 8-bit ones "FN" and "UZ" have
# NaN only (OCP 8-bit Floating Point Specification; arXiv 2206.02915); 4 and 6 bits have neither.
_PATTERNS: Final[dict[str, tuple[int, int, int]]] = {
    "F64": (8, 0x7FF0_0000_0000_0000, 0x7FF0_0000_0000_0000),
    "F32": (4, 0x7F80_0000, 0x7F80_0000),
    "C64": (4, 0x7F80_0000, 0x7F80_0000),
    "F16": (2, 0x7C00, 0x7C00),
    "BF16": (2, 0x7F80, 0x7F80),
    "F8_E5M2": (1, 0x7C, 0x7C),
    "F8_E4M3": (1, 0x7F, 0x7F),
    "F8_E8M0": (1, 0xFF, 0xFF),
    "F8_E4M3FNUZ": (1, 0xFF, 0x80),
    "F8_E5M2FNUZ": (1, 0xFF, 0x80),
}


def find_non_finite(model: FilePath | Model | Mapping[str, Tensor]) -> list[str]:
    """Name the tensors that hold NaN or infinity, in order.

    An opaque file has no tensors that can be looked at, so nothing is found in it.

    Args:
        model: a model by its path, or an open one, read 1 MiB at a time; or loaded tensors.

    Raises:
        UnreadableFile, MalformedFile, FileChanged, UnsafePickle, UnsupportedFormat,
        AmbiguousModel: as for ``read_manifest``.
    """
    if isinstance(model, Mapping):
        return sorted(
            name
            for name, tensor in model.items()
            if _any_non_finite(tensor.dtype, _split(memoryview(tensor.data)))
        )
    if isinstance(model, Model):
        return _find(model)
    with open_model(model) as opened:
        return _find(opened)


def _find(model: Model) -> list[str]:
    def look(span: TensorSpan, read: Read) -> bool:
        return _any_non_finite(span.dtype, read(None))

    found = model.map_tensors(look)
    return sorted(span.name for span, bad in zip(model.layout.tensors, found, strict=True) if bad)


def _split(data: memoryview) -> Iterator[memoryview]:
    return (data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES))


def _any_non_finite(dtype: str, pieces: Iterable[memoryview]) -> bool:
    """Tell whether any piece, each of whole elements, holds a pattern that is not finite."""
    if dtype not in _PATTERNS:
        return False
    import numpy as np

    width, mask, pattern = _PATTERNS[dtype]
    unsigned = np.dtype(f"<u{width}")
    masked = np.empty(PIECE_BYTES // width, dtype=unsigned)
    for piece in pieces:
        values = np.frombuffer(piece, dtype=unsigned)
        selected = np.bitwise_and(values, mask, out=masked[: len(values)])
        if (selected == pattern).any():
            return True
    return False
