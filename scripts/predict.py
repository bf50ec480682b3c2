"""Predict with a verified model."""

from __future__ import annotations

from pathlib import Path

import click

from scripts._cli import Ui, command
from scripts._samples import prepared_option, test_set
from scripts._stores import Storing, fetched_from


@command("ape run predict mnist-cnn --sample 7")
@click.argument("model")
@click.option("--version", type=click.IntRange(1), help="[default: the current one]")
@click.option(
    "--require",
    type=click.Choice(["current", "passed", "any"]),
    help="What the version must be.  [default: current, or passed with --version]",
)
@click.option("--sample", type=click.IntRange(0), help="A sample of the model's test set.")
@click.option("--input", "text", metavar="JSON", help="One sample as a JSON list of raw numbers.")
@click.option("--file", type=click.Path(path_type=Path), help="Samples in a .npy file.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder with MNIST's files, if not the package."
)
@prepared_option
@click.option(
    "--artifacts", type=click.Path(path_type=Path), default=Path("artifacts"), show_default=True
)
@fetched_from
def cli(
    ui: Ui,
    model: str,
    version: int | None,
    require: str | None,
    sample: int | None,
    text: str | None,
    file: Path | None,
    data: Path | None,
    prepared: Path | None,
    artifacts: Path,
    storing: Storing,
) -> None:
    """Verify a version of MODEL against the chain, then predict with the very bytes verified."""
    from ml.chain import models
    from ml.chain.verification import Requirement
    from ml.errors import ModelproofError
    from ml.storage.model_files import ModelFiles
    from ml.training import versions
    from ml.training.datasets import load_dataset
    from ml.training.predict import (
        input_from_json,
        input_from_test_set,
        inputs_from_npy,
        predict,
    )

    if [sample is None, text is None, file is None].count(False) != 1:
        raise ModelproofError("say what to predict: one of --sample, --input and --file.")
    requirement = Requirement(require or ("passed" if version else "current"))
    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        files = ModelFiles(artifacts)
        fetch = storing.fetch(registry, files)
        found, loaded = versions.load_good(registry, named, files, version, requirement, fetch)
    shape = loaded.metadata.architecture.input_shape
    truth = None
    if sample is not None:
        samples = test_set(prepared) or load_dataset(loaded.metadata.dataset_name, data).test_part
        versions.check_test_set(found.model, samples)
        inputs = input_from_test_set(samples, sample)
        truth = samples.class_names[int(samples.labels[sample])]
    elif file is not None:
        inputs = inputs_from_npy(file, shape)
    else:
        inputs = input_from_json(text or "", shape)
    predictions = predict(loaded.classifier, inputs, loaded.metadata.class_names)
    ui.say(f"Verified: {named.name}, weights {ui.short(found.registered.weights)}.")
    ui.say(found.standing())
    ui.table(
        ["sample", "prediction", "probability", *(["truth"] if truth is not None else [])],
        [
            [
                sample if sample is not None else index,
                p.class_name,
                f"{p.probabilities[p.class_index]:.4f}",
                *([truth] if truth is not None else []),
            ]
            for index, p in enumerate(predictions)
        ],
    )
    ui.result(
        {
            "model": named.id,
            "version": found.version.number,
            "weights": found.registered.weights,
            "predictions": [
                {"class": p.class_name, "index": p.class_index, "probabilities": p.probabilities}
                for p in predictions
            ],
            "truth": truth,
        }
    )
