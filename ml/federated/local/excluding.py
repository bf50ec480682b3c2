"""The clients of a run that has more than the chain can name: excluded and taken back by hand.

Such clients are not enrolled, so what the contract does for others is in the journal of their run.
A coordinator that is at work meanwhile reads it before each round, while it waits, and with each
update that comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ml.chain.models import NamedModel
from ml.errors import ModelproofError
from ml.federated.coordinator.journal import RunJournal
from ml.federated.enrolments import Standing
from ml.federated.run_configuration import RunConfiguration
from ml.federated.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class UnenrolledRun:
    """A run whose clients are not enrolled on chain."""

    folder: RunFolder
    run: RunConfiguration

    def standings(self) -> list[Standing]:
        """The clients in the order of their indices.

        Raises:
            RunJournalError: the journal cannot be used.
        """
        if not self.folder.journal_path.exists():
            excluded, last = set[int](), dict[int, tuple[str, str]]()
        else:
            with self._journal() as journal:
                excluded, last = journal.excluded(), journal.standings()
        return [
            Standing(
                client.index,
                client.address,
                client.dataset_root,
                client.index not in excluded,
                *last.get(client.index, ("", "")),
            )
            for client in self.run.clients
        ]

    def exclude(self, index: int, reason: str, who: str) -> None:
        """Ask a client for no more updates; one that was taken already goes in still.

        Raises:
            ModelproofError: there is no such client, it is excluded, or the run's minimum of
                clients would not stay active.
            RunJournalError: the journal cannot be used.
        """
        self._check_known(index)
        least = self.run.diagnosis.min_clients
        with self._journal() as journal:
            if journal.exclude(index, reason, who, len(self.run.clients) - least):
                return
            if index in journal.excluded():
                raise ModelproofError(f"client {index} of {self.run.name} is excluded already.")
        raise ModelproofError(
            f"without client {index}, fewer than {least} clients of {self.run.name} would be"
            " active, which is the least that its run was begun with (--min-clients): reinstate"
            " another one first."
        )

    def reinstate(self, index: int, reason: str, who: str) -> None:
        """Take a client back, from the next round on.

        Raises:
            ModelproofError: there is no such client, or it is not excluded.
            RunJournalError: the journal cannot be used.
        """
        self._check_known(index)
        with self._journal() as journal:
            if not journal.reinstate(index, reason, who):
                raise ModelproofError(f"client {index} of {self.run.name} is not excluded.")

    def _check_known(self, index: int) -> None:
        if index not in self.run.by_index:
            raise ModelproofError(
                f"the run in {self.folder.root} has no client {index}: `ape run clients list"
                f" {self.run.name}` shows those that it has."
            )

    @contextmanager
    def _journal(self) -> Iterator[RunJournal]:
        journal = RunJournal(self.folder.journal_path, self.run.digest)
        try:
            yield journal
        finally:
            journal.close()


def find_run(model: NamedModel, registry: str, folder: Path | None) -> UnenrolledRun | None:
    """The run of a model whose clients are not enrolled; None if they are, or no run is here.

    Args:
        model: that is trained
        registry: the address of its registry
        folder: of the run; where `ape run federate` has it by itself if None

    Raises:
        ModelproofError: no run was begun in the folder that is named, or it is another model's.
    """
    here = RunFolder(folder or Path("runs") / model.name)
    if folder is None and not (Path(model.name).name == model.name and here.exists()):
        return None
    run = here.read()
    if (run.model, run.registry) != (model.id, registry):
        if folder is None:
            return None
        raise ModelproofError(
            f"the run in {folder} is that of another model, {run.name} 0x{run.model.hex()} on"
            f" registry {run.registry}: name the --folder of {model.name}'s."
        )
    return None if run.is_enrolled else UnenrolledRun(here, run)
