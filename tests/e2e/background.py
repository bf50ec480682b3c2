"""Commands that run beside each other and beside the test, each forked from a warm process.

As a program of its own, ``python -m tests.e2e.background``: a line of JSON starts a command, or
asks whether one has ended. What still runs at its end is killed.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self, cast

from tools.warm_ape import APE
from tools.warm_ape.__main__ import MODULES, become

ROOT: Final = Path(__file__).parents[2]
LIFE_S: Final = 1800
WAIT_S: Final = 600.0
ALSO: Final = (
    "kombu.transport.pyamqp",
    "ml.federated.client.serving",
    "ml.federated.local.running",
    "ml.federated.local.setting_up",
    "ml.federated.validator.process",
)


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for a condition, for some minutes."""
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline, f"it took too long until {what}"
        time.sleep(0.02)


@dataclass(frozen=True)
class Program:
    """A command that was started."""

    pid: int
    output: Path
    errors: Path
    _ask: Callable[[dict[str, Any]], Any]

    @property
    def exit_code(self) -> int | None:
        """None as long as it runs."""
        found: int | None = self._ask({"ended": self.pid})
        return found

    def kill(self) -> None:
        """End it at once, by ``kill -9``."""
        assert self.exit_code is None, self.errors.read_text()
        os.kill(self.pid, signal.SIGKILL)
        self.end()

    def goes_on_until(self, is_so: Callable[[], bool]) -> None:
        """Wait for a condition, or for its end."""
        wait_until(lambda: is_so() or self.exit_code is not None, "this came of it")

    def says(self, text: str) -> None:
        """Wait until it has said something on stderr."""
        self.goes_on_until(lambda: text in self.errors.read_text())
        assert text in self.errors.read_text()

    def end(self) -> int:
        """Wait for its end; returns the exit code."""
        wait_until(lambda: self.exit_code is not None, "it had ended")
        assert self.exit_code is not None
        return self.exit_code

    def succeed(self) -> str:
        """Wait for its end, without an error; returns what it printed."""
        assert self.end() == 0, self.errors.read_text()
        assert "Traceback" not in self.errors.read_text()
        return self.output.read_text()


class Background:
    """The process that commands are forked from; a context manager, which ends it and them."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        """Start it.

        Args:
            environment: of commands, but for what they have otherwise
            folder: for what they print
        """
        self._environment = dict(environment)
        self._folder = folder
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.background"],
            cwd=ROOT,
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(
        self,
        *arguments: str | Path,
        variables: Mapping[str, str] | None = None,
        having: tuple[str, ...] = (),
    ) -> Program:
        """Start ``ape run …``.

        Args:
            arguments: what is typed
            variables: that differ for it
            having: a function of `tests.e2e.parties` that is called before, and its arguments
        """
        self._count += 1
        output, errors = (self._folder / f"{self._count}.{kind}" for kind in ("out", "err"))
        output.touch()
        errors.touch()
        command = {
            "arguments": [str(APE), "run", *(os.fspath(one) for one in arguments)],
            "environment": {**self._environment, **(variables or {})},
            "stdout": str(output),
            "stderr": str(errors),
            "timeout_s": LIFE_S,
            "having": having,
        }
        return Program(self._ask({"start": command}), output, errors, self._ask)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        cast("IO[str]", self._process.stdin).close()
        self._process.wait()

    def _ask(self, question: dict[str, Any]) -> Any:
        print(json.dumps(question), file=self._process.stdin, flush=True)
        return json.loads(cast("IO[str]", self._process.stdout).readline())


@contextmanager
def background(environment: Mapping[str, str], folder: Path) -> Iterator[Background]:
    """Commands in the background, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with Background(environment, folder) as started:
        yield started


def main() -> None:
    """Start commands, and tell of their ends."""
    for name in (*MODULES, *ALSO):
        importlib.import_module(name)
    codes: dict[int, int | None] = {}
    for line in sys.stdin:
        question = json.loads(line)
        if "start" in question:
            command = question["start"]
            pid = os.fork()
            if pid == 0:
                _be(command)
            codes[pid] = None
            print(pid, flush=True)
        else:
            pid = question["ended"]
            if codes[pid] is None:
                ended, status = os.waitpid(pid, os.WNOHANG)
                codes[pid] = os.waitstatus_to_exitcode(status) if ended else None
            print(json.dumps(codes[pid]), flush=True)
    for pid, code in codes.items():
        if code is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _be(command: dict[str, Any]) -> None:
    from tests.e2e import parties

    parties.patient()
    name, *arguments = command["having"] or ["patient"]
    getattr(parties, name)(*arguments)
    become(command)


if __name__ == "__main__":
    main()
