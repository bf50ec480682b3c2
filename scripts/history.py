"""What happened to a model."""

from __future__ import annotations

import click

from scripts._cli import Ui, command
from scripts._index import index_option, reading_registry, say_as_of
from scripts._versions import as_data, model_data, show


@command("ape run history mnist")
@click.argument("model", required=False)
@index_option
def cli(ui: Ui, model: str | None, place: str | None) -> None:
    """Every version of MODEL with its validation, and every rollback, revocation and change.

    Without MODEL, the models of the registry. Each registration is checked against the commitment
    that the chain stores for it, and all of it against the model's head. Evidence against
    validators and trainers is not under the head, and checked against the registry's own answers.
    Events come from the index, which is brought up to date first.
    """
    from ml.chain import history, models

    with ui.connect() as session:
        registry = reading_registry(ui, session, place)
        if model is None:
            known = registry.believed(lambda: models.all_models(registry))
            say_as_of(ui, registry.as_of)
            ui.table(
                ["model", "id", "creator"], [[m.name, ui.short(m.id), m.creator] for m in known]
            )
            ui.result([{"name": m.name, "id": m.id, "creator": m.creator} for m in known])
            return
        named = registry.believed(lambda: models.resolve(registry, model))
        whole = registry.believed(lambda: history.read(registry, named.id))
        as_of = say_as_of(ui, registry.as_of)
        show(ui, whole.model, whole.rows)
        ui.say("")
        for happening in whole.happenings:
            ui.say(f"block {happening.block}: {happening.sentence}")
        ui.result(
            {
                **model_data(whole),
                "as_of": as_of,
                "versions": [as_data(row) for row in whole.rows],
                "events": [
                    {
                        "event": h.what,
                        "block": h.block,
                        "transaction": h.transaction,
                        "sentence": h.sentence,
                    }
                    for h in whole.happenings
                ],
            }
        )
