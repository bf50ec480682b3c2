"""Get RabbitMQ, and the Erlang that it runs on, from the distribution: 34 MB, in seconds.

Works on Debian and its like, as any user: apt fetches the packages and checks their signatures, and
they are unpacked here and not installed, so that nothing of the system changes.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "server"
DONE: Final = ".installed"
COMMAND_S: Final = 300.0

ERL: Final = """\
#!/bin/sh
# Debian's looks for Erlang in /usr/lib only.
ROOTDIR=$(dirname "$0")/..
BINDIR=$(echo "$ROOTDIR"/erts-*/bin)
EMU=beam
PROGNAME=erl
export ROOTDIR BINDIR EMU PROGNAME
exec "$BINDIR/erlexec" "$@"
"""


class InstallError(Exception):
    """RabbitMQ cannot be had here: one sentence saying why."""


def install(folder: Path = FOLDER) -> Path:
    """Get it, unless it is there.

    Returns:
        The folder that the packages are unpacked in.

    Raises:
        InstallError: there is no apt, the packages cannot be fetched, or they are none.
    """
    with _one_at_a_time():
        if not (folder / DONE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            if not (shutil.which("apt-get") and shutil.which("dpkg")):
                raise InstallError("RabbitMQ cannot be fetched without apt-get and dpkg")
            _unpack(folder)
            (folder / DONE).touch()
    return folder


def _unpack(folder: Path) -> None:
    fetched = folder / "fetched"
    fetched.mkdir(parents=True)
    try:
        _fetch(fetched, [])
    except InstallError:
        # The system's lists of packages are missing or old, and may not be ours to renew.
        lists = _own_lists(folder / "apt")
        _run(["apt-get", *lists, "update"], fetched)
        _fetch(fetched, lists)
    for package in sorted(fetched.glob("*.deb")):
        _run(["dpkg", "-x", str(package), str(folder)], fetched)
    shutil.rmtree(fetched)
    shutil.rmtree(folder / "apt", ignore_errors=True)
    erl = folder / "usr/lib/erlang/bin/erl"
    if not erl.exists():
        raise InstallError("the packages of RabbitMQ and Erlang are not what they used to be")
    erl.write_text(ERL)


def _fetch(fetched: Path, options: list[str]) -> None:
    kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    only = [f"--no-{kind}" for kind in kinds]
    needed = _run(
        ["apt-cache", *options, "depends", "--recurse", *only, "rabbitmq-server"], fetched
    )
    # What else it needs has to do with being a service, or is on every machine.
    packages = sorted(set(re.findall(r"^(rabbitmq-server|erlang-[\w-]+)$", needed, re.MULTILINE)))
    if "erlang-base" not in packages:
        raise InstallError("the distribution has no RabbitMQ")
    _run(
        ["apt-get", *options, "--option", "APT::Sandbox::User=root", "download", *packages], fetched
    )


def _own_lists(state: Path) -> list[str]:
    """Options that have apt keep its lists of packages in a folder of ours."""
    (state / "lists/partial").mkdir(parents=True)
    (state / "cache/archives/partial").mkdir(parents=True)
    settings = {
        "Dir::State::lists": state / "lists",
        "Dir::Cache": state / "cache",
        "APT::Sandbox::User": "root",
    }
    return [word for name, value in settings.items() for word in ("--option", f"{name}={value}")]


def _run(command: list[str], folder: Path) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or ["nothing"]
        raise InstallError(f"RabbitMQ cannot be fetched: {command[0]} said {said[-1]}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"RabbitMQ cannot be fetched: {error}") from None
    return done.stdout


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Have other processes wait, and find it done."""
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
