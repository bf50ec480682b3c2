"""A RabbitMQ broker on free ports of the loopback address, with a folder of its own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from ml.chain.anvil import HOST, is_free, spawn

from .install import install

START_S: Final = 120.0
STOP_S: Final = 60.0
READY: Final = "Server startup complete"
QUIET_PORTS: Final = range(20_000, 30_000)
"""Systems give none of these to connections, which could take the broker's while it restarts."""


class ServerError(Exception):
    """The broker did not start: what it said last."""


class RabbitServer:
    """A broker, and Erlang's register of ports that it needs; a context manager.

    What is in its queues outlives `stop`, `kill` and `start`, until the block ends. It dies with
    the thread that made it.
    """

    def __init__(self, port: int = 0, certificate: tuple[Path, Path] | None = None) -> None:
        """Get it, where it is not there yet.

        Args:
            port: where it listens; a free port if 0.
            certificate: for TLS, on a port of its own: PEM files of it and of its key.

        Raises:
            InstallError: it cannot be had.
        """
        self._root = install()
        self._folder = tempfile.TemporaryDirectory(prefix="rabbitmq-")
        self._home = Path(self._folder.name)
        self.port = port or _quiet_port()
        self._names = _quiet_port()
        self._broker: subprocess.Popen[bytes] | None = None
        self._register: subprocess.Popen[bytes] | None = None
        (self._home / "plugins").write_text("[].")
        self.tls_port = _quiet_port() if certificate else None
        if certificate:
            shown, key = map(json.dumps, map(str, certificate))
            (self._home / "advanced.config").write_text(
                f'[{{rabbit, [{{ssl_listeners, [{{"{HOST}", {self.tls_port}}}]}},'
                f" {{ssl_options, [{{certfile, {shown}}}, {{keyfile, {key}}}]}}]}}]."
            )

    @property
    def url(self) -> str:
        """Where it is, with the user and password that it begins with."""
        return f"amqp://guest:guest@{HOST}:{self.port}/"

    @property
    def tls_url(self) -> str:
        """Where it is by TLS. Raises ServerError if it was given no certificate."""
        if self.tls_port is None:
            raise ServerError("RabbitMQ has no certificate")
        return f"amqps://guest:guest@{HOST}:{self.tls_port}/"

    @property
    def pid(self) -> int:
        """The number of its process. Raises ServerError while it does not run."""
        if self._broker is None:
            raise ServerError("RabbitMQ does not run")
        return self._broker.pid

    def start(self) -> None:
        """Start it and wait until it takes connections.

        Raises:
            ServerError: it ended, or did not get so far in time.
        """
        environment = self._environment()
        if self._register is None:
            epmd = [f"{self._root}/usr/lib/erlang/bin/epmd", "-address", HOST]
            command = [*epmd, "-port", str(self._names)]
            self._register = spawn(command, self._home / "epmd.log", self._home, environment)
        log = self._home / "broker.log"
        (script,) = self._root.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server")
        self._broker = spawn([str(script), "-noinput"], log, self._home, environment)
        deadline = time.monotonic() + START_S
        while READY not in (said := log.read_text(errors="replace")):
            if self._broker.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"RabbitMQ did not start; it said:\n{said[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it as a restart does: connections are closed, and all is written."""
        self._end(by_force=False)

    def kill(self) -> None:
        """End it as a power cut does."""
        self._end(by_force=True)

    def control(self, *command: str) -> str:
        """Run `rabbitmqctl` for it; gives what that prints."""
        (script,) = self._root.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmqctl")
        done = subprocess.run(
            [script, "--quiet", *command],
            env=self._environment(),
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self._register is not None:
            self._register.kill()
            self._register.wait()
        self._folder.cleanup()

    def _end(self, *, by_force: bool) -> None:
        if self._broker is None:
            return
        if not by_force:
            self._broker.terminate()
            try:
                self._broker.wait(STOP_S)
            except subprocess.TimeoutExpired:
                by_force = True
        if by_force:
            self._broker.kill()
            self._broker.wait()
        self._broker = None

    def _environment(self) -> Mapping[str, str]:
        programs = f"{self._root}/usr/lib/erlang/bin"
        return {
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self._home),
            "LANG": "C.UTF-8",
            "ERL_CRASH_DUMP_SECONDS": "0",
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._names),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._home / "advanced.config"),
            "RABBITMQ_ALLOW_INPUT": "1",  # the script becomes the broker, and is not its parent
            "RABBITMQ_CONFIG_FILE": str(self._home / "none"),
            "RABBITMQ_CONF_ENV_FILE": str(self._home / "none"),
            "RABBITMQ_DIST_PORT": str(_quiet_port()),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._home / "plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self._home / "config"),
            "RABBITMQ_LOG_BASE": str(self._home / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_MNESIA_BASE": str(self._home / "data"),
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODENAME": f"modelproof-{self.port}@localhost",
            "RABBITMQ_SCHEMA_DIR": str(self._home / "schema"),
        }


def _quiet_port() -> int:
    while not is_free(port := secrets.choice(QUIET_PORTS)):
        pass
    return port
