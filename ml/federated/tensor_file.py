"""Arrays and a text as one safetensors file, in one form only.

Equal contents give equal bytes, and bytes of any other form are refused, so that a digest of the
file is a digest of what is in it. The text stands in the header's ``__metadata__`` under one key:
the library writes several in no certain order.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.artifact import strict_json
from ml.artifact.dtypes import tensor_nbytes
from ml.artifact.errors import ArtifactError
from ml.artifact.safetensors import LENGTH_BYTES, MAX_HEADER_BYTES, METADATA_KEY, are_sizes
from ml.artifact.safetensors_writer import start_of
from ml.artifact.spans import TensorSpan
from ml.artifact.strict_json import StrictJsonError
from ml.errors import ModelproofError

Arrays = Mapping[str, NDArray[np.generic]]
"""By their names."""

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
    "U8": np.dtype("u1"),
}
"""What arrays may be of, as safetensors names them."""

_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}
_KEY: Final = "modelproof"


class MalformedTensors(ModelproofError):
    """The bytes are no safetensors file of the form that is written here."""


class Contents(NamedTuple):
    """What a file holds."""

    arrays: dict[str, NDArray[np.generic]]
    """In the order of their names."""
    text: str


def dump(arrays: Arrays, text: str) -> bytes:
    """Write arrays, each of one of `DTYPES`, and a text."""
    ordered = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    spans = [
        TensorSpan(name, _NAMES[array.dtype], array.shape, 0, 0, array.nbytes)
        for name, array in ordered.items()
    ]
    start, spans = start_of(spans, "the file", {_KEY: text})
    return b"".join([start, *(ordered[span.name].data for span in spans)])


def load(data: bytes, what: str) -> Contents:
    """Read what `dump` wrote; ``what`` names the file in errors.

    Returns:
        arrays that are views of ``data``, and cannot be written to

    Raises:
        MalformedTensors: the bytes are anything else.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    try:
        spans, text = _described(data)
        start, spans = start_of(spans, "the file", {_KEY: text})
        # a start that is as it was written says of every array where it lies
        if not data.startswith(start):
            raise MalformedTensors(
                f"{what} is not in the form in which it was written; get it again"
            )
        ends = list(accumulate((span.nbytes for span in spans), initial=len(start)))
        if ends[-1] != len(data):
            raise StrictJsonError(f"its tensors end at byte {ends[-1]}, and it at {len(data)}")
        for span, at in zip(spans, ends, strict=False):
            arrays[span.name] = np.ndarray(span.shape, DTYPES[span.dtype], data, at)
    except (ArtifactError, StrictJsonError, ValueError) as error:
        raise MalformedTensors(
            f"{what} is not a safetensors file of this project: {error}"
        ) from None
    return Contents(dict(sorted(arrays.items())), text)


def _described(data: bytes) -> tuple[list[TensorSpan], str]:
    """The arrays and the text that a header names, wherever it says that they lie."""
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    if length > min(MAX_HEADER_BYTES, len(data) - LENGTH_BYTES):
        raise StrictJsonError("its header does not end within it")
    header = strict_json.loads(data[LENGTH_BYTES : LENGTH_BYTES + length])
    if not isinstance(header, dict):
        raise StrictJsonError("its header is not an object")
    metadata = header.pop(METADATA_KEY, None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_KEY), str):
        raise StrictJsonError(f"its header has no text {_KEY!r}")
    return [_span(name, described) for name, described in header.items()], metadata[_KEY]


def _span(name: str, described: object) -> TensorSpan:
    fields = described if isinstance(described, dict) else {}
    dtype, shape = fields.get("dtype"), fields.get("shape")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise StrictJsonError(f"its tensor {name[:100]!r} is of none of {', '.join(DTYPES)}")
    if not isinstance(shape, list) or not are_sizes(shape):
        raise StrictJsonError(f"its tensor {name[:100]!r} has no shape")
    return TensorSpan(name, dtype, tuple(shape), 0, 0, tensor_nbytes(name, dtype, tuple(shape)))
