"""The runbook of docs/networks.md, on an Anvil that looks like Sepolia."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from ml.chain.anvil import AnvilNode
from tools.warm_ape import WarmApe

from .shell import shell

# Anvil's public test keys 0 and 2, behind a passphrase as a user's own would be
KEYS = {
    "owner": "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "validator": "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
}
CONFIRMATIONS = 2
"""As ape-config.yaml asks for on Sepolia."""
PASSPHRASE = "correct horse battery staple"


def keystore(home: Path) -> None:
    """Write Ape's keystore into an empty home."""
    folder = home / ".ape" / "accounts"
    folder.mkdir(parents=True)
    for alias, key in KEYS.items():
        locked = Account.encrypt(key, PASSPHRASE, kdf="pbkdf2", iterations=2)  # quick to unlock
        (folder / f"{alias}.json").write_text(json.dumps(locked))


def environment(folder: Path, node: AnvilNode) -> dict[str, str]:
    return {
        **os.environ,
        "HOME": str(folder / "home"),
        "SEPOLIA_RPC_URL": node.url,
        "MODELPROOF_DEPLOYMENTS": str(folder / "deployments"),
        "MODELPROOF_INDEX": str(folder / "index"),
        "MODELPROOF_OUTBOX": str(folder / "outbox"),
        **{f"APE_ACCOUNTS_{alias}_PASSPHRASE": PASSPHRASE for alias in KEYS},
    }


@pytest.mark.slow
def test_runbook_works_on_a_chain_with_sepolias_id_blocks_and_confirmations(
    warm_ape: WarmApe,
    tmp_path: Path,
) -> None:
    keystore(tmp_path / "home")
    with AnvilNode("--chain-id", "11155111", "--block-time", "1") as node:
        ape_run = shell(warm_ape, environment(tmp_path, node))

        def run(*arguments: str, exit_code: int = 0) -> Any:
            done = ape_run(*arguments, "--network", "sepolia", "--json")
            assert done.returncode == exit_code, done.stderr
            return json.loads(done.stdout)

        files = ("--artifacts", str(tmp_path / "models"))
        train = ("train", "iris", "--architecture", "sklearn", "--account", "owner", *files)
        owner, validator = ("--account", "owner"), ("--account", "validator")

        status = run("chain", "status")
        assert status["chain_id"] == 11155111

        deployed = run("deploy", *owner)
        assert deployed["chain_id"] == 11155111
        record = json.loads((tmp_path / "deployments" / "11155111.json").read_text())
        for name, contract in deployed["contracts"].items():
            # Ape counts the blocks on top of the transaction's own
            assert int(node.rpc("eth_blockNumber"), 16) >= contract["block"] + CONFIRMATIONS
            assert record["contracts"][name]["address"] == contract["address"]

        first = run(*train, "--validator", "validator")
        assert first["status"] == "PASSED"
        second = run(*train)
        assert second["status"] == "PENDING"
        refused = run("validate", "iris-sklearn", *owner, *files, exit_code=2)
        assert "does not hold VALIDATOR" in refused["error"]
        judged = run("validate", "iris-sklearn", *validator, *files)
        assert judged["validation"]["validator"] == Account.from_key(KEYS["validator"]).address
        history = run("history", "iris-sklearn")
        assert [version["status"] for version in history["versions"]] == ["PASSED", "PASSED"]
        assert (run("verify", first["file"])["version"], judged["version"]) == (1, 2)
        nobody = run("rollback", "iris-sklearn", "1", "--reason", "none", exit_code=2)
        assert "name one of yours with --account" in nobody["error"]
