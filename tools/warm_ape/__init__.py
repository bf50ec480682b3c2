"""`ape` with its modules imported: every command is a process forked from one that has them.

Importing takes longer than most commands, and tests start hundreds of them. What a command reads
(arguments, variables, configuration, keystore, chain) is read after the fork, as ever. Commands of
which the start itself is tested are started cold.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self, cast

APE: Final = Path(sys.executable).with_name("ape")
SERVER: Final = Path(__file__).with_name("__main__.py")
FOR_TESTS: Final = ("ape.pytest.plugin", "hypothesis", "pytest", "xdist.plugin")
"""What `ape test` needs beside what all commands do."""


class WarmApe:
    """A process that becomes any `ape` command quickly; a context manager, which ends it."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], also: Sequence[str] = ()
    ) -> None:
        """Start the process.

        Args:
            folder: in which commands run; a project's root.
            environment: of commands, unless they have another.
            also: further modules to import beforehand.
        """
        self._environment: Final = dict(environment)
        self._output: Final = tempfile.TemporaryDirectory(prefix="warm-ape-")
        self._process: Final = subprocess.Popen(
            [sys.executable, "-P", str(SERVER), *also],
            cwd=folder,
            env={**environment, "PYTHONPATH": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._commands: Final = cast("IO[str]", self._process.stdin)
        self._ends: Final = cast("IO[str]", self._process.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._commands.close()
        self._process.wait()
        self._output.cleanup()

    def run(
        self,
        arguments: Sequence[str],
        timeout_s: int,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run `ape` with these arguments, in a session without a terminal.

        Returns:
            as ``subprocess.run`` does; the exit code is ``-SIGALRM`` after the time-out.
        """
        stdout, stderr = (Path(self._output.name) / name for name in ("stdout", "stderr"))
        stdout.write_bytes(b"")
        stderr.write_bytes(b"")
        typed = [str(APE), *arguments]
        command = {
            "arguments": typed,
            "environment": self._environment if environment is None else dict(environment),
            "stdout": str(stdout),
            "stderr": str(stderr),
            "timeout_s": timeout_s,
        }
        print(json.dumps(command), file=self._commands, flush=True)
        code = int(self._ends.readline())
        return subprocess.CompletedProcess(typed, code, stdout.read_text(), stderr.read_text())
