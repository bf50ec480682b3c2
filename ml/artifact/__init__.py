"""What a model is: reading its file strictly, its identity, proofs about it, and what differs.

Imports neither torch nor ape; torch state dicts import torch when they are used.
"""

from .compare import Difference, DifferenceKind, compare
from .digests import DigestAlgorithm
from .entries import FileEntry, TensorEntry, WeightsIdentity
from .errors import (
    AmbiguousModel,
    ArtifactError,
    FileChanged,
    InvalidEntry,
    MalformedFile,
    MalformedManifest,
    UnknownTensor,
    UnreadableFile,
    UnsafePickle,
    UnsupportedFormat,
    WeightsMismatch,
)
from .manifest import InclusionProof, Manifest
from .model import Model, open_model
from .model_file import check_weights, load_verified, load_verified_file, read_manifest
from .non_finite import find_non_finite
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
    "Manifest",
    "Model",
    "Tensor",
    "TensorEntry",
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
