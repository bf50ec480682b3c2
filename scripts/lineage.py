"""Where a version comes from."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import click

from scripts._cli import Ui, command
from scripts._index import index_option, reading_registry, say_as_of
from scripts._versions import as_data, show

if TYPE_CHECKING:
    from ml.chain.history import History


@command("ape run lineage mnist --version 4")
@click.argument("model")
@click.option(
    "--version", type=click.IntRange(1), help="Where to start.  [default: the current version]"
)
@index_option
def cli(ui: Ui, model: str, version: int | None, place: str | None) -> None:
    """A version of MODEL, its parent, the parent's parent and so on to the first.

    Where a fork begins, it goes on with the version of the other model that it was forked from.
    Each model's history is checked against its head; events come from the index, which is brought
    up to date first.
    """
    from ml.chain import history, models
    from ml.errors import ModelproofError

    with ui.connect() as session:
        registry = reading_registry(ui, session, place)
        named = registry.believed(lambda: models.resolve(registry, model))
        start = version or registry.model(named.id).state.current
        if not start:
            raise ModelproofError(f"{named.name} has no current version: say --version N.")
        line = registry.believed(lambda: history.lineage(registry, named.id, start))
        say_as_of(ui, registry.as_of)
        parts = [
            (known, [number for _, number in steps])
            for known, steps in groupby(line, key=lambda step: step[0])
        ]
        for known, numbers in parts:
            if len(parts) > 1:
                ui.say(f"{known.named.name} ({ui.short(known.model.id)})", style="bold")
            show(ui, known.model, [known.row(number) for number in numbers])
        ui.result([{**as_data(known.row(number)), **_model(known)} for known, number in line])


def _model(known: History) -> dict[str, object]:
    return {"model": known.model.id, "name": known.named.name}
