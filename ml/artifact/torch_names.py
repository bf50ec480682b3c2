"""What the pickle in a torch checkpoint may name, and what each name stands for here.

The names are those that state dicts need out of the ones that ``torch.load(weights_only=True)``
allows; each stands for a function of this module that makes a plain value. Torch's own functions
are never looked up. Source: ``torch/_weights_only_unpickler.py`` and ``torch/_utils.py`` of torch
2.13.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from .dtypes import MAX_DIMENSIONS, TORCH_DTYPES


class PickleError(ValueError):
    """The bytes are not a pickle of values and tensors; the message is a clause."""


class Dtype(str):
    """The name of a torch dtype, as ``bfloat16``."""

    __slots__ = ()


class Storage(NamedTuple):
    """The bytes that tensors are views of: the member ``data/<key>`` of the archive."""

    key: str
    dtype: Dtype | None
    """None if it is known by its tensors alone."""
    elements: int
    """Bytes, if the dtype is None."""


class StoredTensor(NamedTuple):
    """A tensor as it is pickled: a view of a storage; offset and stride count elements."""

    storage: Storage
    dtype: Dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    is_lazy: bool
    """Whether its elements are still to be negated or conjugated."""


class Unreadable(NamedTuple):
    """A tensor of a kind that has no contiguous bytes, as a sparse one."""

    kind: str


class Inert(NamedTuple):
    """Something that state dicts mention and that says nothing about weights, as a device."""

    what: str


class StorageType(NamedTuple):
    """A kind of storage."""

    dtype: Dtype | None


class _Type(NamedTuple):
    """A type that is named, and of which nothing is made."""

    name: str


Function = Callable[[tuple[object, ...]], object]
"""Makes a value from the arguments that a pickle gives."""


def size(value: object) -> int:
    """Check a number of elements or bytes."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise PickleError("its pickle has a size that is none")
    return value


def _sizes(value: object) -> tuple[int, ...]:
    if type(value) is not tuple or len(value) > MAX_DIMENSIONS:
        raise PickleError(f"its pickle has a shape that is not of up to {MAX_DIMENSIONS} sizes")
    return tuple(map(size, value))


def _arguments(arguments: tuple[object, ...], least: int, most: int) -> list[object]:
    """The arguments, those left out as None."""
    if not least <= len(arguments) <= most:
        raise PickleError("its pickle rebuilds something from the wrong parts")
    return [*arguments, *[None] * (most - len(arguments))]


def _rebuild_tensor_v2(arguments: tuple[object, ...]) -> object:
    storage, offset, shape, strides, _, _, metadata = _arguments(arguments, 4, 7)
    if not isinstance(storage, Storage) or storage.dtype is None:
        raise PickleError("its pickle has a tensor without a dtype")
    return _tensor(storage, storage.dtype, offset, shape, strides, metadata)


def _rebuild_tensor_v3(arguments: tuple[object, ...]) -> object:
    storage, offset, shape, strides, _, _, dtype, metadata = _arguments(arguments, 7, 8)
    if not isinstance(storage, Storage) or storage.dtype is not None or type(dtype) is not Dtype:
        raise PickleError("its pickle has a tensor without a dtype")
    return _tensor(storage, dtype, offset, shape, strides, metadata)


def _tensor(
    storage: Storage, dtype: Dtype, offset: object, shape: object, strides: object, metadata: object
) -> StoredTensor:
    sizes, steps = _sizes(shape), _sizes(strides)
    if len(sizes) != len(steps):
        raise PickleError("its pickle has a tensor with more sizes than strides, or fewer")
    flags = {} if metadata is None else metadata
    if type(flags) is not dict or not flags.keys() <= {"conj", "neg"}:
        raise PickleError("its pickle has a tensor with metadata that is not known")
    is_lazy = any(value is not False for value in flags.values())
    return StoredTensor(storage, dtype, size(offset), sizes, steps, is_lazy)


def _rebuild_parameter(arguments: tuple[object, ...]) -> object:
    tensor = _arguments(arguments, 1, 4)[0]
    if not isinstance(tensor, StoredTensor | Unreadable):
        raise PickleError("its pickle has a parameter that is no tensor")
    return tensor


def _rebuild_from_type(arguments: tuple[object, ...]) -> object:
    """A tensor to which attributes were given, which are left out."""
    function, kind, parts, _ = _arguments(arguments, 4, 4)
    if not isinstance(kind, _Type) or type(parts) is not tuple or function not in _TENSOR_MAKERS:
        raise PickleError("its pickle has a tensor of a kind that is not known")
    return function(parts)


def _unreadable(kind: str) -> Function:
    return lambda _: Unreadable(kind)


def _inert(what: str) -> Function:
    return lambda _: Inert(what)


def _dict(arguments: tuple[object, ...]) -> object:
    """An OrderedDict, or a Counter with what it is made of; what follows may fill it."""
    (content,) = _arguments(arguments, 0, 1)
    return {} if content is None else content


def _content(arguments: tuple[object, ...]) -> object:
    """A set, as the list that it is made from."""
    return _arguments(arguments, 1, 1)[0]


def _shape(arguments: tuple[object, ...]) -> object:
    return _sizes(_arguments(arguments, 1, 1)[0])


_STORAGES: Final = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
}

_TENSOR_MAKERS: Final[tuple[Function, ...]] = (_rebuild_tensor_v2, _rebuild_tensor_v3)

NAMES: Final[dict[tuple[str, str], object]] = {
    ("collections", "OrderedDict"): _dict,
    ("collections", "Counter"): _dict,
    ("__builtin__", "set"): _content,
    ("builtins", "set"): _content,
    ("_codecs", "encode"): _inert("bytes"),  # as protocol 2 writes them
    ("torch", "Size"): _shape,
    ("torch", "device"): _inert("device"),
    ("torch", "Tensor"): _Type("Tensor"),
    ("torch.nn.parameter", "Parameter"): _Type("Parameter"),
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor_v2,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
    ("torch._utils", "_rebuild_sparse_tensor"): _unreadable("sparse"),
    ("torch._utils", "_rebuild_nested_tensor"): _unreadable("nested"),
    ("torch._utils", "_rebuild_qtensor"): _unreadable("quantized"),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _unreadable("without data"),
    ("torch.serialization", "_get_layout"): _inert("layout"),
    ("torch", "per_tensor_affine"): Inert("quantization"),
    ("torch", "per_channel_affine"): Inert("quantization"),
    ("torch", "QInt8Storage"): StorageType(Dtype("qint8")),
    ("torch", "QUInt8Storage"): StorageType(Dtype("quint8")),
    ("torch", "QInt32Storage"): StorageType(Dtype("qint32")),
    ("torch.storage", "UntypedStorage"): StorageType(None),
    **{("torch", name): StorageType(Dtype(dtype)) for name, dtype in _STORAGES.items()},
    **{("torch", dtype): Dtype(dtype) for dtype in (*TORCH_DTYPES, "complex128", "complex32")},
}
"""By module and name: a `Function`, or a value that needs no making."""
