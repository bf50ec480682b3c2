"""Starting and stopping development nodes, Anvil above all, without ever leaving one behind."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from ml.errors import ModelproofError

HOST = "127.0.0.1"
LISTENING_PORTS = range(20_000, 32_768)
"""Below those that systems give to outgoing connections, which stay taken for a minute after."""
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 120.0
_PR_SET_PDEATHSIG = 1  # prctl(2)


class NodeError(ModelproofError):
    """A development node did not start, did not answer, or ended by itself."""


def is_free(port: int) -> bool:
    """Whether nothing on this machine listens on ``port`` of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port of the loopback address that is free now, and that no outgoing connection is given.

    Raises:
        NodeError: none is free.
    """
    for port in random.SystemRandom().sample(LISTENING_PORTS, len(LISTENING_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise NodeError("no port is free: end a few of the programs that listen on this machine.")


class RpcClient:
    """JSON-RPC with the node at ``port`` of the loopback address, for one thread.

    It keeps one connection: ports of connections that were closed stay taken for a minute, and an
    Anvil that is told to listen on such a port does not start.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://{HOST}:{port}"
        self._connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_TIMEOUT_S)

    def call(self, method: str, *params: object) -> Any:
        """Call a method for its result.

        Raises:
            NodeError: the node does not answer, or answers with an error.
        """
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        try:
            self._connection.request("POST", "/", body, {"Content-Type": "application/json"})
            answer = json.load(self._connection.getresponse())
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.close()
            raise NodeError(f"no answer to {method} from {self.url}: {error}") from error
        if "error" in answer:
            raise NodeError(f"{self.url} refused {method}: {answer['error'].get('message')}")
        return answer["result"]

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()


class NodeProcess(ABC):
    """A development node of one's own on the loopback address; a subclass says which.

    Args:
        port: where it listens; a free port if 0.
        log: where its output goes, kept; a file that goes away with the node if None.

    It dies with the thread that started it, even if its process is killed (on Linux).
    """

    name: ClassVar[str]
    """Of its program, as in messages."""
    working_folder: ClassVar[Path | None] = None
    """Where its program has to be started, if that matters to it."""

    def __init__(self, *, port: int = 0, log: Path | None = None) -> None:
        self._any_port = port == 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._client = RpcClient(port)
        self.port = port

    @abstractmethod
    def command(self, folder: Path) -> list[str]:
        """The command that serves JSON-RPC at ``port``.

        Args:
            folder: for what goes away with the node.

        Raises:
            NodeError: it is not installed.
        """

    @property
    def url(self) -> str:
        """Where its JSON-RPC is served."""
        return f"http://{HOST}:{self.port}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process. Raises NodeError before ``start`` and after ``stop``."""
        if self._process is None:
            raise NodeError(f"{self.name} is not running: start it first.")
        return self._process

    def start(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            NodeError: it is not installed, or it ended or stayed silent; with its last words.
        """
        self._folder = tempfile.TemporaryDirectory(prefix=f"{self.name}-")
        folder = Path(self._folder.name)
        log = self._log or folder / f"{self.name}.log"
        try:
            for attempts_left in (2, 1, 0):
                if self._any_port:
                    self.port = free_port()
                self._client = RpcClient(self.port)
                self._process = spawn(self.command(folder), log, self.working_folder)
                try:
                    self._wait_until_it_answers(log)
                except NodeError:
                    lost_the_port = (
                        self._any_port and "address already in use" in _complaint(log).lower()
                    )
                    if not (lost_the_port and attempts_left):
                        raise
                else:
                    break
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> int:
        """Ask it to end (SIGTERM), wait for it, and return its exit code (0 if it was not running).

        One that is still there after a minute is killed.
        """
        code = 0
        self._client.close()
        if self._process is not None:
            self._process.terminate()
            try:
                code = self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                code = self._process.wait()
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        return code

    def rpc(self, method: str, *params: object) -> Any:
        """Call a JSON-RPC method; see ``RpcClient.call``."""
        return self._client.call(method, *params)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_until_it_answers(self, log: Path) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            code = self.process.poll()
            if code is not None:
                raise NodeError(f"{self.name} did not start (exit code {code}): {_complaint(log)}")
            try:
                self.rpc("web3_clientVersion")
            except NodeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return


class AnvilNode(NodeProcess):
    """Anvil, Foundry's development node: ``with AnvilNode() as node: node.url``.

    Args:
        arguments: further arguments of the ``anvil`` command, such as ``"--chain-id", "11155111"``.
        port: where it listens; a free port if 0.
        log: where its output goes, kept; a file that goes away with the node if None.

    It holds Anvil's ten public test accounts, and mines a block per transaction unless told
    otherwise.
    """

    name = "anvil"

    def __init__(self, *arguments: str, port: int = 0, log: Path | None = None) -> None:
        super().__init__(port=port, log=log)
        self._arguments = arguments

    def command(self, folder: Path) -> list[str]:
        """The command that serves JSON-RPC at ``port``."""
        program = shutil.which("anvil")
        if program is None:
            raise NodeError("anvil was not found: run `make setup`.")
        command = [program, "--host", HOST, "--port", str(self.port), "--quiet"]
        return [*command, "--cache-path", str(folder / "states"), *self._arguments]


def spawn(
    command: list[str], log: Path, folder: Path | None, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process that gets no signals from our terminal and does not outlive us.

    Args:
        command: the program and its arguments.
        log: where its output goes.
        folder: where it is started; None for here.
        environment: its variables; None for ours.
    """
    parent = os.getpid()
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def tie_to_parent() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died before the call: there will be no signal
                os._exit(1)

    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for us to handle
            preexec_fn=tie_to_parent,  # noqa: PLW1509 -- one system call, loaded before the fork
        )


def _complaint(log: Path) -> str:
    """The line in which a node says why it ended, or else its last one."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), (lines or ["no output"])[-1])
