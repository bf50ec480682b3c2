"""What the commands share that keep objects: which stores, by which settings, and what is in them.

Each setting has an option and a variable of the environment (.env.example): where two commands have
to find the same stores, the variable says it once.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scripts._cli import Ui

if TYPE_CHECKING:
    from ml.chain.registry import ModelRegistry
    from ml.storage.model_files import ModelFiles
    from ml.storage.places import Places
    from ml.training.archive import Archive, Fetch

_DEFAULT_CACHE_BYTES = 4 << 30


def _store_option(
    *default: str, more: str = ""
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--store",
        "places",
        multiple=True,
        default=default,
        show_default=bool(default),
        envvar="MODELPROOF_STORE",
        show_envvar=True,
        metavar="PLACE",
        help="A folder, or ipfs:URL for a node's RPC beside a folder; more than once for replicas."
        + more,
    )


places_option = _store_option("objects")
stores_option = _store_option(more="  Without, none is looked at.")
replicas_option = click.option(
    "--replicas",
    default="all",
    show_default=True,
    envvar="MODELPROOF_REPLICAS",
    show_envvar=True,
    metavar="POLICY",
    help="How many of the stores have to take it: all, any, or a number.",
)


@dataclass(frozen=True)
class Storing:
    """Where a command stores versions, or finds those that are not here; nowhere, as a rule."""

    places: tuple[str, ...]
    replicas: str = "any"
    snapshot_every: int | None = None

    def archive(self) -> Archive:
        """The stores, with the keys at hand."""
        from ml.storage.hot_versions import HotVersions
        from ml.storage.key_files import keys_in_environment
        from ml.storage.version_store import SNAPSHOT_EVERY
        from ml.training.archive import Archive

        return Archive(
            open_places(self.places, self.replicas),
            keys_in_environment(os.environ),
            HotVersions(Path(os.environ.get("MODELPROOF_CACHE") or "cache"), _cache_bytes()),
            self.snapshot_every or SNAPSHOT_EVERY,
        )

    def checked_archive(self) -> Archive | None:
        """Where to store, if anywhere; what is wrong with it is said before any work is done."""
        if not self.places:
            return None
        archive = self.archive()
        archive.check()
        return archive

    def fetch(self, registry: ModelRegistry, files: ModelFiles) -> Fetch | None:
        """What gets files from the stores, if any is named."""
        return self.archive().fetching(registry, files) if self.places else None


def stored_in(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options by which a command stores what it registers, as ``storing``."""

    @_store_option(more="  Without, nothing is stored, encrypted and named on chain.")
    @replicas_option
    @click.option(
        "--snapshot-every",
        type=click.IntRange(1, 1000),
        default=10,
        show_default=True,
        envvar="MODELPROOF_SNAPSHOT_EVERY",
        show_envvar=True,
        help="Versions between whole files; those in between are deltas, where that is shorter.",
    )
    @functools.wraps(function)
    def run(
        ui: Ui, places: tuple[str, ...], replicas: str, snapshot_every: int, **parameters: Any
    ) -> None:
        function(ui, storing=Storing(places, replicas, snapshot_every), **parameters)

    return run


def fetched_from(function: Callable[..., None]) -> Callable[..., None]:
    """Add the option by which a command finds files that are not here, as ``storing``."""

    @_store_option(more="  Files that are not below --artifacts are fetched from there.")
    @functools.wraps(function)
    def run(ui: Ui, places: tuple[str, ...], **parameters: Any) -> None:
        function(ui, storing=Storing(places), **parameters)

    return run


def open_places(places: tuple[str, ...], replicas: str = "all") -> Places:
    """Open the stores; one of them has to be a folder, for the sidecars."""
    from ml.storage.places import Places
    from ml.storage.replicas import Policy

    return Places(places, Policy.parse(replicas))


def _cache_bytes() -> int:
    from ml.errors import ModelproofError

    text = os.environ.get("MODELPROOF_CACHE_BYTES") or str(_DEFAULT_CACHE_BYTES)
    if not text.isdecimal():
        raise ModelproofError(f"MODELPROOF_CACHE_BYTES is a number of bytes, not {text!r}.")
    return int(text)
