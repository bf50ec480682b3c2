"""Validate a version of a model that waits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scripts._cli import Ui, command
from scripts._samples import prepared_option, test_set
from scripts._stores import Storing, fetched_from
from scripts._versions import show_version

if TYPE_CHECKING:
    from ape.api import AccountAPI

    from ml.chain.models import NamedModel
    from ml.chain.publishing import Pending
    from ml.chain.quorum import Measured
    from ml.chain.registry import ModelRegistry
    from ml.chain.session import Session
    from ml.storage.model_files import ModelFiles
    from ml.training.archive import Fetch
    from ml.training.reported import ReportedMetrics


@command("ape run validate mine --metrics metrics.json")
@click.argument("model")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--version", type=click.IntRange(1), help="The version that must be waiting.")
@click.option(
    "--metrics",
    type=click.Path(path_type=Path),
    help="JSON file with accuracy_ppm (or correct and total, or accuracy), measured elsewhere."
    "  [default: measured here]",
)
@click.option("--reject", is_flag=True, help="Refuse it on other grounds than its accuracy.")
@click.option("--sign", is_flag=True, help="Sign, for a quorum of validators; send nothing.")
@click.option("--submit", is_flag=True, help="Send what validators signed: one of FILES each.")
@click.option(
    "--deadline-hours",
    type=click.IntRange(1, 8760),
    default=24,
    show_default=True,
    help="With --sign: good for this long at least, and for at most twice as long.",
)
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
    files: tuple[Path, ...],
    version: int | None,
    metrics: Path | None,
    reject: bool,
    sign: bool,
    submit: bool,
    deadline_hours: int,
    data: Path | None,
    prepared: Path | None,
    artifacts: Path,
    storing: Storing,
) -> None:
    """Validate a version of MODEL that waits, and let the policy decide. VALIDATOR.

    Measured here, the file is verified first and the test set must be the committed one. With
    --metrics, you state that you measured it on the committed test set.

    Where the policy asks for several validators, each signs with --sign on a machine of their own,
    and anyone sends what they signed with --submit (docs/quorum.md).
    """
    from ml.chain import models, publishing, quorum
    from ml.chain.records import Role
    from ml.storage.model_files import ModelFiles
    from ml.training.reported import read_metrics

    _check_usage(files, sign=sign, submit=submit, measured=bool(metrics or reject))
    reported = read_metrics(metrics) if metrics else None
    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        waiting = publishing.pending(registry, named, version)
        if submit:
            _submit(ui, session, registry, named, waiting, files)
            return
        validator = ui.account(session, Role.VALIDATOR)  # all is checked before any work is done
        quorum.check_validator(registry, waiting.model, validator.address)
        if not sign:
            publishing.check_single(waiting.model, named.name)
        kept = ModelFiles(artifacts)
        fetch = storing.fetch(registry, kept)
        measured = _measured(named, waiting, reported, reject, sign, data, prepared, kept, fetch)
        if sign:
            _sign(ui, registry, waiting, measured, deadline_hours, validator)
        else:
            _validate(ui, registry, named, waiting, measured, validator)


def _check_usage(files: tuple[Path, ...], *, sign: bool, submit: bool, measured: bool) -> None:
    from ml.errors import ModelproofError

    if sign and submit:
        raise ModelproofError("say either --sign or --submit: first all sign, then one submits.")
    if submit and not files:
        raise ModelproofError("say which files to submit: one of each validator.")
    if files and not submit:
        raise ModelproofError("files are for --submit alone.")
    if submit and measured:
        raise ModelproofError("what the validators signed is submitted as it is: nothing else.")


def _measured(
    named: NamedModel,
    waiting: Pending,
    reported: ReportedMetrics | None,
    reject: bool,
    sign: bool,
    data: Path | None,
    prepared: Path | None,
    kept: ModelFiles,
    fetch: Fetch | None,
) -> Measured:
    """What was found out about a version, here or elsewhere."""
    from ml.chain.quorum import Measured
    from ml.training import versions

    if reported is not None:
        accuracies = (reported.accuracy_ppm, reported.training_accuracy_ppm)
        return Measured(*accuracies, reported.text, accepted=not reject)
    samples = test_set(prepared) or versions.dataset_of(waiting, named.name, data).test_part
    found = versions.evaluate_waiting(named, kept, waiting, samples, fetch)
    text = found.metrics.counted() if sign else found.metrics.summary()
    accuracies = (found.metrics.accuracy_ppm, found.training_accuracy_ppm)
    return Measured(*accuracies, text, accepted=not reject)


def _validate(
    ui: Ui,
    registry: ModelRegistry,
    named: NamedModel,
    waiting: Pending,
    measured: Measured,
    validator: AccountAPI,
) -> None:
    from ml.chain import publishing

    validation = publishing.validate(
        registry,
        waiting,
        measured.accuracy,
        measured.training_accuracy,
        measured.metrics,
        accepted=measured.accepted,
        sender=validator,
    )
    ui.say(validation.sentence)
    number = waiting.registered.version
    show_version(ui, registry, named, number, {"sentence": validation.sentence})


def _sign(
    ui: Ui,
    registry: ModelRegistry,
    waiting: Pending,
    measured: Measured,
    hours: int,
    validator: AccountAPI,
) -> None:
    from ml.chain import quorum
    from ml.chain.signed_before import SignedBefore, default_folder
    from ml.chain.types import format_ppm, format_time

    registered = registry.block_time(waiting.registered.block)
    deadline = quorum.deadline_after(registered, quorum.current_time(registry), hours)
    signed, path = quorum.sign_evaluation(
        registry,
        waiting,
        measured,
        deadline,
        SignedBefore(default_folder()),
        signer=validator,
    )
    accuracy = f"{format_ppm(measured.accuracy)} %"
    ui.fields(
        {
            "version": f"v{signed.evaluation.version}",
            "accuracy": accuracy if measured.accepted else f"{accuracy}, not accepted",
            "metrics": signed.metrics,
            "good until": format_time(deadline),
            "signer": signed.signer,
            "file": path,
        }
    )
    ui.result(
        {
            "model": signed.model,
            "version": signed.evaluation.version,
            "accuracy_ppm": measured.accuracy,
            "accepted": measured.accepted,
            "metrics": signed.metrics,
            "deadline": deadline,
            "signer": signed.signer,
            "file": path,
        }
    )


def _submit(
    ui: Ui,
    session: Session,
    registry: ModelRegistry,
    named: NamedModel,
    waiting: Pending,
    files: tuple[Path, ...],
) -> None:
    from ml.chain import quorum
    from ml.chain.records import Role
    from ml.chain.signed_files import read_evaluation

    given = {path: read_evaluation(path) for path in files}
    signed = quorum.gather(registry, waiting, given, quorum.current_time(registry))
    sender = ui.account(session, Role.VALIDATOR)
    validation = quorum.submit(registry, waiting, signed, sender=sender)
    ui.say(validation.sentence)
    for file in signed:
        ui.say(f"Signed by {file.signer}")
    if len(given) > len(signed):
        ui.note(f"The policy asks for {len(signed)} validators, so the others were left out.")
    more = {"sentence": validation.sentence, "signers": [file.signer for file in signed]}
    show_version(ui, registry, named, waiting.registered.version, more)
