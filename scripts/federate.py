"""Train a model with many clients, and put every round on record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scripts._cli import Ui, command
from scripts._federated import (
    architecture_of,
    broker_options,
    registry_of,
    rule_of,
    rule_options,
    start_of,
)
from scripts._models import NewModel, open_or_create, policy_options
from scripts._stores import places_option, replicas_option

if TYPE_CHECKING:
    from ml.chain.registry import ModelRegistry
    from ml.chain.session import Session
    from ml.federated.local.running import Machine
    from ml.federated.local.setting_up import Plan
    from ml.federated.local.start import Start
    from ml.federated.run_configuration import RunConfiguration, RunValidator
    from ml.federated.run_folder import RunFolder


@command("ape run federate data/mnist --architecture 2nn --fraction 0.5 --rounds 10")
@click.argument(
    "data", type=click.Path(path_type=Path, exists=True, file_okay=False), required=False
)
@click.option("--model", help="Its name.  [default: DATASET-ARCHITECTURE-federated]")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Of the run.  [default: runs/MODEL]"
)
@click.option("--resume", is_flag=True, help="Go on with the run in the folder, as it was started.")
@click.option("--rounds", type=click.IntRange(1), help="Stop after so many, if not over before.")
@click.option(
    "--architecture",
    default="dense",
    show_default=True,
    help="dense, cnn, logistic, 2nn, fedavg-cnn (docs/federated.md), or a file of JSON.",
)
@click.option(
    "--fraction",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Of the active clients that take part in a round.",
)
@click.option("--epochs", type=click.IntRange(1), default=1, show_default=True, help="Of a client.")
@click.option("--batch-size", type=click.IntRange(1), default=10, show_default=True)
@click.option(
    "--learning-rate", type=click.FloatRange(0, min_open=True), default=0.1, show_default=True
)
@click.option(
    "--decay",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Of the learning rate, each round.",
)
@click.option(
    "--momentum",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Of a client's training.",
)
@click.option("--mu", type=click.FloatRange(0), default=0.0, show_default=True, help="FedProx.")
@click.option(
    "--local-validation",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Share of a client's samples that it does not train on.",
)
@click.option(
    "--dp-noise",
    type=click.FloatRange(0, min_open=True),
    help="Differential privacy: deviation of the noise, in clipping norms.",
)
@click.option("--dp-clip", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True)
@click.option(
    "--dp-delta",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=1e-5,
    show_default=True,
)
@rule_options
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--min-updates",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="That a round is aggregated with.",
)
@click.option(
    "--deadline",
    type=click.IntRange(1),
    metavar="SECONDS",
    help="How long a round waits.  [default: until all updates are in]",
)
@click.option("--exclude", is_flag=True, help="Exclude clients who made a version fail.")
@click.option(
    "--threshold",
    type=click.IntRange(0),
    default=5000,
    show_default=True,
    help="ppm that a round gains without a client, for it to be called a culprit.",
)
@click.option(
    "--min-clients",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="So many stay active.",
)
@policy_options
@click.option(
    "--validator",
    "validators",
    multiple=True,
    metavar="ACCOUNT",
    help="Who validates; more than once for a quorum, ADDRESS=KEY.pub for one elsewhere."
    "  [default on a dev chain: test:2, test:4 and so on]",
)
@click.option(
    "--clients",
    "cards",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Cards of clients on other machines.  [default: all run here]",
)
@click.option(
    "--workers",
    type=click.IntRange(0),
    help="Processes for clients here.  [default: one a core; none with --clients]",
)
@click.option(
    "--overlap/--no-overlap",
    default=False,
    show_default=True,
    help="Let clients train from a version already while it is validated.",
)
@broker_options
@places_option
@replicas_option
def cli(ui: Ui, data: Path | None, **options: Any) -> None:
    """Train on DATA, which `ape run prepare` divided among clients.

    Each round, some clients train on their own samples; what they send is signed, encrypted and
    stored; it is aggregated, stored, registered and validated, and the contract decides by the
    model's policy whether to go on, to go back or to end. `ape run replay` checks all of it again
    afterwards.

    Stopped at any time, it goes on with --resume, which needs to know --folder, --model or DATA.
    Where data, clients, validators, broker and stores are is remembered in the folder, readable by
    its owner alone; what is given again replaces it.
    """
    from ml.chain.records import Role
    from ml.federated.local import start as starting
    from ml.federated.local.running import federate
    from scripts._rounds import Watcher, show_outcome

    folder = _folder(data, options)
    start = start_of(folder, data, options)
    start.check_broker()
    with ui.connect(lasting=False) as session:
        trainer = ui.account(session, Role.TRAINER)
        if options["resume"]:
            run = folder.read()
            registry = registry_of(session, run)
        else:
            registry = session.registry()
            run = _begin(ui, session, registry, folder, start, options)
        machine = _machine(session, registry, run, folder, start)
        with Watcher(ui) as watcher:
            outcome = federate(
                folder,
                run,
                registry,
                machine,
                trainer=trainer,
                operator=ui.account(session, Role.OPERATOR),
                tell=watcher.tell,
                rounds=options["rounds"],
                started=lambda _: starting.keep(folder, start),
            )
        show_outcome(ui, run, registry, folder, outcome)


def _folder(data: Path | None, options: dict[str, Any]) -> RunFolder:
    """The run's folder, by what names it."""
    from ml.federated.run_folder import RunFolder

    if options["folder"]:
        return RunFolder(options["folder"])
    return RunFolder(Path("runs") / _model_name(data, options))


