"""The version that a round starts from, as it is sent: its key wrapped for one client each time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ml.federated.objects import Objects
from ml.federated.run_configuration import RunConfiguration
from ml.storage.cid import Cid
from ml.storage.keys import PublicKey


class Addressed:
    """The sidecars of one object at a time, which can be made before they are needed."""

    def __init__(self, run: RunConfiguration, objects: Objects) -> None:
        """Nothing is read yet."""
        self._run: Final = run
        self._objects: Final = objects
        self._cid: Cid | None = None
        self._made: dict[int, str] = {}

    def prepare(self, clients: Iterable[int], cid: Cid) -> None:
        """Make the sidecars of an object for some clients; errors as `Objects.get`."""
        if cid != self._cid:
            self._cid, self._made = cid, {}
        address = self._objects.addressing(cid)
        for client in clients:
            key = PublicKey.from_raw(self._run.by_index[client].recipient)
            self._made[client] = address(key).to_json().decode()

    def to(self, client: int, cid: Cid) -> str:
        """The sidecar of an object as a client is sent it; errors as `Objects.get`."""
        if cid != self._cid or client not in self._made:
            self.prepare([client], cid)
        return self._made[client]
