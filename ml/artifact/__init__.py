"""What a model is: reading its files strictly, its identity, proofs about it, and what differs.

Imports neither torch nor ape; torch state dicts import torch when they are used. A name of this
package imports its module when it is asked for: on a small model, starting is what takes time.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .differences import Difference, DifferenceKind, compare
    from .digests import DigestAlgorithm
    from .entries import FileEntry, TensorEntry, WeightsIdentity
    from .errors import (
        AmbiguousModel,
        ArtifactError,
        FileChanged,
        InvalidEntry,
        MalformedFile,
        MalformedManifest,
        MalformedProof,
        UnknownTensor,
        UnreadableFile,
        UnsafePickle,
        UnsupportedFormat,
        WeightsMismatch,
    )
    from .manifest import Manifest
    from .model import Model, open_model
    from .model_file import check_weights, load_verified, load_verified_file, read_manifest
    from .non_finite import find_non_finite
    from .proofs import InclusionProof, TensorsProof
    from .spans import Tensor
    from .state_dict import describe_state_dict, to_state_dict

__all__ = [
    "AmbiguousModel",
    "ArtifactError",
    "Difference",
    "DifferenceKind",
    "DigestAlgorithm",
    "FileChanged",
    "FileEntry",
    "InclusionProof",
    "InvalidEntry",
    "MalformedFile",
    "MalformedManifest",
    "MalformedProof",
    "Manifest",
    "Model",
    "Tensor",
    "TensorEntry",
    "TensorsProof",
    "UnknownTensor",
    "UnreadableFile",
    "UnsafePickle",
    "UnsupportedFormat",
    "WeightsIdentity",
    "WeightsMismatch",
    "check_weights",
    "compare",
    "describe_state_dict",
    "find_non_finite",
    "load_verified",
    "load_verified_file",
    "open_model",
    "read_manifest",
    "to_state_dict",
]

_MODULES = {
    "AmbiguousModel": "errors",
    "ArtifactError": "errors",
    "Difference": "differences",
    "DifferenceKind": "differences",
    "DigestAlgorithm": "digests",
    "FileChanged": "errors",
    "FileEntry": "entries",
    "InclusionProof": "proofs",
    "InvalidEntry": "errors",
    "MalformedFile": "errors",
    "MalformedManifest": "errors",
    "MalformedProof": "errors",
    "Manifest": "manifest",
    "Model": "model",
    "Tensor": "spans",
    "TensorEntry": "entries",
    "TensorsProof": "proofs",
    "UnknownTensor": "errors",
    "UnreadableFile": "errors",
    "UnsafePickle": "errors",
    "UnsupportedFormat": "errors",
    "WeightsIdentity": "entries",
    "WeightsMismatch": "errors",
    "check_weights": "model_file",
    "compare": "differences",
    "describe_state_dict": "state_dict",
    "find_non_finite": "non_finite",
    "load_verified": "model_file",
    "load_verified_file": "model_file",
    "open_model": "model",
    "read_manifest": "model_file",
    "to_state_dict": "state_dict",
}


def __getattr__(name: str) -> object:
    """Import what is asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value
