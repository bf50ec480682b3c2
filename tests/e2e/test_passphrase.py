"""An account behind a passphrase: asked for once, and only where somebody can answer."""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
import termios
import time
from pathlib import Path

import pytest
from eth_account import Account

from .shell import APE, ROOT, TIMEOUT_S, ApeRun

# Anvil's public test key 9
KEY = "0x2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6"
PASSPHRASE = "correct horse"
PROMPT = "Passphrase of account mine:"


@pytest.fixture(scope="module")
def alias(home: Path) -> str:
    """An account in Ape's keystore."""
    folder = home / "ape" / "accounts"
    folder.mkdir(parents=True)
    key = Account.encrypt(KEY, PASSPHRASE, kdf="pbkdf2", iterations=2)
    (folder / "mine.json").write_text(json.dumps(key))
    return "mine"


def at_a_terminal(*arguments: str, environment: dict[str, str], answer: str) -> tuple[int, str]:
    """Run a command at a terminal of its own and answer every prompt; its end and its output."""
    ours, its = os.openpty()

    def take_the_terminal() -> None:
        os.setsid()
        fcntl.ioctl(its, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [APE, "run", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=its,
        stdout=its,
        stderr=its,
        preexec_fn=take_the_terminal,  # noqa: PLW1509 -- two system calls
    )
    os.close(its)
    output = ""
    answered = 0
    while select.select([ours], [], [], TIMEOUT_S)[0]:
        try:
            output += os.read(ours, 4096).decode()
        except OSError:  # the other side is closed
            break
        if output.count(PROMPT) > answered:
            answered += 1
            while termios.tcgetattr(ours)[3] & termios.ECHO:  # as a person: once it is not shown
                time.sleep(0.01)
            os.write(ours, f"{answer}\n".encode())
    os.close(ours)
    return process.wait(TIMEOUT_S), output


def test_passphrase_is_asked_for_once(alias: str, environment: dict[str, str]) -> None:
    code, output = at_a_terminal(
        "deploy", "--account", alias, environment=environment, answer=PASSPHRASE
    )
    assert code == 0, output
    assert output.count(PROMPT) == 1
    assert PASSPHRASE not in output


def test_account_whose_passphrase_nobody_gives_is_refused(alias: str, ape_run: ApeRun) -> None:
    done = ape_run("deploy", "--again", "--account", alias, "--json")
    assert done.returncode == 2
    sentence = json.loads(done.stdout)["error"]
    assert sentence == (
        "account mine was not unlocked: give its passphrase when asked, or in"
        " APE_ACCOUNTS_mine_PASSPHRASE."
    )
    assert done.stderr == f"Error: {sentence}\n"
