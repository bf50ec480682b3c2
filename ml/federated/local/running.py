"""Running a training from this machine: the coordinator here, the others where they are."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ml.chain.records import Model
from ml.chain.registry import ModelRegistry
from ml.federated import prepared
from ml.federated.chain_view import ChainView
from ml.federated.configuration import SERVICE_PATH
from ml.federated.coordinator import completion
from ml.federated.coordinator.bases import Bases
from ml.federated.coordinator.context import Context
from ml.federated.coordinator.coordinator import Coordinator
from ml.federated.coordinator.journal import RunJournal
from ml.federated.coordinator.news import RoundOver, Tell
from ml.federated.coordinator.post import Post
from ml.federated.objects import RUN_FORMAT, Objects
from ml.federated.run_configuration import RunConfiguration
from ml.federated.run_folder import RunFolder
from ml.federated.tasks import FinalModelInfo
from ml.federated.transport import QueueNames, Transport, broker
from ml.federated.transport.security import BY_DEFAULT, Security
from ml.storage.key_files import keys_in_environment
from ml.storage.places import Places
from ml.storage.replicas import Policy
from ml.training.environment import describe_environment

from .process import Where
from .processes import Processes

if TYPE_CHECKING:
    from ape.api import AccountAPI


@dataclass(frozen=True, slots=True)
class Machine:
    """What of a training runs on this machine, besides its coordinator."""

    where: Where
    queues: str
    """``memory://``, or the URL of a broker."""
    workers: int
    """Processes that do the work of all clients; 0 where they run elsewhere."""
    validators: Sequence[tuple[int, str]]
    """Number, among the run's, and account of each that runs here."""
    security: Security = BY_DEFAULT
    """How the connections to a broker are kept from others."""
    overlaps: bool = False
    """Whether clients train from a version already while it is validated."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What running a training came to."""

    model: Model
    rounds: list[RoundOver]
    final: FinalModelInfo | None
    """None while training is not over."""
    refused_updates: int
    bytes_stored: int
    """Of all versions with what describes them, without the updates."""


def federate(
    folder: RunFolder,
    run: RunConfiguration,
    registry: ModelRegistry,
    machine: Machine,
    *,
    trainer: AccountAPI,
    operator: AccountAPI,
    tell: Tell,
    rounds: int | None = None,
    started: Callable[[Processes], None] = lambda _: None,
) -> Outcome:
    """Run a training until it is over, or for some rounds; or go on with one.

    Args:
        folder: of the run
        run: its configuration
        registry: where its model is
        machine: what runs here
        trainer: registers versions
        operator: excludes clients
        tell: told what happens
        rounds: after so many versions it stops
        started: told of the processes, once the broker is reached and they are there

    Raises:
        ModelproofError: a store, the broker, a node or a process cannot be used, an account lacks a
            role, or a round cannot be finished; running again goes on from there.
    """
    data = Path(machine.where.data)
    with contextlib.ExitStack() as stack:
        stack.enter_context(folder.locked())
        queues = (machine.queues, machine.security)
        transport = stack.enter_context(contextlib.closing(broker.connect(*queues)))
        processes = stack.enter_context(Processes(machine.where, *queues))
        processes.start_workers(machine.workers, [client.index for client in run.clients])
        for number, account in machine.validators:
            processes.start_validator(number, account)
        started(processes)
        journal = RunJournal(folder.journal_path, run.digest)
        stack.callback(journal.close)
        context = _context(
            folder,
            run,
            registry,
            machine,
            journal,
            processes.watched(transport),
            trainer,
            operator,
            tell,
        )
        stack.callback(context.keeping.shutdown)
        model = Coordinator(context).run(rounds)
        final = None
        if model.state.completed:
            holdout = data / SERVICE_PATH
            final = completion.finish(context, model, lambda: prepared.read_holdout(holdout))
            folder.report(final)
        return Outcome(
            model, journal.reports(), final, len(journal.refusals()), journal.bytes_stored()
        )


def _context(
    folder: RunFolder,
    run: RunConfiguration,
    registry: ModelRegistry,
    machine: Machine,
    journal: RunJournal,
    transport: Transport,
    trainer: AccountAPI,
    operator: AccountAPI,
    tell: Tell,
) -> Context:
    where = machine.where
    places = Places(where.places, Policy.parse(where.replicas))
    keys = [folder.coordinator_key(), *keys_in_environment(os.environ)]
    objects, chain = Objects(places, keys), ChainView(registry, run.model)
    received = Objects(places, [folder.coordinator_key()])
    run_cid = journal.run_cid
    if run_cid is None:
        kept = objects.put(run.to_json().encode(), RUN_FORMAT, objects.keys)
        run_cid = str(kept.stored.cid)
        journal.store_run(run_cid)
    return Context(
        run=run,
        run_cid=run_cid,
        chain=chain,
        objects=objects,
        received=received,
        journal=journal,
        post=Post(transport, QueueNames(run.model), journal, tell),
        bases=Bases(run, chain, objects, journal),
        validation=prepared.read_validation(Path(where.data) / SERVICE_PATH),
        trainer=trainer,
        operator=operator,
        environment=describe_environment(threads=1),
        tell=tell,
        overlaps=machine.overlaps,
    )
