"""A user's shell: the commands as they are typed, on a node and in folders of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from ml.chain.anvil import AnvilNode

ROOT = Path(__file__).parents[2]
APE = Path(sys.executable).with_name("ape")
TIMEOUT_S = 120

Arguments: TypeAlias = str | bytes | Path
ApeRun: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def node() -> Iterator[AnvilNode]:
    with AnvilNode() as anvil:
        yield anvil


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything goes that a command writes without being told where."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def environment(node: AnvilNode, home: Path) -> dict[str, str]:
    """The variables by which a user's commands find the node, and the folders to write to."""
    return {
        **{name: value for name, value in os.environ.items() if not name.endswith("_RPC_URL")},
        "DEV_RPC_URL": node.url,
        "MODELPROOF_DEPLOYMENTS": str(home / "deployments"),
        "APE_DATA_FOLDER": str(home / "ape"),
    }


@pytest.fixture(scope="module")
def ape_run(environment: dict[str, str]) -> ApeRun:
    """``ape run …`` as a user types it, with some variables changed, and no terminal to answer."""

    def run(
        *arguments: Arguments, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [APE, "run", *arguments],
            cwd=ROOT,
            env={**environment, **(variables or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            start_new_session=True,  # without a terminal of its own, nor ours
            check=False,
        )

    return run
