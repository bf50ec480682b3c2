"""Where a version comes from."""

from __future__ import annotations

import click

from scripts._cli import Ui, command
from scripts._versions import as_data, show


@command("ape run lineage mnist --version 4")
@click.argument("model")
@click.option(
    "--version", type=click.IntRange(1), help="Where to start.  [default: the current version]"
)
def cli(ui: Ui, model: str, version: int | None) -> None:
    """A version of MODEL, its parent, the parent's parent and so on to the first."""
    from ml.chain import history, models
    from ml.errors import ModelproofError

    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        start = version or registry.model(named.id).state.current
        if not start:
            raise ModelproofError(f"{named.name} has no current version: say --version N.")
        line = [v.number for v in registry.lineage(named.id, start)]
        whole = history.read(registry, named.id)
        rows = {row.version.number: row for row in whole.rows}
        show(ui, whole.model, [rows[number] for number in line])
        ui.result([as_data(rows[number]) for number in line])
