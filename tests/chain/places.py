"""Where a test connects to, and where it keeps what would outlive it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ape
import pytest
from ape_accounts.accounts import AccountContainer

from ml.chain.anvil import AnvilNode

from .lying_node import LyingNode


@contextmanager
def kept_apart(folder: Path) -> Iterator[None]:
    """Keep in a folder what would outlive a test: deployments, and what Ape remembers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ape.config, "DATA_FOLDER", folder / "ape")
        # where the keystore is, and what was in it
        patch.delitem(vars(ape.accounts), "containers", raising=False)
        patch.setattr(ape.accounts, "_alias_to_account_cache", {})
        patch.setattr(AccountContainer, "loaded_accounts", {})
        patch.setenv("MODELPROOF_DEPLOYMENTS", str(folder / "deployments"))
        patch.setenv("MODELPROOF_INDEX", str(folder / "index"))
        patch.setenv("MODELPROOF_OUTBOX", str(folder / "outbox"))
        yield


def network_at(where: AnvilNode | LyingNode) -> str:
    """A development network by the address of its node, as Ape writes it."""
    return f"ethereum:dev:{where.url}"
