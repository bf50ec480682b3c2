"""The objects that versions on chain name."""

from __future__ import annotations

from collections.abc import Iterator

from ml.chain import history, models
from ml.chain.fsck.everything import object_of
from ml.chain.fsck.store_check import NamedObject
from ml.chain.history import HistoryRow
from ml.chain.models import NamedModel
from ml.chain.records import NO_DIGEST
from ml.chain.registry import ModelRegistry
from ml.storage.delta_chains import NamedVersion

from .stated import stated_metadata_object


def named_objects(registry: ModelRegistry, model: NamedModel | None = None) -> list[NamedVersion]:
    """The versions of a model, or of all models, with the objects that each names.

    A version of another model is among the ancestors of a fork's, and not in the list.

    Raises:
        NotVerified: what the node says happened is not what the chain's state commits to.
    """
    known: dict[bytes, list[NamedVersion]] = {}
    chosen = [model] if model else models.all_models(registry)
    return [version for each in chosen for version in _versions(registry, each.id, known)]


def objects_of(name: str, row: HistoryRow) -> Iterator[NamedObject]:
    """The objects that a version names: with its weights, and with its training metadata.

    Args:
        name: what to call the version, for people
        row: the version
    """
    yield from object_of(name, row)
    metadata = stated_metadata_object(row.registered)
    if metadata is not None:
        yield NamedObject(f"the training metadata of {name}", metadata.digest)


def _versions(
    registry: ModelRegistry, model: bytes, known: dict[bytes, list[NamedVersion]]
) -> list[NamedVersion]:
    """The versions of one model, in order; a model begins after the one that it was forked from."""
    if model in known:
        return known[model]
    whole = history.read(registry, model)
    origin = whole.model.origin
    start = _versions(registry, origin.model, known)[origin.version - 1] if origin else None
    versions = known[model] = []
    for row in whole.rows:
        content = row.registered.details.content
        parent = row.version.parent
        versions.append(
            NamedVersion(
                f"v{row.version.number} of {whole.named.name}",
                content if content != NO_DIGEST else None,
                stated_metadata_object(row.registered),
                versions[parent - 1] if parent else start,
            )
        )
    return versions
