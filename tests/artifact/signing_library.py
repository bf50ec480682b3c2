"""The real model_signing library, in an environment and a process of its own."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PEER = Path(__file__).parent / "model_signing_peer"
LOCK = PEER / "requirements.lock"
ENVIRONMENT = PEER / "venv"
PYTHON = ENVIRONMENT / "bin" / "python"
INSTALL = [
    *(sys.executable, "-m", "pip", "--python", PYTHON, "install", "--quiet", "--no-compile"),
    *("--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary=:all:"),
    *("--requirement", LOCK),
]
INSTALL_S = 420


def install() -> None:
    """Install the library, once for all processes of a test run and for each lock.

    What cannot be installed is skipped by name; in CI that is a failure.
    """
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    done = ENVIRONMENT / "lock.sha256"
    with LOCK.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists() and done.read_text() == wanted:
            return
        try:
            venv.create(ENVIRONMENT, clear=True, with_pip=False)
            subprocess.run(INSTALL, check=True, capture_output=True, text=True, timeout=INSTALL_S)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or error
            message = f"model_signing cannot be installed in {PEER.name}: {said}"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
        done.write_text(wanted)


class SigningLibrary:
    """The library: signs, and tells what it has against a signature."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def sign(self, model: Path, bundle: Path, key: Path, **options: object) -> None:
        """Sign as the options say, which are those of the library's hashing configuration."""
        error = self._do("sign", model, bundle, key, options)
        assert error == ""

    def verify(self, model: Path, bundle: Path, key: Path) -> str:
        """Verify as the bundle says; the error, or nothing."""
        return self._do("verify", model, bundle, key, {})

    def verify_as_told(self, model: Path, bundle: Path, key: Path, **options: object) -> str:
        """Verify as the options say; the error, or nothing."""
        return self._do("verify as told", model, bundle, key, options)

    def _do(self, what: str, model: Path, bundle: Path, key: Path, options: object) -> str:
        task = {"do": what, "model": str(model), "bundle": str(bundle), "key": str(key)}
        assert isinstance(options, dict)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**task, **options}) + "\n")
        self._process.stdin.flush()
        return str(json.loads(self._process.stdout.readline()))


@contextmanager
def running_library() -> Iterator[SigningLibrary]:
    """Install the library if need be, and run it until the block ends or this process does."""
    install()
    with subprocess.Popen(
        [PYTHON, PEER / "peer.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield SigningLibrary(process)
        assert process.stdin is not None
        process.stdin.close()
