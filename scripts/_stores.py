"""What the commands share that keep objects: which stores, and what the chain names in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scripts._cli import Ui

if TYPE_CHECKING:
    from ml.storage.local_store import LocalStore
    from ml.storage.sidecar import Sidecar
    from ml.storage.store import Sidecars, Store

places_option = click.option(
    "--store",
    "places",
    multiple=True,
    default=("objects",),
    show_default=True,
    metavar="PLACE",
    help="A folder, or ipfs:URL for a node's RPC; more than once for replicas.",
)


@dataclass(frozen=True)
class Places:
    """The stores of a command, in their order, the folders among them by themselves too."""

    stores: list[Store]
    folders: list[LocalStore]

    def sidecars_of(self, store: Store) -> Sidecars:
        """The sidecars beside a store's objects; an IPFS node's are in the first folder."""
        return next((each for each in self.folders if each is store), self.folders[0]).sidecars


def open_places(places: tuple[str, ...]) -> Places:
    """Open the stores; one of them has to be a folder, for the sidecars."""
    from ml.errors import ModelproofError
    from ml.storage.local_store import LocalStore
    from ml.storage.places import open_store

    stores = [open_store(place) for place in places]
    folders = [store for store in stores if isinstance(store, LocalStore)]
    if not folders:
        raise ModelproofError(
            "an IPFS node keeps no sidecars: name a --store too that is a folder, as objects."
        )
    return Places(stores, folders)


def keep_encrypted(path: Path, places: tuple[str, ...]) -> Sidecar:
    """Encrypt a file for the keys at hand, and keep it in all stores."""
    import os

    from ml.artifact import open_model
    from ml.artifact.file_reader import FileReader
    from ml.storage.encrypted import put_encrypted
    from ml.storage.key_files import keys_in_environment
    from ml.storage.replicas import Replicas
    from ml.storage.sidecar import Payload

    opened = open_places(places)
    with open_model(path) as model, FileReader(path) as reader:
        first, *others = opened.folders
        sidecar = put_encrypted(
            Replicas(opened.stores),
            first.sidecars,
            reader.pieces(0, reader.size),
            keys_in_environment(os.environ),
            Payload(model.layout.format),
        )
    for folder in others:
        folder.sidecars.write(sidecar.stored.cid, sidecar.to_json())
    return sidecar


def named_on_chain(ui: Ui, model: str | None) -> dict[bytes, str]:
    """The digests that versions of a model, or of all models, state for their objects' CIDs."""
    from ml.chain import history, models
    from ml.chain.records import NO_DIGEST

    with ui.connect() as session:
        registry = session.registry()
        chosen = [models.resolve(registry, model)] if model else models.all_models(registry)
        return {
            row.registered.details.content: f"{named.name} v{row.version.number}"
            for named in chosen
            for row in history.read(registry, named.id).rows
            if row.registered.details.content != NO_DIGEST
        }
