"""A trained model on disk: its file, and its metadata beside it."""

from __future__ import annotations

from pathlib import Path

from ml import files
from ml.artifact import load_verified, load_verified_file, to_state_dict
from ml.errors import ModelproofError

from .architectures import Architecture, ArchitectureName
from .classifiers import Classifier
from .metadata import metadata_path
from .train import TrainedModel


def save(model: TrainedModel, path: Path) -> Path:
    """Write a model and its metadata, each file whole or not at all; missing folders are made.

    The metadata is written last and names the model's identity, so a crash in between leaves a
    model without metadata, or with some that says that it belongs to another.

    Args:
        model: what to write.
        path: of the model's file; its suffix must be ``.safetensors`` for a torch model and
            ``.joblib`` for one of scikit-learn.

    Returns:
        The path of the metadata.

    Raises:
        ModelproofError: another suffix, or the files cannot be written.
    """
    suffix = model.classifier.suffix
    if path.suffix != suffix:
        raise ModelproofError(
            f"a {model.metadata.recipe} model is saved as {suffix}, not as {path}"
        )
    metadata = metadata_path(path)
    try:
        files.write_bytes(path, model.classifier.serialize())
        files.write_text(metadata, model.metadata.to_json())
    except OSError as error:
        raise ModelproofError(
            f"the model cannot be written to {path} ({error.strerror or error});"
            " choose another place"
        ) from None
    return metadata


def load(path: Path, weights: bytes, architecture: Architecture) -> Classifier:
    """Load a model whose bytes have the identity ``weights``; nothing is loaded before that.

    Args:
        path: the model's file.
        weights: the identity that it must have, 32 bytes.
        architecture: what it looks like, from its metadata.

    Raises:
        NotVerified: the file has another identity.
        ModelproofError: the file cannot be read, or is not a model of this architecture.
    """
    if architecture.name is ArchitectureName.SKLEARN:
        data = load_verified_file(path, weights)
        from .sklearn_model import restore_sklearn

        return restore_sklearn(architecture, data)
    tensors = load_verified(path, weights)
    from .torch_model import restore_torch

    return restore_torch(architecture, to_state_dict(tensors))
