"""Put a model's files back from a backup."""

from __future__ import annotations

from pathlib import Path

import click

from scripts._cli import Ui, command
from scripts._copies import copy


@command("ape run restore mnist --version 3")
@click.argument("model")
@click.option("--version", type=click.IntRange(1), help="Only this one.  [default: all]")
@click.option(
    "--artifacts", type=click.Path(path_type=Path), default=Path("artifacts"), show_default=True
)
@click.option(
    "--backups", type=click.Path(path_type=Path), default=Path("backups"), show_default=True
)
def cli(ui: Ui, model: str, version: int | None, artifacts: Path, backups: Path) -> None:
    """Put the files of MODEL's versions back where they are missing or damaged.

    Each is checked against the chain before it takes its place.
    """
    from ml.storage.model_files import ModelFiles

    copy(ui, model, version, ModelFiles(backups), ModelFiles(artifacts))
