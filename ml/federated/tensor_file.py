"""Arrays and a text as one safetensors file, in one form only.

Equal contents give equal bytes, and bytes of any other form are refused, so that a digest of the
file is a digest of what is in it. The text stands in the header's ``__metadata__`` under one key:
the library writes several in no certain order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from ml.artifact import strict_json
from ml.artifact.safetensors import MAX_HEADER_BYTES
from ml.artifact.strict_json import StrictJsonError
from ml.errors import ModelproofError

Arrays = Mapping[str, NDArray[np.generic]]
"""By their names."""

DTYPES: Final = ("F32", "I64", "U8")
"""What arrays may be of, as safetensors names them."""

_KEY: Final = "modelproof"
_METADATA: Final = "__metadata__"
_LENGTH_BYTES: Final = 8


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
    return bytes(safetensors.numpy.save(ordered, {_KEY: text}))


def load(data: bytes, what: str) -> Contents:
    """Read what `dump` wrote; ``what`` names the file in errors.

    Raises:
        MalformedTensors: the bytes are anything else.
    """
    try:
        text = _text(data)
        contents = Contents(dict(sorted(safetensors.numpy.load(data).items())), text)
    except (SafetensorError, StrictJsonError, ValueError) as error:
        raise MalformedTensors(
            f"{what} is not a safetensors file of this project: {error}"
        ) from None
    if dump(*contents) != data:
        raise MalformedTensors(f"{what} is not in the form in which it was written; get it again")
    return contents


def _text(data: bytes) -> str:
    """The text in a header of which nothing else is taken for granted but its arrays' dtypes."""
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if length > min(MAX_HEADER_BYTES, len(data) - _LENGTH_BYTES):
        raise StrictJsonError("its header does not end within it")
    header = strict_json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])
    if not isinstance(header, dict):
        raise StrictJsonError("its header is not an object")
    metadata = header.pop(_METADATA, None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_KEY), str):
        raise StrictJsonError(f"its header has no text {_KEY!r}")
    for name, described in header.items():
        dtype = described.get("dtype") if isinstance(described, dict) else None
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise StrictJsonError(f"its tensor {name[:100]!r} is of none of {', '.join(DTYPES)}")
    return str(metadata[_KEY])
