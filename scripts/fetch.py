"""Get a version out of stores."""

from __future__ import annotations

from pathlib import Path

import click

from scripts._cli import Ui, command
from scripts._stores import Storing, places_option


@command("ape run fetch mnist-cnn 3 --store objects --store ipfs:http://127.0.0.1:5001")
@click.argument("model")
@click.argument("version", type=click.IntRange(1), required=False)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write the file there.  [default: below --artifacts, as `train` does]",
)
@click.option(
    "--artifacts", type=click.Path(path_type=Path), default=Path("artifacts"), show_default=True
)
@places_option
def cli(
    ui: Ui,
    model: str,
    version: int | None,
    output: Path | None,
    artifacts: Path,
    places: tuple[str, ...],
) -> None:
    """Get a version of MODEL out of the stores: the current one if none is named.

    Objects are found by what the chain says of them, and decrypted with the keys at hand; deltas
    are applied. The file gets its name once it has the identity that is on record. Any version can
    be fetched, good or bad: what is said of it is how it stands.
    """
    from ml.chain import models
    from ml.errors import ModelproofError
    from ml.storage.model_files import ModelFiles
    from ml.training import versions

    archive = Storing(places).archive()
    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        found = (
            versions.numbered(registry, named, version)
            if version
            else versions.current(registry, named)
        )
        if found is None:
            raise ModelproofError(f"{named.name} has no current version: say which one to fetch.")
        record = found.registered
        if output:
            archive.fetch_file(registry, record, output)
        else:
            output = archive.fetch(registry, record, ModelFiles(artifacts)).artifact
    ui.say(f"Verified: v{record.version} of {named.name}, weights {ui.short(record.weights)}.")
    ui.say(found.standing())
    ui.say(str(output))
    ui.result(
        {
            "model": named.id,
            "version": record.version,
            "weights": record.weights,
            "status": found.version.status.name,
            "file": output,
        }
    )
