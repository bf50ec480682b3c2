"""Validate the versions of a federated training."""

from __future__ import annotations

from pathlib import Path

import click

from scripts._cli import Ui, command
from scripts._federated import broker_options, digest_of, registry_of, run_digest_option
from scripts._stores import open_places, places_option


@command("ape run validator runs/mnist/run.json data/mnist --key validator.key")
@click.argument("run_file", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    required=True,
    help="The X25519 private key whose public half the run names (`ape run keys generate`).",
)
@click.option(
    "--signatures",
    type=click.Path(path_type=Path),
    default=Path("signatures"),
    show_default=True,
    help="Where it is kept what was signed, so that nothing is signed that contradicts it.",
)
@run_digest_option
@broker_options
@places_option
def cli(
    ui: Ui,
    run_file: Path,
    data: Path,
    key: Path,
    signatures: Path,
    run_sha256: str | None,
    queues: str | None,
    broker_ca: Path | None,
    broker_in_clear: bool,
    places: tuple[str, ...],
) -> None:
    """Measure each version of RUN on the validation part in DATA, and say on chain how good it is.

    DATA is what `ape run prepare` made; the root of its validation part has to be the one that the
    model was created for. Acts from --account, which has to be one of the run's validators.
    """
    import contextlib

    from ml.chain.records import Role
    from ml.chain.signed_before import SignedBefore
    from ml.errors import ModelproofError
    from ml.federated import prepared, run_configuration
    from ml.federated.chain_view import ChainView
    from ml.federated.configuration import SERVICE_PATH
    from ml.federated.objects import Objects
    from ml.federated.transport import QueueNames, address, broker
    from ml.federated.transport.security import Security
    from ml.federated.validator.process import serve
    from ml.federated.validator.validator import Validator
    from ml.storage.key_files import read_key

    if not queues:
        raise ModelproofError("a validator of its own needs --broker, to be asked by.")
    security = Security(broker_ca, broker_in_clear)
    address.parse(queues, security)
    run = run_configuration.read(run_file, digest_of(run_sha256))
    part = prepared.read_validation(data / SERVICE_PATH)
    objects = Objects(open_places(places), [read_key(key)])
    with ui.connect() as session:
        chain = ChainView(registry_of(session, run), run.model)
        account = ui.account(session, Role.VALIDATOR)
        validator = Validator(run, chain, objects, part, account, SignedBefore(signatures))
        with contextlib.closing(broker.connect(queues, security)) as transport:
            ui.note(f"Waiting for versions of {run.name}: Ctrl-C stops this.")
            serve(
                validator,
                transport,
                QueueNames(run.model),
                tell=lambda task, answer: ui.say(
                    f"v{task.model_version_id}: {type(answer).__name__.removesuffix('Task')}"
                ),
            )
    ui.say(f"Training of {run.name} is over.")
    ui.result({"model": run.name, "validator": validator.address})
