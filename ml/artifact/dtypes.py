"""The element types of safetensors, and how many bytes a tensor of them has."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from .errors import InvalidEntry, quoted

# Source: safetensors 0.8, enum Dtype in tensor.rs, with its bitsize().
DTYPE_BITS: Final[dict[str, int]] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}

# By name, since a dtype may be absent from an older torch. As safetensors.torch writes them.
TORCH_DTYPES: Final = {
    "bool": "BOOL",
    "float4_e2m1fn_x2": "F4",
    "uint8": "U8",
    "int8": "I8",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e8m0fnu": "F8_E8M0",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "int16": "I16",
    "uint16": "U16",
    "float16": "F16",
    "bfloat16": "BF16",
    "int32": "I32",
    "uint32": "U32",
    "float32": "F32",
    "complex64": "C64",
    "float64": "F64",
    "int64": "I64",
    "uint64": "U64",
}
"""The dtypes that torch and safetensors share: torch's name to the other's."""

PAIRED: Final = "F4"
"""Torch counts pairs of 4-bit floats along the last dimension, safetensors the floats."""

MAX_DIMENSIONS: Final = 64
"""What PyTorch and NumPy can handle; a bound that a hostile header runs into early."""

MAX_DIMENSION: Final = 2**63 - 1
_MAX_UINT64: Final = 2**64 - 1


def tensor_nbytes(name: str, dtype: str, shape: tuple[int, ...]) -> int:
    """Return the size in bytes of a contiguous tensor.

    Raises:
        InvalidEntry: the dtype is unknown, a dimension is negative or too large, or the elements
            do not fill whole bytes.
    """
    try:
        return _nbytes(dtype, shape)
    except _Impossible as error:
        raise InvalidEntry(f"tensor {quoted(name)} {error}") from None


class _Impossible(Exception):
    """No tensor is like this; the message is a clause about one."""


@lru_cache(maxsize=4096)  # a model has many tensors of few shapes
def _nbytes(dtype: str, shape: tuple[int, ...]) -> int:
    element_bits = DTYPE_BITS.get(dtype)
    if element_bits is None:
        raise _Impossible(
            f"has the unknown dtype {quoted(dtype)}; known are {', '.join(DTYPE_BITS)}"
        )
    if len(shape) > MAX_DIMENSIONS:
        raise _Impossible(f"has {len(shape)} dimensions, more than {MAX_DIMENSIONS}")
    elements = 1
    for dimension in shape:
        if not 0 <= dimension <= MAX_DIMENSION:
            raise _Impossible("has a dimension outside 0 … 2**63 - 1")
        elements *= dimension
        # As in the reference reader, whose product has 64 bits, a later zero is no excuse.
        if elements > _MAX_UINT64:
            raise _Impossible("has a shape of more than 2**64 elements")
    bits = elements * element_bits
    if bits > _MAX_UINT64:
        raise _Impossible("has a shape of more than 2**64 bits")
    if bits % 8:
        raise _Impossible(f"of dtype {dtype} does not fill whole bytes")
    return bits // 8
