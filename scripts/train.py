"""Train a model and put it on record."""

from __future__ import annotations

from pathlib import Path

import click

from scripts._cli import Ui, command
from scripts._models import (
    NewModel,
    kind_options,
    open_or_create,
    policy_options,
    validator_option,
)
from scripts._stores import Storing, stored_in
from scripts._versions import show_version


@command("ape run train mnist --architecture cnn --epochs 2 --policy thesis")
@click.argument("dataset", type=click.Choice(["iris", "digits", "mnist"]))
@click.option(
    "--architecture",
    type=click.Choice(["dense", "cnn", "logistic", "sklearn"]),
    default="dense",
    show_default=True,
    help="dense: three layers and an output layer; sklearn: its logistic regression, by joblib.",
)
@click.option("--epochs", type=click.IntRange(1), help="[default: the recipe's]")
@click.option("--seed", type=click.IntRange(0), help="[default: the version's number]")
@click.option("--model", help="Its name.  [default: DATASET-ARCHITECTURE]")
@click.option("--fresh", is_flag=True, help="Start from seeded weights, not the current version's.")
@click.option(
    "--parent",
    type=click.IntRange(1),
    help="The version to go on from; any that passed in an open model.  [default: current]",
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder with MNIST's files, if not the package."
)
@click.option(
    "--artifacts", type=click.Path(path_type=Path), default=Path("artifacts"), show_default=True
)
@policy_options
@kind_options
@validator_option
@stored_in
def cli(
    ui: Ui,
    dataset: str,
    architecture: str,
    epochs: int | None,
    seed: int | None,
    model: str | None,
    fresh: bool,
    parent: int | None,
    data: Path | None,
    artifacts: Path,
    preset: str | None,
    limits: tuple[str, ...],
    is_open: bool,
    fork_of: str | None,
    validator: str | None,
    storing: Storing,
) -> None:
    """Train on DATASET, register the result as the next version, and validate it.

    Training goes on from the current version's verified weights; in a fork that has none yet, from
    those of the version that it was forked from. The validation is measured on the test set that
    the model was created for, and sent from the validator's account; where you do not hold that
    account, or several validators have to agree, the version waits for `ape run validate`.
    """
    from ml.chain.publishing import pending
    from ml.chain.records import Role
    from ml.storage.model_files import ModelFiles
    from ml.training import versions
    from ml.training.datasets import load_dataset
    from ml.training.progress import training_bar
    from ml.training.recipes import find_recipe
    from ml.training.train import train

    recipe = find_recipe(dataset, architecture)
    samples = load_dataset(dataset, data)
    files, archive = ModelFiles(artifacts), storing.checked_archive()
    new = NewModel(samples.test_digest, preset, limits, validator, is_open, fork_of)
    with ui.connect(lasting=False) as session:
        registry = session.registry()
        trainer = ui.account(session, Role.TRAINER)
        judge = ui.validator(session, validator)
        named = open_or_create(ui, session, registry, model or recipe.name, new)
        fetch = archive.fetching(registry, files) if archive else None
        begun = versions.start(registry, named, files, parent=parent, fresh=fresh, fetch=fetch)
        number = begun.turn.version
        with training_bar(f"v{number} of {named.name}", ui.err) as progress:
            trained = train(
                recipe,
                samples,
                seed=number if seed is None else seed,
                epochs=epochs,
                parent=begun.parent.classifier if begun.parent else None,
                progress=progress,
            )
        done = versions.register_trained(
            registry, named, files, begun, trained, archive=archive, sender=trainer
        )
        file = done.stored.artifact
        ui.say(f"v{number} is registered in block {done.receipt.block}: {file}")
        if done.object:
            ui.say(f"Its object is {done.object}.")
        sentence = None
        quorum = registry.model(named.id).policy.quorum
        if quorum > 1:
            ui.say(
                f"It waits for {quorum} validators: each signs with `ape run validate {named.name}"
                " --sign`, and anyone submits."
            )
        elif judge is None or not registry.has_role(named.id, Role.VALIDATOR, judge.address):
            ui.say(f"It waits for a validator: `ape run validate {named.name}`.")
        else:
            waiting = pending(registry, named, number)
            sentence = versions.validate_trained(
                registry, named, files, waiting, samples, sender=judge
            ).sentence
            ui.say(sentence)
        named_object = str(done.object) if done.object else None
        more = {"file": file, "object": named_object, "sentence": sentence}
        show_version(ui, registry, named, number, more)
