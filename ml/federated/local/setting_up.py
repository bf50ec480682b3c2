"""From a prepared data set to a training that can begin: who takes part, and what is on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ml import files
from ml.chain.models import NamedModel
from ml.chain.records import Role
from ml.chain.registry import ModelRegistry
from ml.errors import ModelproofError
from ml.federated import committing, prepared
from ml.federated.client import identity
from ml.federated.configuration import SERVICE_PATH
from ml.federated.robust import AnyRule
from ml.federated.run_configuration import (
    MAX_ON_CHAIN,
    DiagnosisSettings,
    LocalTraining,
    RunClient,
    RunConfiguration,
    RunValidator,
)
from ml.federated.run_folder import RunFolder
from ml.training import canonical
from ml.training.architectures import Architecture

if TYPE_CHECKING:
    from ape.api import AccountAPI

    from ml.chain.provenance_log import ProvenanceLog


@dataclass(frozen=True, slots=True)
class Plan:
    """What an operator chooses of a training."""

    architecture: Architecture
    local: LocalTraining
    rule: AnyRule
    seed: int
    fraction: float
    min_updates: int
    deadline_s: int | None
    diagnosis: DiagnosisSettings


def clients_here(folder: RunFolder, data: Path) -> tuple[RunClient, ...]:
    """Clients that all run on this machine, with identities that are made where there are none.

    Args:
        folder: of the run
        data: the folder of the prepared data set
    """
    splits = prepared.read_metadata(data).client_splits
    with folder.making() as making:
        for split in splits:
            place = identity.folder_of(folder.clients, split.client_id)
            if not place.exists():
                made = identity.read_or_make(making, split.client_id)
                place.parent.mkdir(exist_ok=True)
                made.folder.rename(place)
    for parent in (folder.clients, folder.root):
        files.sync_folder(parent)
    return tuple(
        identity.read_or_make(folder.clients, split.client_id).described(
            split.samples, split.dataset_root
        )
        for split in splits
    )


def clients_from_cards(cards: Path) -> tuple[RunClient, ...]:
    """Clients of other machines, by the cards that they gave: files that `write_card` wrote.

    Raises:
        ModelproofError: there are none, or one cannot be read.
    """
    found = [_read_card(path) for path in sorted(cards.glob("*.json"))]
    if not found:
        raise ModelproofError(f"{cards} has no card of a client: `ape run worker card` makes one.")
    return tuple(sorted(found, key=lambda client: client.index))


def write_card(client: RunClient, path: Path) -> None:
    """Write what an operator needs to know of a client; nothing in it is secret.

    Raises:
        ModelproofError: it cannot be written.
    """
    try:
        path.write_text(canonical.dump(client))
    except OSError as error:
        raise ModelproofError(f"{path} cannot be written: {error.strerror}.") from None


def set_up(
    folder: RunFolder,
    registry: ModelRegistry,
    log: ProvenanceLog,
    model: NamedModel,
    plan: Plan,
    data: Path,
    clients: Sequence[RunClient],
    validators: Sequence[RunValidator],
    *,
    admin: AccountAPI,
    trainer: AccountAPI,
) -> RunConfiguration:
    """Put on record who takes part and what they will be judged by, and write the run down.

    What is on record is not sent again; until the run's file is there, nothing has begun.

    Args:
        folder: of the run, where none was begun
        registry: where the model is
        log: where the roots of the validation part and the holdout are recorded
        model: that is trained, created for the validation part
        plan: what was chosen
        data: the folder of the prepared data set
        clients: in the order of their indices
        validators: who measures
        admin: enrols clients, and lets validators validate
        trainer: records the roots

    Raises:
        ContractRefused: an account lacks a role.
        ModelproofError: the parts do not fit together, or an index is another client's.
    """
    # the clients' files may be elsewhere, and the holdout is not opened before the end
    service = prepared.read_service(data / SERVICE_PATH)
    metadata = prepared.check_files(data, (SERVICE_PATH, service.test_dataset_path))
    run = RunConfiguration(
        model=model.id,
        name=model.name,
        chain_id=registry.chain_id,
        registry=registry.address,
        dataset_name=metadata.dataset_name,
        dataset_version=metadata.dataset_version,
        class_names=metadata.class_names,
        test_set=service.test_dataset_root,
        holdout=service.holdout_root,
        architecture=plan.architecture,
        local=plan.local,
        rule=plan.rule,
        seed=plan.seed,
        fraction=plan.fraction,
        min_updates=plan.min_updates,
        deadline_s=plan.deadline_s,
        diagnosis=plan.diagnosis,
        coordinator=folder.coordinator_key().raw,
        clients=tuple(clients),
        validators=tuple(validators),
    )
    if plan.architecture.input_shape != metadata.input_shape:
        raise ModelproofError(
            f"the network takes samples of shape {plan.architecture.input_shape}, and those of"
            f" {metadata.dataset_name} have {metadata.input_shape}: choose another --architecture."
        )
    committing.commit(log, service, sender=trainer)
    _enrol(registry, run, admin)
    for validator in validators:
        if not registry.has_role(model.id, Role.VALIDATOR, validator.address):
            registry.grant_role(model.id, Role.VALIDATOR, validator.address, sender=admin)
    folder.write(run)
    return run


def _enrol(registry: ModelRegistry, run: RunConfiguration, admin: AccountAPI) -> None:
    """Enrol the clients that are not, if they are not too many to be."""
    if not run.is_enrolled:
        return
    missing: dict[int, tuple[str, bytes]] = {}
    for client in run.clients:
        if client.index >= MAX_ON_CHAIN:
            raise ModelproofError(f"client {client.index} cannot be enrolled: 0 to 255 can.")
        enrolled = registry.client(run.model, client.index)
        if enrolled is None:
            missing[client.index] = (client.address, client.dataset_root)
        elif enrolled != client.address:
            raise ModelproofError(
                f"{run.name} has {enrolled} as its client {client.index}, for good: train another"
                " --model, or with the clients that it has."
            )
    registry.enrol_clients(run.model, missing, sender=admin)


def _read_card(path: Path) -> RunClient:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelproofError(f"{path} cannot be read: {error.strerror}.") from None
    return canonical.load(RunClient, data, str(path))
