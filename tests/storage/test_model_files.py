"""A folder of models: where files go, what is found again, and what is not believed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from ml.artifact import read_manifest
from ml.errors import NotVerified
from ml.storage.model_files import ModelFiles, copy_verified, copy_with_digest, has_identity

from .conftest import flip_last_bit

WEIGHTS = bytes(range(32))
ROOT = Path("/srv/models")


# --- Names ----------------------------------------------------------------------------------------


@given(st.text(min_size=1, max_size=128))
@example("..")
@example(".")
@example("../../etc/cron.d/x")
@example("/etc/passwd")
@example("..\\..\\windows")
@example("a\0b")
@example("\x1b[31mred\n")
@example("\udcff")
@example("..../")
def test_no_name_of_a_model_leaves_the_root(name: str) -> None:
    artifact = ModelFiles(ROOT).place(name, 3, WEIGHTS, ".safetensors").artifact
    assert artifact.parent.parent == ROOT
    assert artifact.resolve() == artifact
    assert artifact.parent.name not in ("", ".", "..")


def test_name_says_model_version_and_weights() -> None:
    placed = ModelFiles(ROOT).place("mnist-cnn", 3, WEIGHTS, ".safetensors")
    assert placed.artifact == ROOT / "mnist-cnn" / "v3-00010203.safetensors"
    assert placed.manifest == ROOT / "mnist-cnn" / "v3-00010203.manifest.json"
    assert placed.metadata == ROOT / "mnist-cnn" / "v3-00010203.json"


@pytest.mark.parametrize("suffix", ["", ".json"])
def test_artifact_never_takes_the_place_of_its_metadata(suffix: str) -> None:
    placed = ModelFiles(ROOT).place("trees", 1, WEIGHTS, suffix)
    assert placed.artifact.name == "v1-00010203.bin"
    assert placed.artifact not in (placed.manifest, placed.metadata)


def test_versions_of_two_chains_models_of_one_name_do_not_meet(kept: ModelFiles) -> None:
    other = bytes(32)
    assert kept.place("m", 1, WEIGHTS, ".bin") != kept.place("m", 1, other, ".bin")


# --- Keeping and finding --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "forest.joblib", "boost.json", "weights"])
def test_kept_file_is_found_by_its_weights_whatever_its_suffix(
    kept: ModelFiles, source: Path, name: str
) -> None:
    source = source.rename(source.with_name(name))
    manifest = read_manifest(source)
    stored = kept.keep("m", 1, source, manifest)
    assert kept.find(manifest.weights) == stored
    assert stored.artifact.read_bytes() == source.read_bytes()
    assert kept.manifest(manifest.weights) == manifest


def test_folder_is_kept_as_its_archive(kept: ModelFiles, source: Path) -> None:
    folder = source.parent.rename(source.parent.with_name("v1.5"))
    (folder / "config.json").write_text("{}")
    manifest = read_manifest(folder)
    stored = kept.keep("m", 1, folder, manifest)
    assert stored.artifact.name == f"v1-{manifest.weights[:4].hex()}.tar"
    assert kept.find(manifest.weights) == stored
    assert has_identity(stored.artifact, manifest.weights)
    (folder / "config.json").write_text("[]")
    with pytest.raises(NotVerified, match="does not have the weights"):
        kept.keep("m", 1, folder, manifest)
    assert has_identity(stored.artifact, manifest.weights)


def test_entry_of_a_checkpoint_is_kept_alone(kept: ModelFiles, tmp_path: Path) -> None:
    """So that whoever reads it needs no key."""
    checkpoint = tmp_path / "checkpoint.pt"
    entries = {name: {"w": torch.full((3, 2), number).T} for number, name in enumerate("ab")}
    torch.save(entries, checkpoint)
    manifest = read_manifest(checkpoint, key="b")
    stored = kept.keep("m", 1, checkpoint, manifest, "b")
    assert stored.artifact.suffix == ".safetensors"
    assert read_manifest(stored.artifact) == manifest
    other = read_manifest(checkpoint, key="a")
    with pytest.raises(NotVerified, match="does not have the weights"):
        kept.keep("m", 1, checkpoint, other, "b")


def test_file_that_changed_since_its_manifest_was_made_is_not_kept(
    kept: ModelFiles, source: Path
) -> None:
    manifest = read_manifest(source)
    flip_last_bit(source)
    with pytest.raises(NotVerified, match="does not have the weights"):
        kept.keep("m", 1, source, manifest)
    assert kept.find(manifest.weights) is None
    assert kept.manifest(manifest.weights) is None


def test_file_that_is_in_its_place_already_is_kept_as_it_is(kept: ModelFiles, source: Path) -> None:
    manifest = read_manifest(source)
    stored = kept.keep("m", 1, source, manifest)
    assert kept.keep("m", 1, stored.artifact, manifest) == stored
    assert has_identity(stored.artifact, manifest.weights)


def test_damaged_copy_of_a_file_does_not_replace_a_good_one(kept: ModelFiles, source: Path) -> None:
    manifest = read_manifest(source)
    stored = kept.keep("m", 1, source, manifest)
    flip_last_bit(source)
    with pytest.raises(NotVerified):
        copy_verified(source, stored.artifact, manifest.weights)
    assert has_identity(stored.artifact, manifest.weights)


def test_file_of_the_version_is_found_before_another_with_the_same_weights(
    kept: ModelFiles, source: Path
) -> None:
    manifest = read_manifest(source)
    stored = {number: kept.keep("m", number, source, manifest) for number in (1, 2, 12)}
    for number, own in stored.items():
        assert kept.find(manifest.weights, number) == own
        assert set(kept.find_all(manifest.weights, number)) == set(stored.values())


def test_copy_with_another_digest_does_not_take_the_place_of_a_file(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"altered")
    target.write_bytes(b"right")
    with pytest.raises(NotVerified, match="does not have the SHA-256"):
        copy_with_digest(source, target, hashlib.sha256(b"right").digest())
    assert target.read_bytes() == b"right"


def test_nothing_is_found_where_there_is_no_folder(kept: ModelFiles) -> None:
    assert kept.find(WEIGHTS) is None
    assert kept.manifest(WEIGHTS) is None


@pytest.mark.parametrize(
    "name",
    [
        "v1-00010203.tampered.safetensors",
        ".v1-00010203.k3x9.safetensors",  # what a killed writer left
        "v1-00010203.json",
        "v1-00010203.manifest.json",
        "v1-000102031.safetensors",
        "vx-00010203.safetensors",
    ],
)
def test_file_of_another_name_is_not_taken_for_the_version(kept: ModelFiles, name: str) -> None:
    folder = kept.root / "m"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(b"something else")
    assert kept.find(WEIGHTS) is None


def test_folder_under_the_name_of_a_version_is_not_taken_for_it(kept: ModelFiles) -> None:
    (kept.root / "m" / "v1-00010203.safetensors").mkdir(parents=True)
    assert kept.find(WEIGHTS) is None


# --- Manifests ------------------------------------------------------------------------------------


def test_manifest_is_found_where_the_artifact_is_gone(kept: ModelFiles, source: Path) -> None:
    manifest = read_manifest(source)
    kept.keep("m", 1, source, manifest).artifact.unlink()
    assert kept.find(manifest.weights) is None
    assert kept.manifest(manifest.weights) == manifest


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"fc.bias"', '"fc.bios"'),
        lambda text: text[: len(text) // 2],
        lambda _: "",
        lambda _: "\0" * 100,
        lambda _: "[" * 100_000,
    ],
    ids=["changed", "truncated", "empty", "zeros", "nested"],
)
def test_damaged_manifest_is_not_believed(
    kept: ModelFiles, source: Path, damage: Callable[[str], str]
) -> None:
    manifest = read_manifest(source)
    stored = kept.keep("m", 1, source, manifest)
    stored.manifest.write_text(damage(stored.manifest.read_text()))
    assert kept.manifest(manifest.weights) is None


def test_manifest_of_other_weights_under_the_name_is_not_believed(
    kept: ModelFiles, source: Path
) -> None:
    manifest = read_manifest(source)
    stored = kept.keep("m", 1, source, manifest)
    flip_last_bit(source)
    stored.manifest.write_text(read_manifest(source).to_json())
    assert kept.manifest(manifest.weights) is None


def test_good_manifest_is_found_beside_a_damaged_one_of_another_model(
    kept: ModelFiles, source: Path
) -> None:
    manifest = read_manifest(source)
    kept.keep("a", 1, source, manifest).manifest.write_text("{}")
    kept.keep("b", 1, source, manifest)
    assert kept.manifest(manifest.weights) == manifest


def test_file_that_does_not_parse_has_no_identity(source: Path) -> None:
    weights = read_manifest(source).weights
    assert has_identity(source, weights)
    source.write_bytes(source.read_bytes()[:-1])
    assert not has_identity(source, weights)
