"""How good a model is on a part of a data set: the same figures on every machine that counts."""

from __future__ import annotations

from ml.federated.aggregation import Weights
from ml.federated.parts import Part
from ml.training.architectures import Architecture
from ml.training.classifiers import evaluate
from ml.training.metrics import Metrics


def measure(architecture: Architecture, tensors: Weights, part: Part) -> Metrics:
    """Measure a model, by one thread.

    Args:
        architecture: the model's.
        tensors: its weights, float32.
        part: what to measure on.

    Raises:
        ModelproofError: the tensors, or the samples, are not the architecture's, or the model's
            outputs are NaN.
    """
    import torch

    from ml.training.torch_model import restore_torch

    # copied, since what was read may share memory that torch must not write to
    weights = {name: torch.tensor(tensor) for name, tensor in tensors.items()}
    classifier = restore_torch(architecture, weights)
    return evaluate(classifier, part.inputs, part.labels, part.class_names)
