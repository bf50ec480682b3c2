"""The commands as they are typed, on a node and in folders of the test's own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.chain.anvil import AnvilNode
from tools.warm_ape import WarmApe

from .shell import ROOT, ApeRun, shell

SETTING = re.compile(r"MODELPROOF_|ENCRYPTION_|\w+_RPC_URL$")
"""Variables by which whoever runs the tests may have set up commands of their own."""


@pytest.fixture(scope="session")
def warm_ape() -> Iterator[WarmApe]:
    """One for the commands of all modules, which differ in their environment alone."""
    with WarmApe(ROOT, os.environ) as ape:
        yield ape


@pytest.fixture(scope="module")
def node() -> Iterator[AnvilNode]:
    with AnvilNode() as anvil:
        yield anvil


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything goes that a command writes without being told where."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def environment(
    node: AnvilNode, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The variables by which a user's commands find the node, and the folders to write to."""
    return {
        **{name: value for name, value in os.environ.items() if not SETTING.match(name)},
        "DEV_RPC_URL": node.url,
        "MODELPROOF_DEPLOYMENTS": str(home / "deployments"),
        "MODELPROOF_INDEX": str(tmp_path_factory.mktemp("index")),
        "MODELPROOF_OUTBOX": str(home / "outbox"),
        "MODELPROOF_SIGNATURES": str(home / "signatures"),
        "MODELPROOF_CACHE": str(home / "cache"),
        "APE_DATA_FOLDER": str(home / "ape"),
    }


@pytest.fixture(scope="module")
def ape_run(warm_ape: WarmApe, environment: dict[str, str]) -> ApeRun:
    return shell(warm_ape, environment)
