"""Validate the version of a model that waits."""

from __future__ import annotations

from pathlib import Path

import click

from scripts._cli import Ui, command
from scripts._versions import show_version


@command("ape run validate mine --metrics metrics.json")
@click.argument("model")
@click.option("--version", type=click.IntRange(1), help="The version that must be waiting.")
@click.option(
    "--metrics",
    type=click.Path(path_type=Path),
    help="JSON file with accuracy_ppm (or correct and total, or accuracy), measured elsewhere."
    "  [default: measured here]",
)
@click.option("--reject", is_flag=True, help="Refuse it on other grounds than its accuracy.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder with MNIST's files, if not the package."
)
@click.option(
    "--artifacts", type=click.Path(path_type=Path), default=Path("artifacts"), show_default=True
)
def cli(
    ui: Ui,
    model: str,
    version: int | None,
    metrics: Path | None,
    reject: bool,
    data: Path | None,
    artifacts: Path,
) -> None:
    """Validate the version of MODEL that waits, and let the policy decide. VALIDATOR.

    Measured here, the file is verified first and the test set must be the committed one. With
    --metrics, you state that you measured it on the committed test set.
    """
    from ml.chain import models, publishing
    from ml.chain.records import Role
    from ml.storage.model_files import ModelFiles
    from ml.training import versions
    from ml.training.reported import read_metrics

    reported = read_metrics(metrics) if metrics else None
    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        waiting = publishing.pending(registry, named, version)
        sender = ui.account(session, Role.VALIDATOR)
        if reported is None:
            validation = versions.validate_trained(
                registry,
                named,
                ModelFiles(artifacts),
                waiting,
                versions.dataset_of(waiting, named.name, data),
                accepted=not reject,
                sender=sender,
            )
        else:
            validation = publishing.validate(
                registry,
                waiting,
                reported.accuracy_ppm,
                reported.training_accuracy_ppm,
                reported.text,
                accepted=not reject,
                sender=sender,
            )
        ui.say(validation.sentence)
        number = waiting.registered.version
        show_version(ui, registry, named, number, {"sentence": validation.sentence})
