"""A user's shell, in which commands start quickly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).parents[2]
APE = Path(sys.executable).with_name("ape")
TIMEOUT_S = 300

Arguments: TypeAlias = str | bytes | Path
ApeRun: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]


@contextmanager
def shell(environment: Mapping[str, str], folder: Path) -> Iterator[ApeRun]:
    """``ape run …`` as a user types it, with some variables changed, and no terminal to answer.

    Args:
        environment: of every command, and of the process that they are forked from.
        folder: for what a command prints.
    """
    stdout, stderr = folder / "stdout", folder / "stderr"
    warm = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.warm_ape"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert warm.stdin is not None
    assert warm.stdout is not None

    def run(
        *arguments: Arguments, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        typed = [str(APE), "run", *map(os.fsdecode, arguments)]
        stdout.write_bytes(b"")
        stderr.write_bytes(b"")
        command = {
            "arguments": typed,
            "environment": {**environment, **(variables or {})},
            "stdout": str(stdout),
            "stderr": str(stderr),
            "timeout_s": TIMEOUT_S,
        }
        print(json.dumps(command), file=warm.stdin, flush=True)
        code = int(warm.stdout.readline())
        return subprocess.CompletedProcess(typed, code, stdout.read_text(), stderr.read_text())

    try:
        yield run
    finally:
        warm.stdin.close()
        warm.wait(TIMEOUT_S)
