"""Where a run's files are: its configuration, its journal, and the keys that were made for it.

::

    runs/mnist/
      run.json              what the training is (`run_configuration`)
      start.json            how it was started on this machine (`local.start`): broker, stores
      journal.sqlite        how far it has come (`coordinator.journal`)
      coordinator.key       X25519; updates are encrypted for it
      clients/client_0/ …   identities of the clients that run on this machine
      validators/0/ …       the X25519 keys of the validators that do
      report.json           the final report

Who has the folder can read every update, speak for the clients whose identities are in it, and use
the broker.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ml import files
from ml.errors import ModelproofError
from ml.storage.key_files import read_key, write_key_pair
from ml.storage.keys import PrivateKey
from ml.training import canonical

from . import run_configuration
from .run_configuration import RunConfiguration
from .tasks import FinalModelInfo


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run."""

    root: Path

    @property
    def run_path(self) -> Path:
        """Of the run's configuration."""
        return self.root / "run.json"

    @property
    def start_path(self) -> Path:
        """Of how the run was started on this machine."""
        return self.root / "start.json"

    @property
    def journal_path(self) -> Path:
        """Of what a coordinator has done."""
        return self.root / "journal.sqlite"

    @property
    def clients(self) -> Path:
        """Of the clients' identities."""
        return self.root / "clients"

    @property
    def report_path(self) -> Path:
        """Of the final report."""
        return self.root / "report.json"

    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self.run_path.exists()

    def read(self) -> RunConfiguration:
        """The run's configuration.

        Raises:
            ModelproofError: none was begun here, or its file cannot be used.
        """
        return run_configuration.read(self.run_path)

    def write(self, run: RunConfiguration) -> None:
        """Keep the run's configuration: from now on a run was begun here.

        Raises:
            ModelproofError: the folder cannot be written.
        """
        try:
            files.write_text(self.run_path, run.to_json())
        except OSError as error:
            raise ModelproofError(f"{self.run_path} cannot be written: {error.strerror}.") from None

    def report(self, info: FinalModelInfo) -> None:
        """Write the final report down; as `write`."""
        try:
            files.write_text(self.report_path, canonical.dump(info))
        except OSError as error:
            raise ModelproofError(
                f"{self.report_path} cannot be written: {error.strerror}."
            ) from None

    def coordinator_key(self) -> PrivateKey:
        """The key that updates are encrypted for; made where there is none."""
        return self._key(self.root / "coordinator.key")

    def validator_key(self, number: int) -> PrivateKey:
        """The key that versions are encrypted for, for a validator on this machine."""
        return self._key(self.root / "validators" / str(number) / "x25519.key")

    @contextmanager
    def making(self) -> Iterator[Path]:
        """An empty folder for keys until they are whole: half of one, left by a kill, is in no way.

        Raises:
            ModelproofError: it cannot be made.
        """
        folder = self.root / ".making"
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise ModelproofError(f"{folder} cannot be made: {error.strerror}.") from None
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for as long as the block goes on: a run has one coordinator.

        Raises:
            ModelproofError: somebody else holds it, or the folder cannot be made.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ModelproofError(f"{self.root} cannot be used: {error.strerror}.") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise ModelproofError(
                f"the run in {self.root} is going on in another process: wait for it, or stop it."
            ) from None
        finally:
            os.close(handle)

    def _key(self, path: Path) -> PrivateKey:
        if not path.exists():
            with self.making() as making:
                public = write_key_pair(making / path.name, PrivateKey.generate())
                path.parent.mkdir(parents=True, exist_ok=True)
                public.replace(path.with_name(public.name))
                (making / path.name).replace(path)  # last, since it is looked for
            files.sync_folder(path.parent)
        key = read_key(path)
        if not isinstance(key, PrivateKey):
            raise ModelproofError(f"{path} is not an X25519 key: put back the one of this run.")
        return key
