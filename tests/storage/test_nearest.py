"""What an unknown file resembles most."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.artifact import Manifest, read_manifest
from ml.storage.model_files import ModelFiles
from ml.storage.nearest import nearest
from tests.artifact.builders import SMALL, Tensors, file_bytes, write


def manifest_of(folder: Path, tensors: Tensors) -> Manifest:
    return read_manifest(write(folder, file_bytes(tensors)))


def keep(files: ModelFiles, folder: Path, version: int, tensors: Tensors) -> bytes:
    path = write(folder, file_bytes(tensors))
    manifest = read_manifest(path)
    files.keep("m", version, path, manifest)
    return manifest.weights


def changed(*names: str) -> Tensors:
    """SMALL with the first byte of some tensors changed."""
    return {
        name: (dtype, shape, bytes([data[0] ^ 1]) + data[1:] if name in names else data)
        for name, (dtype, shape, data) in SMALL.items()
    }


def test_nearest_is_the_version_that_differs_least(kept: ModelFiles, tmp_path: Path) -> None:
    far = keep(kept, tmp_path, 1, changed("fc.weight", "fc.bias"))
    near = keep(kept, tmp_path, 2, SMALL)
    farther = keep(kept, tmp_path, 3, changed("fc.weight", "fc.bias", "steps"))
    found = nearest(
        kept, manifest_of(tmp_path, changed("steps")), [far, near, farther], of_one_model=False
    )
    assert found is not None
    assert found.weights == near
    assert [difference.name for difference in found.differences] == ["steps"]


def test_later_version_is_the_nearer_of_two_as_near(kept: ModelFiles, tmp_path: Path) -> None:
    first = keep(kept, tmp_path, 1, changed("fc.weight"))
    second = keep(kept, tmp_path, 2, changed("fc.bias"))
    found = nearest(kept, manifest_of(tmp_path, SMALL), [first, second], of_one_model=False)
    assert found is not None
    assert found.weights == second


def test_version_whose_manifest_is_not_here_resembles_nothing(
    kept: ModelFiles, tmp_path: Path
) -> None:
    manifest = manifest_of(tmp_path, SMALL)
    assert nearest(kept, manifest, [bytes(32)], of_one_model=True) is None


def test_version_that_shares_no_tensor_resembles_nothing(kept: ModelFiles, tmp_path: Path) -> None:
    other = keep(kept, tmp_path, 1, changed(*SMALL))
    manifest = manifest_of(tmp_path, SMALL)
    assert nearest(kept, manifest, [other], of_one_model=True) is None


@pytest.mark.parametrize("of_one_model", [True, False])
def test_opaque_file_resembles_only_versions_of_its_own_model(
    kept: ModelFiles, tmp_path: Path, of_one_model: bool
) -> None:
    path = write(tmp_path, b"one", "m.joblib")
    known = read_manifest(path)
    kept.keep("m", 1, path, known)
    unknown = read_manifest(write(tmp_path, b"two", "m.joblib"))
    found = nearest(kept, unknown, [known.weights], of_one_model=of_one_model)
    assert (found is not None) is of_one_model


def test_opaque_file_does_not_resemble_tensors(kept: ModelFiles, tmp_path: Path) -> None:
    tensors = keep(kept, tmp_path, 1, SMALL)
    opaque = read_manifest(write(tmp_path, b"one", "m.joblib"))
    assert nearest(kept, opaque, [tensors], of_one_model=True) is None
