"""A real PostgreSQL of the test run's own: no root, no port, nothing left behind."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

START_S = 60
_INNOCENT = "nobody"
"""Who runs it where the tests run as root: PostgreSQL refuses to."""


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a server until the block ends; gives the URL of its database, as SQLAlchemy writes it.

    It listens on a socket in its own folder alone. Where there are no programs of PostgreSQL for
    this machine the tests are skipped by name; in CI that is a failure.
    """
    programs = _programs()
    # not below pytest's folders, which nobody but their owner may enter
    folder = Path(tempfile.mkdtemp(prefix="modelproof-postgres-"))
    try:
        options = _as_somebody(folder)
        data = folder / "data"
        make = [programs / "initdb", "-D", data, "-U", "tests", "--auth=trust", "--no-sync"]
        made = subprocess.run(
            [*make, "--encoding=UTF8", "--locale=C"],
            capture_output=True, text=True, check=False, cwd=folder, **options,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        serve = [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="]
        with (
            (folder / "log").open("w") as log,
            subprocess.Popen(
                [*serve, "-c", "fsync=off"], stdout=log, stderr=log, cwd=folder, **options
            ) as server,
        ):
            try:
                _wait(server, folder)
                yield f"postgresql+psycopg://tests@/postgres?host={folder}"
            finally:
                server.kill() if server.poll() is None else None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """The folder of PostgreSQL's programs: those of the wheel, or of the system."""
    wheel = importlib.util.find_spec("pgserver")
    if wheel is not None and wheel.origin is not None:
        return Path(wheel.origin).parent / "pginstall/bin"
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if system:
        return system[-1].parent
    message = "PostgreSQL has no programs here: neither the wheel pgserver nor /usr/lib/postgresql"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def _as_somebody(folder: Path) -> dict[str, int]:
    """As whom the programs run, who then owns the folder."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(_INNOCENT)
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid}


def _wait(server: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        assert server.poll() is None, (folder / "log").read_text()
        try:
            psycopg.connect(host=str(folder), user="tests", dbname="postgres").close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.02)
        else:
            return
