"""How a training was started on this machine, so that going on with it need not be told again.

``start.json`` in the run's folder, beside the run's configuration, which all who take part have and
which says nothing of machines. The broker's address is in it with its password: the file is its
owner's alone to read, as are the keys beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ml import files
from ml.errors import ModelproofError
from ml.federated.run_folder import RunFolder
from ml.federated.transport import address
from ml.federated.transport.security import Security
from ml.training import canonical


@dataclass(frozen=True, slots=True)
class Start:
    """What ``ape run federate`` was told of this machine and others; printed without the broker."""

    data: str
    """The folder of the prepared data set."""
    queues: str | None = field(repr=False)
    """The broker's URL, with its password; None: queues of the coordinator's own process."""
    broker_ca: str | None
    """The file of its certificate's authority; None: those that the system trusts."""
    is_clear_meant: bool
    """Whether its password may go over a network unencrypted."""
    are_clients_elsewhere: bool
    """Whether clients came with cards, and do their work on other machines."""
    workers: int | None
    """Processes for clients here; None: one a core."""
    validators: tuple[str, ...]
    """Who validates, as it was typed; none: a development chain's accounts."""
    places: tuple[str, ...]
    """The stores."""
    replicas: str
    """How many of them have to take an object."""
    overlaps: bool = False
    """Whether clients train from a version already while it is validated."""
    format: Literal["modelproof.federated-start.v1"] = "modelproof.federated-start.v1"

    def __post_init__(self) -> None:
        """Check that the parts fit together.

        Raises:
            ModelproofError: clients on other machines cannot be asked, since no broker is named.
        """
        if not self.workers_here and not self.queues:
            raise ModelproofError("clients on other machines need --broker, to be asked by.")

    @property
    def security(self) -> Security:
        """How the connection to the broker is kept from others."""
        return Security(Path(self.broker_ca) if self.broker_ca else None, self.is_clear_meant)

    def check_broker(self) -> None:
        """Check that the broker may be used, before anything is on record.

        Raises:
            TransportError: its address is none, its password would go to another machine
                unencrypted, or the authority's file cannot be read.
        """
        if self.queues:
            address.parse(self.queues, self.security)

    @property
    def workers_here(self) -> bool:
        """Whether clients do their work on this machine."""
        return not self.are_clients_elsewhere and self.workers != 0


def read(folder: RunFolder) -> Start | None:
    """How the run in a folder was started last; None if that was before it was noted.

    Raises:
        ModelproofError: the file cannot be read, or is none. No password is in the text.
    """
    path = folder.start_path
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelproofError(f"{path} cannot be read: {error.strerror}.") from None
    return canonical.load(Start, data, str(path))


def keep(folder: RunFolder, start: Start) -> None:
    """Note how a run is started, if that is not noted yet.

    Raises:
        ModelproofError: the file cannot be read or written.
    """
    if read(folder) == start:
        return
    path = folder.start_path
    try:
        with files.replacing(path, 0o600) as temporary:
            temporary.write_text(canonical.dump(start))
    except OSError as error:
        raise ModelproofError(f"{path} cannot be written: {error.strerror}.") from None
