"""What the commands of federated training share: options that say how it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ml.errors import ModelproofError

if TYPE_CHECKING:
    from ml.chain.registry import ModelRegistry
    from ml.chain.session import Session
    from ml.federated.local.start import Start
    from ml.federated.robust import AnyRule, UnclippedRule
    from ml.federated.run_configuration import RunConfiguration
    from ml.federated.run_folder import RunFolder
    from ml.training.architectures import Architecture

RULES = ("fedavg", "fedavgm", "fedadam", "median", "trimmed-mean", "krum")

run_digest_option = click.option(
    "--run-sha256", metavar="DIGEST", help="That RUN must have, as you were told by another way."
)


def broker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which broker carries the messages, and who may listen."""
    for option in (
        click.option(
            "--broker-in-clear",
            is_flag=True,
            envvar="MODELPROOF_BROKER_IN_CLEAR",
            show_envvar=True,
            help="Let a password go to another machine unencrypted, by amqp:// without s.",
        ),
        click.option(
            "--broker-ca",
            type=click.Path(path_type=Path),
            envvar="MODELPROOF_BROKER_CA",
            show_envvar=True,
            metavar="FILE",
            help="PEM of the authority of the broker's certificate.  [default: the system's]",
        ),
        click.option(
            "--broker",
            "queues",
            envvar="MODELPROOF_BROKER",
            show_envvar=True,
            metavar="URL",
            help="RabbitMQ, as amqps://user:password@host/, where some run on other machines.",
        ),
    ):
        command = option(command)
    return command


def digest_of(text: str | None) -> bytes | None:
    """The SHA-256 that an option says, if it does.

    Raises:
        ModelproofError: it is none.
    """
    if text is None:
        return None
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise ModelproofError(f"{text} is not a SHA-256 in hexadecimal digits.") from None


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how updates are aggregated."""
    for option in (
        click.option(
            "--rule",
            type=click.Choice(RULES),
            default="fedavg",
            show_default=True,
            help="How updates become one model (docs/federated.md).",
        ),
        click.option(
            "--server-momentum",
            type=click.FloatRange(0, 1, max_open=True),
            default=0.9,
            show_default=True,
            help="Of fedavgm.",
        ),
        click.option(
            "--server-rate",
            type=click.FloatRange(0, min_open=True),
            help="Learning rate of fedavgm and fedadam.  [default: 1, or 0.01]",
        ),
        click.option(
            "--byzantine",
            type=click.IntRange(0),
            default=1,
            show_default=True,
            help="Clients that krum and trimmed-mean tolerate.",
        ),
        click.option(
            "--select",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            help="Updates that krum averages: several make it multi-Krum.",
        ),
        click.option(
            "--clip-norm",
            type=click.FloatRange(0, min_open=True),
            help="Bring each update within this distance of the base first.",
        ),
    ):
        command = option(command)
    return command


def rule_of(
    rule: str,
    server_momentum: float,
    server_rate: float | None,
    byzantine: int,
    select: int,
    clip_norm: float | None,
) -> AnyRule:
    """The rule that the options say."""
    from ml.federated.aggregation import FedAvg
    from ml.federated.robust import CoordinateMedian, Krum, NormClipped, TrimmedMean
    from ml.federated.server_optimizers import FedAdam, FedAvgM

    made: dict[str, Callable[[], UnclippedRule]] = {
        "fedavg": FedAvg,
        "fedavgm": lambda: FedAvgM(server_momentum, server_rate or 1.0),
        "fedadam": lambda: FedAdam(server_rate or 0.01),
        "median": CoordinateMedian,
        "trimmed-mean": lambda: TrimmedMean(byzantine),
        "krum": lambda: Krum(byzantine, select),
    }
    chosen = made[rule]()
    return chosen if clip_norm is None else NormClipped(clip_norm, chosen)


def architecture_of(dataset: str, text: str) -> Architecture:
    """The network that ``text`` means for a data set: a recipe's name, or a file of canonical JSON.

    Raises:
        ModelproofError: there is no such recipe, and no such file.
    """
    from ml.training import canonical
    from ml.training.architectures import Architecture
    from ml.training.recipes import federated_architecture

    path = Path(text)
    if path.suffix == ".json":
        try:
            return canonical.load(Architecture, path.read_bytes(), text)
        except OSError as error:
            raise ModelproofError(f"{text} cannot be read: {error.strerror}.") from None
    return federated_architecture(dataset, text)


def registry_of(session: Session, run: RunConfiguration) -> ModelRegistry:
    """The registry that a run is on, which has to be the one on record for this chain.

    Raises:
        ModelproofError: the chain is another, or the registry is.
    """
    registry = session.registry()
    if (session.chain_id, registry.address) != (run.chain_id, run.registry):
        raise ModelproofError(
            f"the run of {run.name} is on registry {run.registry} of chain {run.chain_id}, and"
            f" this is {registry.address} of chain {session.chain_id}: name its --network."
        )
    return registry


def start_of(folder: RunFolder, data: Path | None, options: Mapping[str, Any]) -> Start:
    """How to start a training: by its options; gone on with, as it was started but for those given.

    Raises:
        ModelproofError: nothing was begun that could be gone on with, how it was started cannot be
            read, or clients on other machines cannot be asked.
        UsageError: it is not said where the data is.
    """
    from dataclasses import replace

    from ml.federated.local import start as starting

    told = {
        "are_clients_elsewhere": ("cards", options["cards"] is not None),
        "workers": ("workers", options["workers"]),
        "validators": ("validators", options["validators"]),
        "queues": ("queues", options["queues"]),
        "broker_ca": ("broker_ca", _absolute_file(options["broker_ca"])),
        "is_clear_meant": ("broker_in_clear", options["broker_in_clear"]),
        "places": ("places", tuple(_absolute(place) for place in options["places"])),
        "replicas": ("replicas", options["replicas"]),
        "overlaps": ("overlap", options["overlap"]),
    }
    here: dict[str, Any] = {} if data is None else {"data": str(data.absolute())}
    if options["resume"]:
        folder.read()
        before = starting.read(folder)
        if before is not None:
            given = {field: value for field, (option, value) in told.items() if _is_given(option)}
            if "queues" in given:  # what was meant for one broker is not meant for another
                given.setdefault("is_clear_meant", False)
            return replace(before, **here, **given)
    if data is None:
        raise click.UsageError(f"DATA is missing, and {folder.root} does not say where it is.")
    return starting.Start(**here, **{field: value for field, (_, value) in told.items()})


def _is_given(option: str) -> bool:
    """Whether an option of this command was typed, or its variable of the environment is set."""
    source = click.get_current_context().get_parameter_source(option)
    return source in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)


def _absolute_file(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _absolute(place: str) -> str:
    return place if place.startswith("ipfs:") else str(Path(place).absolute())
