"""What a rule remembers, as a file that belongs to the version it made.

A safetensors file (`tensor_file`) with a tensor ``<moment>/<tensor>`` for each, and the rule that
it is the memory of: another rule, or other parameters, would make something else of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ml.errors import ModelproofError
from ml.training import canonical

from . import tensor_file
from .aggregation import ServerState
from .robust import AnyRule

FILE_NAME: Final = "server_state.safetensors"
"""Beside the version's weights."""
_SEPARATOR: Final = "/"


@dataclass(frozen=True, slots=True)
class _Description:
    """What a state's file says of itself."""

    rule: Annotated[AnyRule, Field(discriminator="name")]
    format: Literal["modelproof.server-state.v1"] = "modelproof.server-state.v1"


def dump(state: ServerState, rule: AnyRule) -> bytes:
    """Write a rule's state; equal ones give equal bytes."""
    arrays = {
        f"{moment}{_SEPARATOR}{name}": tensor
        for moment, tensors in state.moments.items()
        for name, tensor in tensors.items()
    }
    return tensor_file.dump(arrays, canonical.dump(_Description(rule)))


def load(data: bytes, rule: AnyRule, what: str) -> ServerState:
    """Read what `dump` wrote; ``what`` names the file in errors.

    Raises:
        ModelproofError: the bytes are anything else, or the state is another rule's.
    """
    arrays, text = tensor_file.load(data, what)
    description = canonical.load(_Description, text.encode(), f"the description in {what}")
    if description.rule != rule:
        raise ModelproofError(
            f"{what} is the state of {description.rule}, and the rule now is {rule}: go on with the"
            " one that made the version"
        )
    moments: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, array in arrays.items():
        moment, separator, tensor = name.partition(_SEPARATOR)
        if not separator or array.dtype != np.float32:
            raise ModelproofError(f"{what} has a tensor {name!r}, which belongs to no rule's state")
        moments.setdefault(moment, {})[tensor] = cast("NDArray[np.float32]", array)
    return ServerState(moments)
