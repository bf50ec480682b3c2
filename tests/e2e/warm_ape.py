"""`ape` with its modules imported: every command is a process forked from this one.

Importing Ape takes longer than most commands, and hundreds of them are tested. What a command reads
(arguments, variables, configuration, keystore, chain) is read after the fork, as ever. Commands of
which the start itself is tested, or which train, are started cold.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import traceback
from typing import Any, NoReturn

MODULES = (
    "ape._cli",
    "ape_accounts",
    "ape_ethereum",
    "ape_foundry.provider",
    "ape_node.provider",
    "ape_run._cli",
    "ape_solidity",
    "ape_test.provider",
    "eth_account",
    "ml.chain.history",
    "ml.chain.publishing",
    "ml.chain.session",
    "web3.main",
)


def become(command: dict[str, Any]) -> NoReturn:
    """Be the command until its end, in a session without a terminal."""
    os.setsid()
    signal.alarm(command["timeout_s"])
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, command["stdout"], os.O_WRONLY),
        (2, command["stderr"], os.O_WRONLY),
    ):
        os.dup2(os.open(path, flags), descriptor)
    os.environ.clear()
    os.environ.update(command["environment"])
    sys.argv = command["arguments"]
    code: Any = 1
    try:
        from ape._cli import cli

        code = cli()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 -- it ends here, with its traceback as anywhere
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    if isinstance(code, str):  # as the interpreter does
        os.write(2, f"{code}\n".encode())
    os._exit(code if isinstance(code, int) else int(code is not None))


def main() -> None:
    """Take one command a line from standard input; answer each with its exit code."""
    for name in MODULES:
        importlib.import_module(name)
    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if child == 0:
            become(command)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
