"""The clients of a federated model: enrolled, excluded, reinstated."""

from __future__ import annotations

import click

from scripts._cli import Ui, command, command_group


@command_group("ape run clients list mnist-2nn-federated")
def cli() -> None:
    """Show a model's clients, exclude one, or take it back."""


@command("ape run clients list mnist-2nn-federated", "list", cli)
@click.argument("model")
def list_(ui: Ui, model: str) -> None:
    """List the clients of MODEL, with why those are excluded that are."""
    from ml.chain import models
    from ml.federated import enrolments

    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        found = enrolments.standings(registry, named.id)
    ui.table(
        ["client", "address", "data set", "active", "why not"],
        [
            [one.index, ui.short(one.address), ui.short(one.dataset), one.is_active, one.reason]
            for one in found
        ],
    )
    ui.result(
        [
            {
                "client": one.index,
                "address": one.address,
                "dataset": one.dataset,
                "active": one.is_active,
                "reason": one.reason,
            }
            for one in found
        ]
    )


@command('ape run clients exclude mnist-2nn-federated 3 --reason "sends noise"', "exclude", cli)
@click.argument("model")
@click.argument("index", type=click.IntRange(0, 255))
@click.option("--reason", required=True, help="Public for ever.")
def exclude(ui: Ui, model: str, index: int, reason: str) -> None:
    """Keep client INDEX out of later versions of MODEL, OPERATOR."""
    _change(ui, model, index, reason, "exclude_client", "excluded")


@command('ape run clients reinstate mnist-2nn-federated 3 --reason "mended"', "reinstate", cli)
@click.argument("model")
@click.argument("index", type=click.IntRange(0, 255))
@click.option("--reason", required=True, help="Public for ever.")
def reinstate(ui: Ui, model: str, index: int, reason: str) -> None:
    """Let client INDEX contribute to MODEL again, OPERATOR."""
    _change(ui, model, index, reason, "reinstate_client", "reinstated")


def _change(ui: Ui, model: str, index: int, reason: str, operation: str, done: str) -> None:
    from ml.chain import models
    from ml.chain.publishing import check_text
    from ml.chain.records import Role

    check_text(reason, "reason")
    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        operator = ui.account(session, Role.OPERATOR)
        receipt = getattr(registry, operation)(named.id, index, reason, sender=operator)
    ui.say(f"Client {index} of {named.name} is {done}, block {receipt.block}.")
    ui.result({"model": named.name, "client": index, "done": done, "block": receipt.block})