def _model_name(data: Path | None, options: dict[str, Any]) -> str:
    from ml.federated import prepared

    if options["model"]:
        return str(options["model"])
    if data is None:
        raise click.UsageError("DATA is missing; --resume needs it, --folder or --model.")
    return f"{prepared.read_metadata(data).dataset_name}-{options['architecture']}-federated"


def _begin(
    ui: Ui,
    session: Session,
    registry: ModelRegistry,
    folder: RunFolder,
    start: Start,
    options: dict[str, Any],
) -> RunConfiguration:
    from ml.chain.records import Role
    from ml.errors import ModelproofError
    from ml.federated import prepared
    from ml.federated.configuration import SERVICE_PATH
    from ml.federated.local import start as starting
    from ml.federated.local.setting_up import clients_from_cards, clients_here, set_up

    if folder.exists():
        raise ModelproofError(
            f"a run was begun in {folder.root}: go on with it by --resume, or name another"
            " --folder and --model."
        )
    data = Path(start.data)
    plan = _plan(prepared.read_metadata(data).dataset_name, options)
    test_set = prepared.read_service(data / SERVICE_PATH).test_dataset_root
    new = NewModel(test_set, options["preset"], options["limits"], None)
    with folder.locked():
        starting.keep(folder, start)
        cards = options["cards"]
        clients = clients_from_cards(cards) if cards else clients_here(folder, data)
        model = open_or_create(ui, session, registry, _model_name(data, options), new)
        quorum = registry.model(model.id).policy.quorum
        return set_up(
            folder,
            registry,
            session.provenance_log(),
            model,
            plan,
            data,
            clients,
            _validators(session, folder, start.validators, quorum),
            admin=ui.account(session, Role.ADMIN),
            trainer=ui.account(session, Role.TRAINER),
        )


def _plan(dataset: str, options: dict[str, Any]) -> Plan:
    from ml.federated.local.setting_up import Plan
    from ml.federated.run_configuration import DiagnosisSettings, LocalTraining, Privacy

    noise = options["dp_noise"]
    privacy = Privacy(noise, options["dp_clip"], options["dp_delta"]) if noise else None
    return Plan(
        architecture=architecture_of(dataset, options["architecture"]),
        local=LocalTraining(
            epochs=options["epochs"],
            batch_size=options["batch_size"],
            learning_rate=options["learning_rate"],
            decay=options["decay"],
            momentum=options["momentum"],
            mu=options["mu"],
            validation_share=options["local_validation"],
            privacy=privacy,
        ),
        rule=rule_of(
            options["rule"],
            options["server_momentum"],
            options["server_rate"],
            options["byzantine"],
            options["select"],
            options["clip_norm"],
        ),
        seed=options["seed"],
        fraction=options["fraction"],
        min_updates=options["min_updates"],
        deadline_s=options["deadline"],
        diagnosis=DiagnosisSettings(
            options["threshold"], options["exclude"], options["min_clients"]
        ),
    )


def _validators(
    session: Session, folder: RunFolder, named: tuple[str, ...], quorum: int
) -> list[RunValidator]:
    """Who validates: those named, or as many of a dev chain's accounts as have to agree."""
    from ml.federated.run_configuration import RunValidator
    from ml.storage.key_files import read_recipient
    from ml.storage.keys import PublicKey

    found = []
    for number, text in enumerate(_named_validators(session, named, quorum)):
        address, is_elsewhere, key_file = text.partition("=")
        if is_elsewhere:
            key = read_recipient(Path(key_file))
            if not isinstance(key, PublicKey):
                raise click.BadParameter(f"{key_file} is not an X25519 public key")
            found.append(RunValidator(session.address(address), key.raw))
        else:
            found.append(RunValidator(session.address(text), folder.validator_key(number).raw))
    return found


def _named_validators(session: Session, named: tuple[str, ...], quorum: int) -> tuple[str, ...]:
    from ml.errors import ModelproofError

    if named:
        return named
    if not session.is_development:
        raise ModelproofError("somebody has to validate: name an account with --validator.")
    return ("test:2", *(f"test:{number}" for number in range(4, 3 + quorum)))


def _machine(
    session: Session,
    registry: ModelRegistry,
    run: RunConfiguration,
    folder: RunFolder,
    start: Start,
) -> Machine:
    import os

    from ml.federated.local.process import Where
    from ml.federated.local.running import Machine

    named = _named_validators(session, start.validators, len(run.validators))
    return Machine(
        where=Where(
            folder=str(folder.root.absolute()),
            data=start.data,
            places=start.places,
            replicas=start.replicas,
            network=session.network_for_others,
            registry_block=registry.deployed_at,
            outbox=str((folder.root / "outbox").absolute()),
        ),
        queues=start.queues or "memory://",
        security=start.security,
        workers=(start.workers or os.cpu_count() or 1) if start.workers_here else 0,
        validators=[(at, text) for at, text in enumerate(named) if "=" not in text],
        overlaps=start.overlaps,
    )
