"""Small models whose tensors change in each of the ways that a delta writes differently."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ml.artifact import read_manifest
from ml.storage.version_store import KeptVersion
from tests.artifact.builders import file_bytes, write

Model = dict[str, tuple[str, list[int], bytes]]
COUNT = 3000


def base() -> Model:
    draw = np.random.default_rng(7)
    weights = draw.normal(size=COUNT).astype("<f4")
    return {
        "changed everywhere": ("F32", [COUNT], weights.tobytes()),
        "changed here and there": ("F32", [COUNT], weights[::-1].tobytes()),
        "unchanged": ("BF16", [2, 4], bytes(range(16))),
        "of another shape": ("F32", [2], bytes(8)),
        "empty": ("F16", [0, 3], b""),
        "one number": ("I64", [], bytes(8)),
        "gone": ("U8", [3], b"xyz"),
    }


def changed(model: Model, seed: int = 1) -> Model:
    draw = np.random.default_rng(seed)
    dense = np.frombuffer(model["changed everywhere"][2], "<f4")
    dense = dense * (1 + 1e-4 * draw.normal(size=COUNT).astype("<f4"))
    sparse = np.frombuffer(model["changed here and there"][2], "<f4").copy()
    sparse[draw.integers(COUNT, size=7)] *= 3
    return {
        "new": ("F64", [200], np.arange(200, dtype="<f8").tobytes()),
        "noise": ("U8", [64], draw.bytes(64)),
        "changed everywhere": ("F32", [COUNT], dense.astype("<f4").tobytes()),
        "changed here and there": ("F32", [COUNT], sparse.tobytes()),
        "unchanged": model["unchanged"],
        "of another shape": ("F32", [3], bytes(12)),
        "empty": ("F16", [0, 3], b""),
        "one number": ("I64", [], seed.to_bytes(8, "little")),
    }


def kept(folder: Path, model: Model, name: str) -> KeptVersion:
    path = write(folder, file_bytes(model, {"version": name}), f"{name}.safetensors")
    return KeptVersion(path, read_manifest(path))
