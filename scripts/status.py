"""How a model stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scripts._cli import Ui, command
from scripts._index import index_option, reading_registry, say_as_of
from scripts._versions import model_data

if TYPE_CHECKING:
    from ml.chain.history import History


@command("ape run status mnist")
@click.argument("model")
@index_option
def cli(ui: Ui, model: str, place: str | None) -> None:
    """How MODEL stands: its kind and origin, what is current, what waits, what was proved.

    All of it is checked against the model's head, or against the registry's own answers. Events
    come from the index, which is brought up to date first.
    """
    from ml.chain import history, models

    with ui.connect() as session:
        registry = reading_registry(ui, session, place)
        named = registry.believed(lambda: models.resolve(registry, model))
        whole = registry.believed(lambda: history.read(registry, named.id))
        as_of = say_as_of(ui, registry.as_of)
        ui.fields(_fields(ui, whole))
        for fact in whole.evidence.facts:
            ui.say(f"Evidence: {fact.sentence}.", style="red")
        ui.result({**model_data(whole), "as_of": as_of})


def _fields(ui: Ui, whole: History) -> dict[str, object]:
    from ml.chain.history import percent

    state, policy = whole.model.state, whole.model.policy
    best = f"v{state.best}, {percent(state.best_accuracy)}" if state.best else "none"
    waiting = ", ".join(f"v{row.version.number}" for row in whole.rows if row.waits)
    fields: dict[str, object] = {
        "model": f"{whole.named.name} ({ui.short(whole.model.id)})",
        "creator": whole.named.creator,
        "kind": state.kind.name.lower(),
        "forked from": whole.origin or "-",
        "test set": ui.short(whole.model.test_set),
        "validators": f"{policy.quorum}{', independent' if policy.independent else ''}",
        "versions": state.latest,
        "current": f"v{state.current}" if state.current else "none",
        "best": best,
        "waiting": waiting or "none",
        "head": ui.short(whole.model.head),
    }
    if whole.successor:
        to = whole.successor
        fields["successor"] = f"{ui.short(to.model)} in the registry at {to.registry}"
    if state.kind.name == "STRICT":
        fields["iteration"] = f"{state.iteration}, epoch {state.epoch}"
        fields["completed"] = state.completed.name.lower() if state.completed else "no"
    return fields
