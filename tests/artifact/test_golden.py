"""Files and identities that must verify for ever.

A failure here is a promise broken to everyone who registered a model: mend the code, never the
record.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ml.artifact import (
    DigestAlgorithm,
    Manifest,
    TensorsProof,
    load_verified,
    load_verified_file,
    read_manifest,
)
from ml.artifact.folder_archive import pack
from ml.artifact.model_signing import verify_model

GOLDEN = Path(__file__).parents[1] / "golden" / "weights_v1"
SIGNED = GOLDEN.parent / "model_signing_1_1_1"
RECORD: dict[str, Any] = json.loads((GOLDEN / "identities.json").read_text())


@pytest.mark.parametrize("algorithm", DigestAlgorithm)
@pytest.mark.parametrize(
    "name", ["model.safetensors", "model.pt", "folder/model.safetensors.index.json"]
)
def test_tensors_keep_their_identity(name: str, algorithm: DigestAlgorithm) -> None:
    manifest = read_manifest(GOLDEN / name, algorithm)
    recorded = RECORD["model.safetensors"][algorithm.name]
    assert "0x" + manifest.tree_root.hex() == recorded["tree_root"]
    assert "0x" + manifest.weights.hex() == recorded["weights"]


def test_tensors_still_load() -> None:
    weights = bytes.fromhex(RECORD["model.safetensors"]["BLAKE3"]["weights"][2:])
    loaded = load_verified(GOLDEN / "model.safetensors", weights)
    assert {name: (t.dtype, list(t.shape)) for name, t in loaded.items()} == {
        "conv.weight": ("BF16", [2, 1, 2, 2]),
        "fc.bias": ("F32", [3]),
        "fc.weight": ("F32", [3, 2]),
        "mask": ("BOOL", [4]),
        "steps": ("I64", []),
        "unused": ("F16", [0, 5]),
    }


def test_folder_keeps_its_identity() -> None:
    manifest = read_manifest(GOLDEN / "folder")
    assert "0x" + manifest.files_root.hex() == RECORD["folder"]["files_root"]
    assert "0x" + manifest.weights.hex() == RECORD["folder"]["weights"]


def test_archive_keeps_the_identity_of_its_folder_and_its_bytes(tmp_path: Path) -> None:
    archive = GOLDEN / "folder.tar"
    assert "0x" + read_manifest(archive).weights.hex() == RECORD["folder"]["weights"]
    pack(GOLDEN / "folder", tmp_path / "folder.tar")
    assert (tmp_path / "folder.tar").read_bytes() == archive.read_bytes()


def test_proof_still_holds() -> None:
    proof = TensorsProof.from_json((GOLDEN / "folder.proof.json").read_text())
    assert [tensor.name for tensor in proof.tensors] == ["mask", "steps", "fc.bias"]
    assert proof.verify(bytes.fromhex(RECORD["folder"]["weights"][2:]))


def test_opaque_file_keeps_its_identity() -> None:
    weights = bytes.fromhex(RECORD["model.joblib"]["weights"][2:])
    assert read_manifest(GOLDEN / "model.joblib").weights == weights
    assert load_verified_file(GOLDEN / "model.joblib", weights)


@pytest.mark.parametrize("name", ["model.safetensors", "model.joblib", "folder"])
def test_manifest_is_still_read_and_written_alike(name: str) -> None:
    text = (GOLDEN / f"{name}.manifest.json").read_text()
    manifest = Manifest.from_json(text)
    assert manifest == read_manifest(GOLDEN / name)
    assert manifest.to_json() == text
    assert manifest.ignored == read_manifest(GOLDEN / name).ignored


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("files-sha256.sig", 4),
        ("files-blake2b.sig", 4),
        ("files-blake3.sig", 4),
        ("shards-sha256.sig", 3),
        ("ignoring.sig", 2),
    ],
)
def test_bundle_of_the_model_signing_library_still_verifies(name: str, files: int) -> None:
    verdict = verify_model(SIGNED / "model", SIGNED / name, SIGNED / "public.pem")
    assert verdict.differences == []
    assert len({resource.path for resource in verdict.statement.resources}) == files
