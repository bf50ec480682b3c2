"""Check a file against the chain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scripts._cli import Ui, command
from scripts._versions import origin_data

if TYPE_CHECKING:
    from ml.artifact import Manifest
    from ml.chain.models import NamedModel
    from ml.chain.registry import ModelRegistry
    from ml.chain.verification import Identified
    from ml.errors import NotVerified

_SHOWN_DIFFERENCES = 20


@command("ape run verify artifacts/mnist/v3-5e1c9a07.safetensors --model mnist")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", help="Name or id.  [default: the only one that has FILE]")
@click.option("--version", type=click.IntRange(1), help="The version that it must be.")
@click.option(
    "--key",
    metavar="ENTRY",
    help="Of a torch checkpoint with several state dicts, the entry that is the model.",
)
@click.option(
    "--require",
    type=click.Choice(["current", "passed", "any"]),
    default="passed",
    show_default=True,
    help="What the version must be, to be good enough.",
)
@click.option(
    "--artifacts",
    type=click.Path(path_type=Path),
    default=Path("artifacts"),
    show_default=True,
    help="Where manifests are looked for, to name what differs.",
)
def cli(
    ui: Ui,
    file: Path,
    model: str | None,
    version: int | None,
    key: str | None,
    require: str,
    artifacts: Path,
) -> None:
    """Recompute the identity of FILE and look it up on the chain.

    Says which version it is, how that version stands and what supersedes it; or which tensors
    differ, and from which version. Anybody may register a file under a model of their own: name the
    one that you trust with --model. Exit code 0: verified, 1: not, 2: it could not be checked.
    """
    from ml.chain import models
    from ml.chain.verification import Requirement, identify
    from ml.errors import NotVerified

    manifest = _manifest(file, key)
    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model) if model else None
        everywhere = identify(registry, manifest.weights, model=named.id if named else None)
        found = [match for match in everywhere if version in (None, match.version.number)]
        if not found:
            raise _unknown(ui, registry, named, version, manifest, file, artifacts)

        best = found[0]
        data = {
            "verified": False,
            "weights": manifest.weights,
            **_as_data(best),
            "matches": [_as_data(match) for match in everywhere],
        }
        _show(ui, file, manifest, everywhere)
        reason = _objection(everywhere, best, Requirement(require), version)
        if reason is not None:
            raise NotVerified(f"{file} {reason}", data=data)
        ui.say("Verified.", style="green")
        ui.result({**data, "verified": True})


def _manifest(file: Path, key: str | None) -> Manifest:
    """What a file is; one that is no whole model file is not what it is said to be."""
    from ml.artifact import FileChanged, MalformedFile, read_manifest
    from ml.errors import NotVerified

    try:
        return read_manifest(file, key=key)
    except (MalformedFile, FileChanged) as error:
        raise NotVerified(str(error), data={"verified": False}) from error


def _objection(
    everywhere: Sequence[Identified], best: Identified, requirement: Any, version: int | None
) -> str | None:
    """A clause that says why a file on record is not verified; None if it is."""
    from ml.chain.types import Status
    from ml.chain.verification import Requirement

    if len({match.model.id for match in everywhere}) > 1:
        several = ", ".join(
            dict.fromkeys(
                f"{match.created.name} (0x{match.model.id.hex()} of {match.created.creator})"
                for match in everywhere
            )
        )
        return f"is on record in several models: say which one you trust with --model ({several})."
    if not best.meets(requirement):
        return f"is on record, but not as {requirement}: {best.standing()}"
    revoked = [m.version.number for m in everywhere if m.version.status is Status.REVOKED]
    if revoked and version is None and requirement is not Requirement.ANY:
        numbers = ", ".join(f"v{number}" for number in sorted(revoked))
        return (
            f"is v{best.version.number} of {best.created.name}, but the same weights were revoked"
            f" there as {numbers}: name the version with --version if it is good all the same."
        )
    return None


def _show(ui: Ui, file: Path, manifest: Manifest, matches: Sequence[Identified]) -> None:
    """Print every version that has the file's weights, whose it is and how it stands."""
    ui.fields({"file": file, "weights": ui.short(manifest.weights)})
    for match in matches:
        ui.say("")
        validators = match.validated.validators if match.validated else ()
        ui.fields(
            {
                "model": f"{match.created.name} ({ui.short(match.model.id)})",
                "creator": match.created.creator,
                **({"forked from": match.origin} if match.origin else {}),
                "version": f"v{match.version.number}, {match.version.status.name.lower()}",
                "registrar": match.registered.registrar,
                "validator": ", ".join(validators) or "-",
            }
        )
        ui.say(match.standing())
        for reproach in match.reproaches:
            ui.say(f"Evidence: {reproach}", style="red")


def _as_data(match: Identified) -> dict[str, object]:
    """A version that has the weights, for machines."""
    return {
        "model": match.model.id,
        "name": match.created.name,
        "creator": match.created.creator,
        "version": match.version.number,
        "status": match.version.status.name,
        "registrar": match.registered.registrar,
        "validator": match.validated.validator if match.validated else None,
        "signers": list(match.validated.signers) if match.validated else [],
        "current": match.model.state.current,
        "on_active_line": match.on_active_line,
        "accuracy_ppm": match.version.accuracy,
        "sentence": match.standing(),
        "origin": origin_data(match.origin),
        "evidence": list(match.reproaches),
    }


def _unknown(
    ui: Ui,
    registry: ModelRegistry,
    named: NamedModel | None,
    version: int | None,
    manifest: Manifest,
    file: Path,
    artifacts: Path,
) -> NotVerified:
    """The refusal of a file that is no version: what it resembles, and what differs from that."""
    from ml.chain import events
    from ml.chain.verification import identify
    from ml.errors import NotVerified
    from ml.storage.model_files import ModelFiles
    from ml.storage.nearest import nearest

    model = named.id if named else None
    records = [
        record
        for record in events.registered(events.read(registry, model=model))
        if version in (None, record.version)
    ]
    wanted = f"v{version}" if version else "a version"
    what = f"{file} is not {wanted} of {named.name if named else 'any model here'}"
    likeness = nearest(
        ModelFiles(artifacts),
        manifest,
        [record.weights for record in records],
        of_one_model=named is not None,
    )
    data: dict[str, object] = {"verified": False, "weights": manifest.weights}
    if likeness is None:
        what += f", and resembles none whose manifest is below {artifacts}/."
        return NotVerified(what, data={**data, "nearest": None, "differences": []})
    near = identify(registry, likeness.weights, model=model, version=version)[0]
    differences = [str(difference) for difference in likeness.differences]
    for difference in differences[:_SHOWN_DIFFERENCES]:
        ui.say(f"  {difference}")
    if len(differences) > _SHOWN_DIFFERENCES:
        ui.say(f"  … and {len(differences) - _SHOWN_DIFFERENCES} more")
    count = len(differences)
    what += f": {count} {'entry differs' if count == 1 else 'entries differ'} from"
    what += f" v{near.version.number}"
    if named is None:
        what += f" of {near.created.name}"
    if count == 1:
        what += f" ({differences[0]})"
    return NotVerified(
        f"{what}.", data={**data, "nearest": _as_data(near), "differences": differences}
    )
