"""Do the work of a federated training's clients on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scripts._cli import Ui, command, command_group
from scripts._federated import broker_options, digest_of, registry_of, run_digest_option
from scripts._stores import open_places, places_option

if TYPE_CHECKING:
    from ape.api import AccountAPI

_clients_folder = click.option(
    "--clients",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("clients"),
    show_default=True,
    help="Where the clients' identities are.",
)


@command_group("ape run worker run --help")
def cli() -> None:
    """Join a federated training with data of your own, and train when asked."""


@command("ape run worker card data/mnist/config/client_3_config.json", "card", cli)
@click.argument("configuration", type=click.Path(path_type=Path))
@_clients_folder
@click.option("--output", type=click.Path(path_type=Path), help="[default: client_N.json]")
@click.option("--alias", metavar="ALIAS", help="Sign with this account of Ape's keystore.")
def card(ui: Ui, configuration: Path, folder: Path, output: Path | None, alias: str | None) -> None:
    """Make a client's identity, and a card that tells an operator of it.

    CONFIGURATION is the client's, as `ape run prepare` wrote it. The card has its address, its
    X25519 public key, and the root of its data: give it to whoever runs `ape run federate
    --clients`. The identity stays here.
    """
    from ml.federated import prepared
    from ml.federated.client import identity
    from ml.federated.local.setting_up import write_card

    data = prepared.read_client(configuration)
    known = data.configuration
    made = identity.read_or_make(folder, known.client_id, _account(ui, alias))
    described = made.described(known.dataset_size, known.dataset_root)
    path = output or Path(f"client_{known.client_id}.json")
    write_card(described, path)
    ui.fields({"client": described.index, "address": described.address, "card": path})
    ui.result({"client": described.index, "address": described.address, "card": path})


@command("ape run worker run runs/mnist/run.json config/client_3_config.json", "run", cli)
@click.argument("run_file", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("configurations", type=click.Path(path_type=Path), nargs=-1, required=True)
@_clients_folder
@click.option("--alias", metavar="ALIAS", help="Sign with this account of Ape's keystore.")
@run_digest_option
@broker_options
@places_option
def run(
    ui: Ui,
    run_file: Path,
    configurations: tuple[Path, ...],
    folder: Path,
    alias: str | None,
    run_sha256: str | None,
    queues: str | None,
    broker_ca: Path | None,
    broker_in_clear: bool,
    places: tuple[str, ...],
) -> None:
    """Train for the clients of CONFIGURATIONS whenever the coordinator of RUN asks, until its end.

    Only the clients' own samples are read. What a task says is checked against the chain; weights
    are used once they have the identity that is on record there.
    """
    import contextlib

    from ml.errors import ModelproofError
    from ml.federated import prepared, run_configuration
    from ml.federated.chain_view import ChainView
    from ml.federated.client import identity
    from ml.federated.client.serving import serve
    from ml.federated.client.worker import LocalClient, Worker
    from ml.federated.transport import address, broker
    from ml.federated.transport.security import Security

    if not queues:
        raise ModelproofError("a worker of its own needs --broker, to be asked by.")
    security = Security(broker_ca, broker_in_clear)
    address.parse(queues, security)
    known = run_configuration.read(run_file, digest_of(run_sha256))
    account = _account(ui, alias)
    clients = []
    for path in configurations:
        index = prepared.read_client(path).configuration.client_id
        clients.append(LocalClient(identity.read(folder, index, account), path))
    with ui.connect() as session:
        chain = ChainView(registry_of(session, known), known.model)
        worker = Worker(known, chain, open_places(places), clients)
        with contextlib.closing(broker.connect(queues, security)) as transport:
            ui.note(f"Waiting for tasks of {known.name}: Ctrl-C stops this.")
            serve(worker, transport)
    ui.say(f"Training of {known.name} is over.")
    ui.result({"model": known.name, "clients": [one.identity.index for one in clients]})


def _account(ui: Ui, alias: str | None) -> AccountAPI | None:
    """The account of Ape's keystore that an alias means, unlocked; None for a file's key."""
    from ml.chain.records import Role

    if alias is None:
        return None
    with ui.connect() as session:
        return session.account(alias, Role.NONE)
