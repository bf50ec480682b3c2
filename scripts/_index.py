"""What the scripts share that read through the event index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scripts._cli import Ui

if TYPE_CHECKING:
    from ml.chain.index.blocks import Header
    from ml.chain.index.reading import IndexedRegistry
    from ml.chain.session import Session

index_option = click.option(
    "--index",
    "place",
    metavar="PLACE",
    help="Where the index is: a folder, or postgresql://…  [default: MODELPROOF_INDEX, or .index]",
)


def say_as_of(ui: Ui, tip: Header) -> dict[str, object]:
    """Say which block an answer is as of; for machines too."""
    ui.note(f"As of block {tip.number} ({ui.short(tip.hash)}).")
    return {"block": tip.number, "hash": tip.hash, "time": tip.time}


def reading_registry(ui: Ui, session: Session, place: str | None) -> IndexedRegistry:
    """The registry, read through the index, or through one in memory where that cannot be used."""
    from ml.chain.index.reading import indexed_registry

    def warn(error: Exception) -> None:
        ui.note(f"{error} Until then each command reads all events from the node, into memory.")

    return indexed_registry(session, place, warn=warn)
