"""A process of its own for clients, or for a validator, on the machine of the coordinator.

``python -m ml.federated.local.process SETTINGS``, as `processes` starts it; its queues are those of
the process that started it.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ape.logging import logger as ape_logger

from ml.chain.outbox.opening import FOLDER_VARIABLE
from ml.chain.records import Role
from ml.chain.session import Session, connect
from ml.chain.signed_before import SignedBefore
from ml.errors import ModelproofError
from ml.federated import prepared, run_configuration
from ml.federated.chain_view import ChainView
from ml.federated.client import identity
from ml.federated.client.serving import serve as serve_clients
from ml.federated.client.worker import LocalClient, Worker
from ml.federated.configuration import SERVICE_PATH, client_configuration_path
from ml.federated.objects import Objects
from ml.federated.run_configuration import RunConfiguration
from ml.federated.run_folder import RunFolder
from ml.federated.transport import QueueNames, Transport, child
from ml.federated.validator.process import serve as serve_validator
from ml.federated.validator.validator import Validator
from ml.storage.places import Places
from ml.storage.replicas import Policy
from ml.training import canonical


@dataclass(frozen=True, slots=True)
class Where:
    """Where a training's chain, stores and files are."""

    folder: str
    """Of the run."""
    data: str
    """The folder of the prepared data set."""
    places: tuple[str, ...]
    replicas: str
    network: str
    registry_block: int
    """That the registry's events begin at."""
    outbox: str
    """The folder of what is sent by a process of its own."""


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """What one process does."""

    where: Where
    clients: tuple[int, ...] = ()
    """Whose work it does."""
    validator: int = 0
    """Which validator it is."""
    account: str = ""
    """The validator's, by its alias."""
    kind: Literal["clients", "validator"] = "clients"


def main(path: Path) -> int:
    """Work until training is over, or the parent process is gone; returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    ape_logger.set_level("ERROR")
    settings = canonical.load(ProcessSettings, path.read_bytes(), str(path))
    transport = child.to_parent()
    where = settings.where
    os.environ[FOLDER_VARIABLE] = where.outbox
    folder = RunFolder(Path(where.folder))
    try:
        run = run_configuration.read(folder.run_path)
        with connect(where.network) as session:
            registry = session.registry_at(run.registry, where.registry_block)
            chain = ChainView(registry, run.model)
            if settings.kind == "clients":
                _work(settings, run, chain, folder, transport)
            else:
                _validate(settings, run, chain, folder, transport, session)
    except ModelproofError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        transport.close()
    return 0


def _work(
    settings: ProcessSettings,
    run: RunConfiguration,
    chain: ChainView,
    folder: RunFolder,
    transport: Transport,
) -> None:
    data = Path(settings.where.data)
    clients = [
        LocalClient(identity.read(folder.clients, index), data / client_configuration_path(index))
        for index in settings.clients
    ]
    serve_clients(Worker(run, chain, _places(settings), clients), transport)


def _validate(
    settings: ProcessSettings,
    run: RunConfiguration,
    chain: ChainView,
    folder: RunFolder,
    transport: Transport,
    session: Session,
) -> None:
    part = prepared.read_validation(Path(settings.where.data) / SERVICE_PATH)
    objects = Objects(_places(settings), [folder.validator_key(settings.validator)])
    account = session.account(settings.account, Role.VALIDATOR)
    before = SignedBefore(folder.root / "signatures")
    validator = Validator(run, chain, objects, part, account, before)
    serve_validator(validator, transport, QueueNames(run.model))


def _places(settings: ProcessSettings) -> Places:
    return Places(settings.where.places, Policy.parse(settings.where.replicas))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
