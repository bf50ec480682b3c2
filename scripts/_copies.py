"""What backup and restore share: the versions of a model, and how their copying went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts._cli import Ui

if TYPE_CHECKING:
    from ml.storage.model_files import ModelFiles


def copy(ui: Ui, model: str, version: int | None, source: ModelFiles, target: ModelFiles) -> None:
    """Copy the files of a model's versions from one folder to another, verified by the chain.

    Raises:
        NotVerified: a version that was asked for, or all of them, could not be copied.
    """
    from ml.chain import history, models
    from ml.errors import ModelproofError, NotVerified
    from ml.storage.backup import Outcome, RecordedVersion, copy_versions
    from ml.training.stated import stated_metadata_digest

    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        recorded = [
            RecordedVersion(
                row.version.number, row.registered.weights, stated_metadata_digest(row.registered)
            )
            for row in history.read(registry, named.id).rows
            if version in (None, row.version.number)
        ]
    if not recorded:
        raise ModelproofError(
            f"{named.name} has no version {version}."
            if version
            else f"{named.name} has no version."
        )
    copied = copy_versions(source, target, named.name, recorded)
    ui.table(
        ["version", "", "file"],
        [[f"v{one.version}", one.outcome.value, one.path or "-"] for one in copied],
    )
    listed = [
        {"version": one.version, "outcome": one.outcome.value, "file": one.path} for one in copied
    ]
    bad = [one for one in copied if one.outcome in (Outcome.MISSING, Outcome.DAMAGED)]
    if any(one.outcome is Outcome.DAMAGED for one in bad) or (bad and len(bad) == len(copied)):
        numbers = ", ".join(f"v{one.version} is {one.outcome.value}" for one in bad)
        raise NotVerified(
            f"not everything below {source.root}/ could be used: {numbers}.",
            data={"versions": listed},
        )
    ui.result(listed)
