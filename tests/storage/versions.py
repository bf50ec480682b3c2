"""Small models that change in each way that a delta writes differently, and a history of such."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ml.artifact import read_manifest
from ml.storage.cid import Cid
from ml.storage.deltas import FORMAT
from ml.storage.encrypted import read_sidecar
from ml.storage.hot_versions import HotVersions
from ml.storage.keys import MasterKey
from ml.storage.local_store import LocalStore
from ml.storage.naming import Stored
from ml.storage.recorded import RecordedObject
from ml.storage.version_store import KeptVersion, VersionStore
from tests.artifact.builders import file_bytes, write

Model = dict[str, tuple[str, list[int], bytes]]
COUNT = 3000
KEY = MasterKey.generate()
EVERY = 3


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


@dataclass
class History:
    """Versions, a snapshot every three, and what a chain would say of them."""

    store: LocalStore
    hot: HotVersions
    versions: list[KeptVersion] = field(default_factory=list)
    named: list[tuple[bytes, Stored]] = field(default_factory=list)

    def opened(self, *keys: MasterKey) -> VersionStore:
        return VersionStore(self.store, self.store.sidecars, keys, self.locate, self.hot, EVERY)

    def locate(self, weights: bytes) -> Sequence[RecordedObject]:
        return [
            RecordedObject(stored.sha256, stored.cid.digest, f"v{number}")
            for number, (named, stored) in enumerate(self.named)
            if named == weights
        ]

    def put(self, version: KeptVersion, parent: KeptVersion | None) -> None:
        weights = parent.manifest.weights if parent else None
        at_hand = parent.path if parent else None
        sidecar = self.opened(KEY).put(version, [KEY], weights, at_hand)
        self.named.append((version.manifest.weights, sidecar.stored))
        self.versions.append(version)

    def weights(self, number: int) -> bytes:
        return self.versions[number].manifest.weights

    def cid(self, number: int) -> Cid:
        return self.named[number][1].cid

    def got(self, number: int, path: Path) -> bytes:
        self.opened(KEY).get(self.weights(number), path)
        return path.read_bytes()

    def kinds(self) -> str:
        """D for a delta, S for a snapshot."""
        formats = [
            read_sidecar(self.store.sidecars, stored.cid).payload.format for _, stored in self.named
        ]
        return "".join("D" if each == FORMAT else "S" for each in formats)
