"""Backing up and restoring: every file is verified on its way, and damage is named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ml.artifact import DigestAlgorithm, read_manifest
from ml.storage.backup import CopiedVersion, Outcome, RecordedVersion, copy_versions
from ml.storage.model_files import ModelFiles, StoredVersion, has_identity

from .conftest import flip_last_bit


@dataclass
class Version:
    """Version 1 of the model m, in its place."""

    stored: StoredVersion
    recorded: RecordedVersion

    @property
    def weights(self) -> bytes:
        return self.recorded.weights


def keep(kept: ModelFiles, number: int, source: Path, metadata: str) -> Version:
    """Keep a file as a version of m that states its metadata."""
    manifest = read_manifest(source)
    stored = kept.keep("m", number, source, manifest)
    stored.metadata.write_text(metadata)
    digest = hashlib.sha256(metadata.encode()).digest()
    return Version(stored, RecordedVersion(number, manifest.weights, digest))


@pytest.fixture
def version(kept: ModelFiles, source: Path) -> Version:
    return keep(kept, 1, source, '{"how": "it came about"}')


@pytest.fixture
def backup(tmp_path: Path) -> ModelFiles:
    return ModelFiles(tmp_path / "backups")


def copy(source: ModelFiles, target: ModelFiles, version: Version) -> CopiedVersion:
    (copied,) = copy_versions(source, target, "m", [version.recorded])
    return copied


def test_backup_has_the_artifact_its_manifest_and_its_metadata(
    kept: ModelFiles, backup: ModelFiles, version: Version
) -> None:
    copied = copy(kept, backup, version)
    there = backup.find(version.weights)
    assert there is not None
    assert copied == CopiedVersion(1, Outcome.COPIED, there.artifact)
    for original, copy_of_it in (
        (version.stored.artifact, there.artifact),
        (version.stored.manifest, there.manifest),
        (version.stored.metadata, there.metadata),
    ):
        assert copy_of_it.read_bytes() == original.read_bytes()


def test_identity_by_sha256_is_copied_with_its_manifest(
    kept: ModelFiles, backup: ModelFiles, source: Path
) -> None:
    manifest = read_manifest(source, DigestAlgorithm.SHA256)
    kept.keep("m", 1, source, manifest)
    recorded = RecordedVersion(1, manifest.weights, None)
    for outcome in (Outcome.COPIED, Outcome.PRESENT):
        (copied,) = copy_versions(kept, backup, "m", [recorded])
        assert copied.outcome is outcome
        assert backup.manifest(manifest.weights) == manifest
        assert copied.path is not None
        StoredVersion(copied.path).manifest.unlink()  # and made again


def test_file_that_is_there_already_is_left_alone(
    kept: ModelFiles, backup: ModelFiles, version: Version
) -> None:
    first = copy(kept, backup, version)
    assert first.path is not None
    written = first.path.stat().st_mtime_ns
    assert copy(kept, backup, version) == CopiedVersion(1, Outcome.PRESENT, first.path)
    assert first.path.stat().st_mtime_ns == written


def test_damaged_file_is_named_and_not_copied(
    kept: ModelFiles, backup: ModelFiles, version: Version
) -> None:
    flip_last_bit(version.stored.artifact)
    assert copy(kept, backup, version) == CopiedVersion(1, Outcome.DAMAGED, version.stored.artifact)
    assert backup.find(version.weights) is None


def test_missing_file_is_said_to_be_missing(
    kept: ModelFiles, backup: ModelFiles, version: Version
) -> None:
    version.stored.artifact.unlink()
    assert copy(kept, backup, version) == CopiedVersion(1, Outcome.MISSING, None)


def test_one_damaged_file_does_not_keep_the_others_from_being_copied(
    kept: ModelFiles, backup: ModelFiles, version: Version, source: Path
) -> None:
    flip_last_bit(source)
    second = keep(kept, 2, source, "{}")
    flip_last_bit(version.stored.artifact)
    absent = RecordedVersion(3, bytes(32), None)
    copied = copy_versions(kept, backup, "m", [version.recorded, second.recorded, absent])
    assert [one.outcome for one in copied] == [Outcome.DAMAGED, Outcome.COPIED, Outcome.MISSING]


def test_restoring_puts_a_lost_file_back(
    kept: ModelFiles, backup: ModelFiles, version: Version
) -> None:
    copy(kept, backup, version)
    version.stored.artifact.unlink()
    assert copy(backup, kept, version).outcome is Outcome.COPIED
    assert has_identity(version.stored.artifact, version.weights)


def test_restoring_replaces_a_damaged_file(
    kept: ModelFiles, backup: ModelFiles, version: Version
) -> None:
    copy(kept, backup, version)
    flip_last_bit(version.stored.artifact)
    assert copy(backup, kept, version).outcome is Outcome.COPIED
    assert has_identity(version.stored.artifact, version.weights)


def test_damaged_backup_does_not_replace_even_a_damaged_file(
    kept: ModelFiles, backup: ModelFiles, version: Version
) -> None:
    copied = copy(kept, backup, version)
    assert copied.path is not None
    copied.path.write_bytes(b"worse")
    flip_last_bit(version.stored.artifact)
    damaged = version.stored.artifact.read_bytes()
    assert copy(backup, kept, version).outcome is Outcome.DAMAGED
    assert version.stored.artifact.read_bytes() == damaged


def test_damaged_manifest_is_made_again_and_not_copied(
    kept: ModelFiles, backup: ModelFiles, version: Version
) -> None:
    version.stored.manifest.write_text("{}")
    copy(kept, backup, version)
    assert backup.manifest(version.weights) == read_manifest(version.stored.artifact)


def test_good_copy_under_another_model_serves_where_this_models_is_damaged(
    kept: ModelFiles, backup: ModelFiles, version: Version, source: Path
) -> None:
    fork = kept.keep("z-fork", 1, source, read_manifest(source))
    fork.metadata.write_bytes(version.stored.metadata.read_bytes())
    flip_last_bit(version.stored.artifact)
    copied = copy(kept, backup, version)
    assert copied.outcome is Outcome.COPIED
    assert copied.path is not None
    assert has_identity(copied.path, version.weights)


# --- Metadata -------------------------------------------------------------------------------------


def test_damaged_metadata_is_named_and_nothing_is_copied(
    kept: ModelFiles, backup: ModelFiles, version: Version
) -> None:
    flip_last_bit(version.stored.metadata)
    assert copy(kept, backup, version) == CopiedVersion(1, Outcome.DAMAGED, version.stored.metadata)
    assert not backup.root.exists()


def test_missing_metadata_is_said_to_be_missing(
    kept: ModelFiles, backup: ModelFiles, version: Version
) -> None:
    version.stored.metadata.unlink()
    assert copy(kept, backup, version) == CopiedVersion(1, Outcome.MISSING, version.stored.metadata)
    assert not backup.root.exists()


@pytest.mark.parametrize("damage", [flip_last_bit, Path.unlink], ids=["flipped", "gone"])
def test_restoring_puts_metadata_right_beside_a_good_artifact(
    kept: ModelFiles, backup: ModelFiles, version: Version, damage: Callable[[Path], None]
) -> None:
    copy(kept, backup, version)
    right = version.stored.metadata.read_bytes()
    damage(version.stored.metadata)
    assert copy(backup, kept, version).outcome is Outcome.COPIED
    assert version.stored.metadata.read_bytes() == right


def test_version_trained_elsewhere_is_copied_without_metadata(
    kept: ModelFiles, backup: ModelFiles, version: Version
) -> None:
    elsewhere = Version(version.stored, RecordedVersion(1, version.weights, None))
    copied = copy(kept, backup, elsewhere)
    there = backup.find(version.weights)
    assert there is not None
    assert copied == CopiedVersion(1, Outcome.COPIED, there.artifact)
    assert not there.metadata.exists()  # nothing says what it would have to be
    assert copy(kept, backup, elsewhere).outcome is Outcome.PRESENT


# --- Two versions with the same weights -----------------------------------------------------------


@pytest.fixture
def twin(kept: ModelFiles, version: Version, source: Path) -> Version:
    """Version 2, with the weights of version 1."""
    return keep(kept, 2, source, '{"how": "again"}')


def test_versions_with_the_same_weights_each_get_their_own_files(
    kept: ModelFiles, backup: ModelFiles, version: Version, twin: Version
) -> None:
    copied = copy_versions(kept, backup, "m", [version.recorded, twin.recorded])
    assert [one.outcome for one in copied] == [Outcome.COPIED, Outcome.COPIED]
    for original in (version.stored, twin.stored):
        there = StoredVersion(backup.root / "m" / original.artifact.name)
        assert there.artifact.read_bytes() == original.artifact.read_bytes()
        assert there.metadata.read_bytes() == original.metadata.read_bytes()


def test_version_without_files_is_missing_though_another_has_its_weights(
    kept: ModelFiles, backup: ModelFiles, version: Version, twin: Version
) -> None:
    for path in (twin.stored.artifact, twin.stored.manifest, twin.stored.metadata):
        path.unlink()
    assert copy(kept, backup, twin) == CopiedVersion(2, Outcome.MISSING, None)


def test_lost_manifest_is_made_again_beside_a_file_that_is_there_already(
    kept: ModelFiles, backup: ModelFiles, version: Version
) -> None:
    copy(kept, backup, version)
    version.stored.manifest.unlink()
    assert copy(backup, kept, version).outcome is Outcome.PRESENT
    assert kept.manifest(version.weights) == read_manifest(version.stored.artifact)
