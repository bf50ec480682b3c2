"""Torch state dicts: the identity of one in memory, and one made of verified bytes.

Torch is imported when it is needed, since identities of files need none.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from .digests import DigestAlgorithm
from .dtypes import PAIRED, TORCH_DTYPES, tensor_nbytes
from .entries import TensorEntry
from .errors import ArtifactError, InvalidEntry, quoted
from .file_reader import digest_pieces
from .manifest import Manifest
from .spans import Tensor

if TYPE_CHECKING:
    import torch

_TORCH_NAMES: Final = {name: torch_name for torch_name, name in TORCH_DTYPES.items()}


def describe_state_dict(
    state_dict: Mapping[str, torch.Tensor], algorithm: DigestAlgorithm = DigestAlgorithm.BLAKE3
) -> Manifest:
    """Compute the identity that a safetensors file saved from this state dict has.

    Tensors may be on any device, non-contiguous, or share memory (each name counts); one that is
    neither contiguous nor on the CPU is copied, one at a time.

    Raises:
        ArtifactError: an entry is not a dense tensor with data, or of a dtype that safetensors
            does not have.
    """
    entries = []
    for name, value in state_dict.items():
        dtype, shape, data = _contents(name, value)
        digest = digest_pieces([data], algorithm)
        entries.append(TensorEntry(name, dtype, shape, digest, tensor_nbytes(name, dtype, shape)))
    return Manifest(tuple(entries), digest_algorithm=algorithm)


def to_state_dict(tensors: Mapping[str, Tensor]) -> dict[str, torch.Tensor]:
    """Turn loaded tensors into torch tensors over the same memory, without a copy.

    Raises:
        ArtifactError: this torch cannot hold a tensor's dtype, or 4-bit floats of its shape.
    """
    import torch

    _require_little_endian()
    state_dict = {}
    for name, tensor in tensors.items():
        dtype = getattr(torch, _TORCH_NAMES.get(tensor.dtype, ""), None)
        if dtype is None:
            raise ArtifactError(
                f"tensor {quoted(name)} has dtype {tensor.dtype}, which torch {torch.__version__}"
                " does not have; use a newer torch or convert the tensor"
            )
        shape = list(tensor.shape)
        if tensor.dtype == PAIRED:
            if not shape or shape[-1] % 2:
                raise ArtifactError(
                    f"tensor {quoted(name)} has rows of an odd number of 4-bit floats, which torch"
                    " cannot hold; convert the tensor"
                )
            shape[-1] //= 2
        # frombuffer takes no empty buffer, and an empty tensor has no memory to share.
        flat = torch.frombuffer(tensor.data, dtype=dtype) if tensor.data else None
        state_dict[name] = torch.empty(shape, dtype=dtype) if flat is None else flat.reshape(shape)
    return state_dict


def _contents(name: str, value: torch.Tensor) -> tuple[str, tuple[int, ...], memoryview]:
    """Return a tensor's safetensors dtype, its shape, and its contiguous little-endian bytes."""
    import torch

    _require_little_endian()
    if not isinstance(name, str):
        raise InvalidEntry(f"the state dict has the key {quoted(name)}, which is not text")
    if not isinstance(value, torch.Tensor):
        raise ArtifactError(
            f"state dict entry {quoted(name)} is of type {type(value).__name__}, not a tensor;"
            " leave it out or store it beside the model"
        )
    if value.layout != torch.strided or value.is_nested or value.is_quantized or value.is_meta:
        raise ArtifactError(
            f"tensor {quoted(name)} is sparse, nested, quantized or without data;"
            " make it a dense tensor first"
        )
    torch_name = str(value.dtype).removeprefix("torch.")
    dtype = TORCH_DTYPES.get(torch_name)
    if dtype is None:
        raise ArtifactError(
            f"tensor {quoted(name)} has dtype {torch_name}, which safetensors does not have;"
            " convert it first"
        )
    shape = list(value.shape)
    if dtype == PAIRED:
        if not shape:
            raise ArtifactError(f"tensor {quoted(name)} has 4-bit floats but no dimension")
        shape[-1] *= 2
    dense = value.detach().resolve_conj().resolve_neg().cpu().contiguous()
    # Not ``reshape``: a contiguous tensor of one element may keep any stride, which view refuses.
    flat = dense.as_strided((dense.numel(),), (1,))
    return dtype, tuple(shape), flat.view(torch.uint8).numpy().data


def _require_little_endian() -> None:
    if sys.byteorder != "little":
        raise ArtifactError(
            "torch tensors are identified on little-endian machines only;"
            " save them with safetensors and identify the file"
        )
