"""What a worker holds in memory: its clients' samples, and the versions that rounds start from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ml.chain.events import Registered
from ml.errors import NotVerified
from ml.federated import prepared, version_files
from ml.federated.aggregation import Weights
from ml.federated.chain_view import ChainView
from ml.federated.objects import Objects, sent_sidecar
from ml.federated.parts import Part
from ml.federated.run_configuration import RunConfiguration

SAMPLES_BYTES: Final = 1 << 30
"""As much of the clients' samples is held at once."""
_VERSIONS: Final = 2


class Samples:
    """Clients' samples, each read when it is first asked for, and from its own files alone."""

    def __init__(
        self,
        run: RunConfiguration,
        configurations: Mapping[int, Path],
        limit_bytes: int = SAMPLES_BYTES,
    ) -> None:
        """Nothing is read yet.

        Args:
            run: the training.
            configurations: where each client's configuration is: see `prepared.read_client`.
            limit_bytes: above which those that were used longest ago are let go.
        """
        self._run: Final = run
        self._configurations: Final = dict(configurations)
        self._limit: Final = limit_bytes
        self._held: OrderedDict[int, Part] = OrderedDict()

    def of(self, client: int) -> Part:
        """A client's samples.

        Raises:
            NotVerified: they are not those that the client is enrolled with.
            ModelproofError: a file is missing, cannot be read, or is malformed.
        """
        if client in self._held:
            self._held.move_to_end(client)
            return self._held[client]
        path = self._configurations[client]
        part = prepared.read_client(path).part
        expected = self._run.by_index[client].dataset_root
        if part.root != expected:
            raise NotVerified(
                f"the samples that {path} names have the root 0x{part.root.hex()}, and client"
                f" {client} is enrolled with 0x{expected.hex()}"
            )
        self._held[client] = part
        while len(self._held) > 1 and sum(map(_size, self._held.values())) > self._limit:
            self._held.popitem(last=False)
        return part


class Versions:
    """The versions that clients start from, each fetched once for all clients of a worker."""

    def __init__(self, run: RunConfiguration, chain: ChainView) -> None:
        """Nothing is fetched yet."""
        self._run: Final = run
        self._chain: Final = chain
        self._held: OrderedDict[bytes, Weights] = OrderedDict()

    def get(
        self, objects: Objects, version: int, weights: bytes, cid: str | None, sidecar: str | None
    ) -> Weights:
        """The tensors of a version, verified.

        Args:
            objects: opens the version's object.
            version: its number, 0 for the seeded first weights.
            weights: the identity that it must have.
            cid: of the object, and
            sidecar: as they were sent; both None for the first weights.

        Raises:
            NotVerified: the chain has no such version, or the object is another.
            StorageError: the object cannot be had, or no key opens it.
        """
        record = self._chain.registration(version, weights) if version else None
        if weights not in self._held:
            self._held[weights] = self._fetched(objects, record, weights, cid, sidecar)
            while len(self._held) > _VERSIONS:
                self._held.popitem(last=False)
        self._held.move_to_end(weights)
        return self._held[weights]

    def discard(self) -> None:
        """Let go of everything, and ask the chain again."""
        self._held.clear()
        self._chain.forget()

    def _fetched(
        self,
        objects: Objects,
        record: Registered | None,
        weights: bytes,
        cid: str | None,
        sidecar: str | None,
    ) -> Weights:
        run = self._run
        if record is None:
            tensors = version_files.first_weights(run)
            found = version_files.weights_of(tensors)
            if found != weights:
                raise NotVerified(
                    f"the first weights of this training are 0x{found.hex()} here, and should be"
                    f" 0x{weights.hex()}: another build of torch may draw others"
                )
            return tensors
        if cid is None or sidecar is None:
            raise NotVerified(f"the task does not say where v{record.version} is stored")
        opened = sent_sidecar(record, cid, sidecar)
        limit = version_files.size_limit(run.architecture, run.rule)
        data = objects.get(opened.stored.cid, limit, opened)
        return version_files.load(data, weights, run.rule, run.architecture).tensors


def _size(part: Part) -> int:
    return part.inputs.nbytes + part.labels.nbytes
