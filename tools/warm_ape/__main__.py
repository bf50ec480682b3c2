"""The process that becomes commands: a line of JSON in, an exit code out."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import traceback
from typing import Any, Final, NoReturn

MODULES: Final = (
    "IPython.terminal.embed",
    "ape._cli",
    "ape.managers.chain",
    "ape_accounts",
    "ape_ethereum.provider",
    "ape_foundry.provider",
    "ape_node.provider",
    "ape_run._cli",
    "ape_solidity",
    "ape_test.provider",
    "eth_account",
    "ml.chain.history",
    "ml.chain.publishing",
    "ml.chain.session",
    "ml.training.predict",
    "ml.training.sklearn_model",
    "ml.training.torch_model",
    "ml.training.train",
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
        import ape
        from ape._cli import cli

        ape.project.load_manifest()  # contracts may have been compiled since the start
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
    for name in (*MODULES, *sys.argv[1:]):
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
