"""A real IPFS node with Kubo's RPC (js-ipfs), and a proxy before it that does what networks do."""

from __future__ import annotations

import fcntl
import functools
import http.client
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest

PEER = Path(__file__).parent / "ipfs_peer"
INSTALL = ["npm", "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"]
INSTALL_S = 420
ONE_AT_A_TIME = threading.Lock()
ANSWER_S = 120


def begin_to_install() -> None:
    """Install the node's packages meanwhile: that takes longer than most of the other tests."""
    threading.Thread(target=failure_to_install, daemon=True).start()


def install() -> None:
    """See that the node's packages are installed.

    What cannot be installed is skipped by name; in CI that is a failure.
    """
    if failure := failure_to_install():
        message = f"js-ipfs cannot be installed in {PEER.name}: {failure}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


def failure_to_install() -> str:
    """Install what is missing, once for all processes of a test run; why it failed, if it did."""
    with ONE_AT_A_TIME:
        return _failure_to_install()


@functools.cache
def _failure_to_install() -> str:
    done = PEER / "node_modules" / ".package-lock.json"  # npm writes it last
    with (PEER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            return ""
        try:
            subprocess.run(
                INSTALL,
                cwd=PEER,
                check=True,
                capture_output=True,
                text=True,
                timeout=INSTALL_S,
                pass_fds=[lock.fileno()],  # so that it is locked for as long as npm lives
            )
        except (OSError, subprocess.SubprocessError) as error:
            return str(getattr(error, "stderr", None) or error)
    return ""


@contextmanager
def running_node(repository: Path, *, online: bool = False) -> Iterator[int]:
    """Run a node until the block ends, or this process does; gives its RPC's port.

    Other nodes of this machine can connect to it if it is ``online``.
    """
    install()
    node = shutil.which("node") or "node"
    with subprocess.Popen(
        [node, "peer.mjs", repository, *(["online"] if online else [])],
        cwd=PEER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.strip().isdecimal(), f"the IPFS node did not start: {line!r}"
            yield int(line)
        finally:
            process.kill()


@dataclass(frozen=True)
class Answer:
    """What the node answered to a command."""

    status: int
    body: bytes


Fault = Callable[[Answer], Answer | None]
"""What becomes of an answer on its way; None: the connection breaks off."""


def broken_off(_answer: Answer) -> Answer | None:
    """Let the connection end before the answer begins."""
    return None


def busy(_answer: Answer) -> Answer:
    """Answer as a proxy whose node restarts."""
    return Answer(503, b"")


@dataclass(frozen=True)
class Cut(Answer):
    """An answer whose connection breaks off after a number of bytes."""

    after: int


def cut(after: int) -> Fault:
    """Let the connection break off after so many bytes of the answer."""
    return lambda whole: Cut(whole.status, whole.body, after)


class FaultyProxy:
    """Passes commands on to a node, with the faults that a test asks for; a context manager."""

    def __init__(self, port: int) -> None:
        self.faults: list[tuple[str, Fault]] = []
        """A command and what becomes of its answer, each once, in this order."""
        self.asked: list[str] = []
        """The commands that came, with their parameters."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                proxy.asked.append(self.path)
                answer = proxy.spoilt(self.path, forward(port, self))
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if isinstance(answer, Cut):
                    self.wfile.write(answer.body[: answer.after])
                    self.close_connection = True
                else:
                    self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.02])
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def spoilt(self, path: str, answer: Answer) -> Answer | None:
        for place, (command, fault) in enumerate(self.faults):
            if path.startswith(f"/api/v0/{command}?"):
                del self.faults[place]
                return fault(answer)
        return answer


def forward(port: int, request: BaseHTTPRequestHandler) -> Answer:
    length = request.headers.get("Content-Length")
    body = request.rfile.read(int(length)) if length else b""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    kind = request.headers.get("Content-Type")
    connection.request("POST", request.path, body, {"Content-Type": kind} if kind else {})
    with connection.getresponse() as response:
        return Answer(response.status, response.read())
