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
from typing import Final

import psycopg
import pytest

START_S: Final = 60
_INNOCENT: Final = "nobody"
"""Who runs it where the tests run as root: PostgreSQL refuses to."""


_UNTIL_NOBODY_LISTENS: Final = '"$@" & server=$!; cat > /dev/null; kill -QUIT $server; wait $server'
"""A shell's script: a server that ends with whoever holds the other end of standard input."""


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a server until the block ends, or this process does; gives its URL for SQLAlchemy.

    It listens on a socket in its own folder alone. Where there are no programs of PostgreSQL for
    this machine the tests are skipped by name; in CI that is a failure.
    """
    # not below pytest's folders, which nobody but their owner may enter
    folder = Path(tempfile.mkdtemp(prefix="modelproof-postgres-"))
    try:
        programs, user = _programs(folder), _as_somebody(folder)
        data, log = folder / "data", folder / "log"
        make = [programs / "initdb", "-D", data, "-U", "tests", "--auth=trust", "--no-sync"]
        made = subprocess.run(
            [*make, "--encoding=UTF8", "--locale=C"],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            **user,
        )
        assert made.returncode == 0, made.stderr
        serve = [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="]
        with (
            log.open("w") as output,
            subprocess.Popen(
                ["sh", "-c", _UNTIL_NOBODY_LISTENS, "sh", *serve, "-c", "fsync=off"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=folder,
                **user,
            ),
        ):  # which closes standard input at its end, and waits
            _wait_for(folder, log)
            yield f"postgresql+psycopg://tests@/postgres?host={folder}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs(folder: Path) -> Path:
    """The folder of PostgreSQL's programs: those of the wheel, or of the system."""
    wheel = importlib.util.find_spec("pgserver")
    if wheel is not None and wheel.origin is not None:
        package = Path(wheel.origin).parent
        if os.geteuid() == 0:  # who runs them then may not come where they are
            for part in ("pgserver/pginstall", "pgserver.libs"):
                shutil.copytree(package.parent / part, folder / part)
            package = folder / package.name
        return package / "pginstall/bin"
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


def _wait_for(folder: Path, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            psycopg.connect(host=str(folder), user="tests", dbname="postgres").close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        else:
            return
