"""The processes of a training on one machine: started, started again when killed, and stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from ml import files
from ml.errors import ModelproofError
from ml.federated.transport import Delivery, Transport, TransportError, broker
from ml.federated.transport.child import Child
from ml.federated.transport.security import BY_DEFAULT, Security
from ml.training import canonical

from .process import ProcessSettings, Where

_MODULE: Final = "ml.federated.local.process"
_MOST_STARTS: Final = 20
"""Of one process: what is killed this often is killed on purpose, or for want of memory."""


class ProcessFailed(ModelproofError):
    """A process of the training ended, and cannot be started again."""


class Processes(AbstractContextManager["Processes"]):
    """Workers and validators on this machine, for as long as the block runs."""

    def __init__(
        self,
        where: Where,
        url: str,
        security: Security = BY_DEFAULT,
        *,
        output: IO[bytes] | None = None,
    ) -> None:
        """Nothing is started yet.

        Args:
            where: the training
            url: of the queues: ``memory://``, or a broker's
            security: how the connections to a broker are kept from others
            output: what the processes print goes there; None for where this one prints
        """
        self._where: Final = where
        self._url: Final = url
        self._security: Final = security
        self._output: Final = output
        self._lock: Final = threading.Lock()
        self._running: dict[ProcessSettings, Child] = {}
        self._starts: dict[ProcessSettings, int] = {}
        self._failure: str | None = None
        self._is_over = False

    def start_workers(self, count: int, clients: Sequence[int]) -> None:
        """Start so many workers; each does whatever of these clients' work comes to it.

        Raises:
            TransportError: there is no connection to the queues.
        """
        for number in range(count):
            # told apart by where they note what they send, which is nothing
            outbox = f"{self._where.outbox}/worker-{number}"
            self._start(ProcessSettings(replace(self._where, outbox=outbox), tuple(clients)))

    def start_validator(self, number: int, account: str) -> None:
        """Start a validator; errors as `start_workers`."""
        where = replace(self._where, outbox=f"{self._where.outbox}/validator-{number}")
        self._start(ProcessSettings(where, validator=number, account=account, kind="validator"))

    @property
    def pids(self) -> list[int]:
        """The numbers of the processes that run."""
        with self._lock:
            return [child.pid for child in self._running.values()]

    def check(self) -> None:
        """See that none has failed for good.

        Raises:
            ProcessFailed: one has.
        """
        if self._failure:
            raise ProcessFailed(self._failure)

    def watched(self, transport: Transport) -> Transport:
        """A transport for the coordinator, which waits for nobody who has failed."""
        return _Watched(transport, self.check)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop all."""
        with self._lock:
            self._is_over = True
            running = list(self._running.values())
        with ExitStack() as stack:
            for child in running:
                stack.callback(child.stop)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def _start(self, settings: ProcessSettings) -> None:
        with self._lock:
            if self._is_over:
                return
            self._starts[settings] = self._starts.get(settings, 0) + 1
            self._running[settings] = Child(
                ["-m", _MODULE, str(self._written(settings))],
                lambda: broker.connect(self._url, self._security),
                output=self._output,
                ended=lambda child: self._note_end(settings, child),
            )

    def _written(self, settings: ProcessSettings) -> Path:
        """A file with what a process does: a node's URL may hold a secret, and arguments do not."""
        path = Path(settings.where.outbox) / "settings.json"
        with files.replacing(path, 0o600) as temporary:
            temporary.write_text(canonical.dump(settings))
        return path

    def _note_end(self, settings: ProcessSettings, child: Child) -> None:
        code = child.returncode  # known, since this comes after its end
        with self._lock:
            self._running.pop(settings, None)
        if code == 0:  # training is over for it
            return
        what = "a worker" if settings.kind == "clients" else f"validator {settings.validator}"
        if code is None or code > 0 or self._starts[settings] >= _MOST_STARTS:
            self._failure = f"{what} ended with exit code {code}: see what it said above."
            return
        try:
            self._start(settings)
        except (TransportError, OSError) as error:
            self._failure = f"{what} cannot be started again: {error}"


class _Watched:
    """A transport that looks, whenever it waits, whether the processes are well."""

    def __init__(self, transport: Transport, check: Callable[[], None]) -> None:
        self._transport = transport
        self._check = check

    def publish(self, queue: str, body: bytes) -> None:
        """See `Transport`."""
        self._transport.publish(queue, body)

    def receive(self, queues: Sequence[str], timeout_s: float) -> Delivery | None:
        """See `Transport`; raises ProcessFailed too."""
        self._check()
        return self._transport.receive(queues, timeout_s)

    def close(self) -> None:
        """See `Transport`."""
        self._transport.close()
