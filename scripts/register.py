"""Register a model that was trained elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from scripts._cli import Ui, command
from scripts._models import (
    NewModel,
    kind_options,
    open_or_create,
    policy_options,
    test_set_root,
    validator_option,
)
from scripts._stores import Storing, stored_in

_SHOWN_NAMES = 5


@command(
    "ape run register model.safetensors --model mine --test-set testset.npz --policy unlimited"
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", required=True, help="Its name or id.")
@click.option(
    "--test-set",
    help="What versions are validated on: iris, digits, mnist, a root (0x…), or a file."
    "  Creates the model if there is none of this name.",
)
@click.option(
    "--metadata",
    type=click.Path(path_type=Path),
    help="JSON file to put on record; public for ever, at most 16 KiB.",
)
@click.option(
    "--artifacts", type=click.Path(path_type=Path), default=Path("artifacts"), show_default=True
)
@click.option(
    "--parent",
    type=click.IntRange(0),
    help="The version that it was made from; any that passed in an open model, 0 for none."
    "  [default: current, or 0]",
)
@click.option(
    "--key",
    metavar="ENTRY",
    help="Of a torch checkpoint with several state dicts, the entry that is the model."
    "  Kept alone, as a safetensors file of the same identity.",
)
@click.option("--allow-non-finite", is_flag=True, help="Register NaN and infinite weights too.")
@policy_options
@kind_options
@validator_option
@stored_in
def cli(
    ui: Ui,
    file: Path,
    model: str,
    test_set: str | None,
    metadata: Path | None,
    artifacts: Path,
    parent: int | None,
    key: str | None,
    allow_non_finite: bool,
    preset: str | None,
    limits: tuple[str, ...],
    is_open: bool,
    fork_of: str | None,
    validator: str | None,
    storing: Storing,
) -> None:
    """Register FILE as the next version of a model. TRAINER.

    A folder is registered with all that is in it, and kept as a tar archive that has the same
    identity. The version then waits for its validation: `ape run validate MODEL`.
    """
    from ml.artifact import find_non_finite, open_model, strict_json
    from ml.chain import models
    from ml.chain.publishing import check_text, next_turn, register
    from ml.chain.records import Role
    from ml.chain.roles import check_holds
    from ml.errors import ModelproofError
    from ml.storage.model_files import ModelFiles
    from ml.storage.version_store import KeptVersion
    from ml.training.canonical import canonical_json

    if key is not None and file.is_dir():
        raise ModelproofError("--key chooses in a checkpoint that is one file: name that file.")
    with open_model(file, key=key) as opened:
        if not opened.layout.is_one_file and not file.is_dir():
            raise ModelproofError(
                f"{file} is the index of several files: name the folder that they are in, with all"
                " else that belongs to the model."
            )
        manifest = opened.manifest()
        unlooked = allow_non_finite or manifest.is_opaque
        bad = [] if unlooked else find_non_finite(opened)
    stated = canonical_json(strict_json.read(metadata)) if metadata else "{}"
    check_text(stated)
    if bad:
        names = ", ".join(bad[:_SHOWN_NAMES]) + (" …" if len(bad) > _SHOWN_NAMES else "")
        raise ModelproofError(
            f"{file} has NaN or infinite weights in {names}: train again, or say"
            " --allow-non-finite."
        )
    files, archive = ModelFiles(artifacts), storing.checked_archive()
    files.root.mkdir(parents=True, exist_ok=True)  # before anything is sent
    new = None
    if test_set:
        root = test_set_root(test_set)
        new = NewModel(root, preset, limits, validator, is_open, fork_of)
    elif is_open or fork_of:
        raise ModelproofError("--open and --fork-of create a model: say its --test-set too.")
    with ui.connect(lasting=False) as session:
        registry = session.registry()
        sender = ui.account(session, Role.TRAINER)
        if new is not None:
            named = open_or_create(ui, session, registry, model, new)
        else:
            named = models.resolve(registry, model)
            check_holds(registry, named, Role.TRAINER, sender.address)
        turn = next_turn(registry, named, parent)
        version = turn.version
        kept = files.keep(named.name, version, file, manifest, key)
        stored = None
        if archive:
            kept_version = KeptVersion(kept.artifact, manifest)
            stored = archive.keep(registry, named, turn, kept_version, files).stored
            turn = turn.naming(stored.sha256, stored.cid.digest)
        receipt = register(registry, named, turn, manifest.weights, stated, sender=sender)
        ui.fields(
            {
                "model": f"{named.name} ({ui.short(named.id)})",
                "version": f"v{version}, pending",
                "weights": ui.short(manifest.weights),
                "kept as": kept.artifact,
                **({"object": stored.cid} if stored else {}),
                "block": receipt.block,
                "gas": receipt.gas_used,
            }
        )
        ui.result(
            {
                "model": named.id,
                "version": version,
                "weights": manifest.weights,
                "file": kept.artifact,
                "object": str(stored.cid) if stored else None,
                "transaction": receipt.transaction,
                "block": receipt.block,
                "gas": receipt.gas_used,
            }
        )
