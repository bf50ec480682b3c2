"""The clients' updates that versions on chain were made from.

The chain has one root over a version's updates, and the SHA-256 of the text that names each of them
(`round_metadata`). So who can read these texts knows for sure what went into which version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ml.chain import history, models
from ml.chain.events import Registered
from ml.chain.records import NO_DIGEST
from ml.chain.registry import ModelRegistry
from ml.errors import ModelproofError, NotVerified
from ml.storage.cid import Cid
from ml.storage.keys import Key
from ml.storage.places import Places
from ml.storage.retention import Use

from .archive import stored_metadata
from .round_metadata import RoundMetadata


@dataclass(frozen=True, slots=True)
class NamedUpdates:
    """What is known of clients' updates."""

    uses: dict[Cid, list[Use]] = field(default_factory=dict)
    """The versions that each object with an update went into."""
    unread: list[str] = field(default_factory=list)
    """For each version whose updates are not known, a clause that says which and why."""


def named_updates(registry: ModelRegistry, places: Places, keys: Sequence[Key]) -> NamedUpdates:
    """Find out which updates went into the versions of all models.

    Args:
        registry: where the models are
        places: where the metadata of versions is stored
        keys: what opens it

    Raises:
        NotVerified: what the node says happened is not what the chain's state commits to.
    """
    found = NamedUpdates()
    for model in models.all_models(registry):
        whole = history.read(registry, model.id)
        for row in whole.rows:
            if row.registered.details.updates == NO_DIGEST:
                continue
            try:
                cids = _updates_of(row.registered, whole.named.name, places, keys)
            except ModelproofError as error:
                found.unread.append(f"v{row.version.number} of {whole.named.name}: {error}")
                continue
            use = Use(row.version.number, whole.model.state.latest)
            for cid in cids:
                found.uses.setdefault(cid, []).append(use)
    return found


def _updates_of(record: Registered, name: str, places: Places, keys: Sequence[Key]) -> list[Cid]:
    text = stored_metadata(places, keys, record, name)
    if text is None:
        raise ModelproofError("its registration names no object with its metadata")
    metadata = RoundMetadata.from_json(text)
    stated = (metadata.model, metadata.version, metadata.updates_root)
    if stated != (record.model, record.version, record.details.updates):
        raise NotVerified("its metadata is that of another version")
    return [Cid.parse(update.cid) for update in metadata.updates]
