"""A user's shell, in which commands start quickly."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from tools.warm_ape import APE, WarmApe

__all__ = ["APE", "ROOT", "TIMEOUT_S", "ApeRun", "Arguments", "shell"]

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 300

Arguments: TypeAlias = str | bytes | Path
ApeRun: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]


def shell(ape: WarmApe, environment: Mapping[str, str]) -> ApeRun:
    """``ape run …`` as a user types it, with some variables changed, and no terminal to answer.

    Args:
        ape: from which commands are forked.
        environment: of every command.
    """

    def run(
        *arguments: Arguments, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        typed = ["run", *map(os.fsdecode, arguments)]
        return ape.run(typed, TIMEOUT_S, {**environment, **(variables or {})})

    return run
