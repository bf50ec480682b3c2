"""What the benchmark writes: the same content on our side and on the peers'.

All of it is made up and none of it varies, so that neither do the figures. Digests are keccak256 of
names: as many of their bytes are zero as of any other digest's.
"""

from __future__ import annotations

import json
from typing import Final

from ml.artifact import InclusionProof, Manifest, TensorEntry
from ml.artifact.keccak import keccak256

REASON: Final = "poisoning"
"""Of rollbacks, discards and all else of ours that takes a reason: 9 bytes."""
METADATA: Final = "x" * 300
LOG_METADATA: Final = "x" * 120

CLIENTS: Final = ("client_0", "client_1", "client_2", "client_3")
HYPERPARAMETERS: Final = json.dumps(
    {
        "model": "cnn",
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "batch_size": 10,
        "epochs": 5,
        "aggregation": "fedavg",
        "seed": 1,
    }
)
METRICS: Final = json.dumps(
    {
        "accuracy": 0.9213,
        "loss": 0.271,
        "precision": 0.9207,
        "recall": 0.921,
        "f1": 0.9204,
        "samples": 10000,
        "seconds": 4.2,
    }
)
"""121 bytes."""
STATED_REASON: Final = "Suspected model poisoning from client_3"
"""An example of the thesis's own, 39 bytes."""
TENSORS: Final = 407
"""Of the model of which one tensor is proved; the proof has nine siblings."""


def digest(name: str) -> bytes:
    """A digest as good as a real one."""
    return keccak256(name.encode())


def tensor_proof() -> InclusionProof:
    """That one tensor is in a model of 407, by the longest of its proofs."""
    manifest = Manifest(
        tuple(
            TensorEntry(f"layers.{n}.weight", "F32", (200, 784), digest(f"tensor {n}"), 627_200)
            for n in range(TENSORS)
        )
    )
    proofs = (manifest.proof(tensor.name) for tensor in manifest.tensors)
    return max(proofs, key=lambda proof: len(proof.siblings))
