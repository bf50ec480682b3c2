"""The README's story on a node that is stopped and started: each command a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml.chain.anvil import free_port
from tools.warm_ape import WarmApe

from .shell import ROOT, ApeRun, shell

START_TIMEOUT_S = 120


class Workplace:
    """A user's shell: commands against one persistent node, files in one folder."""

    def __init__(self, folder: Path, port: int, ape_run: ApeRun) -> None:
        self.folder = folder
        self.port = port
        self._ape_run = ape_run
        self.node: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "ml.chain.node", "--port", str(self.port)]
        command += ["--state-dir", str(self.folder / "node")]
        self.node = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.node.stdout is not None
        assert "A development chain" in self.node.stdout.readline()

    def stop(self) -> None:
        if self.node is not None:
            self.node.send_signal(signal.SIGTERM)
            self.node.communicate(timeout=START_TIMEOUT_S)
            self.node = None

    def run(self, *arguments: str | Path, exit_code: int = 0) -> Any:
        """Run a script with --json and return what it printed."""
        done = self._ape_run(*arguments, "--json")
        assert done.returncode == exit_code, done.stderr
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout)

    def with_files(self, *arguments: str | Path, exit_code: int = 0) -> Any:
        """The same for a script that reads or writes model files."""
        return self.run(*arguments, "--artifacts", self.folder / "models", exit_code=exit_code)


@pytest.fixture
def workplace(warm_ape: WarmApe, tmp_path: Path) -> Iterator[Workplace]:
    port = free_port()
    environment = {
        **os.environ,
        "DEV_RPC_URL": f"http://127.0.0.1:{port}",
        "MODELPROOF_DEPLOYMENTS": str(tmp_path / "deployments"),
        "MODELPROOF_OUTBOX": str(tmp_path / "outbox"),
        "MODELPROOF_INDEX": str(tmp_path / "index"),
    }
    place = Workplace(tmp_path, port, shell(warm_ape, environment))
    place.start()
    yield place
    place.stop()


@pytest.mark.slow
def test_separate_processes_tell_one_story_across_a_restart(workplace: Workplace) -> None:
    deployed = workplace.run("deploy")
    train = ("train", "digits", "--architecture", "dense", "--epochs", "3")
    first = workplace.with_files(*train)
    second = workplace.with_files(*train)
    assert [first["version"], second["version"]] == [1, 2]
    assert second["parent"] == 1
    assert second["validation"]["accuracy_ppm"] > first["validation"]["accuracy_ppm"]
    file = Path(second["file"])

    verified = workplace.with_files("verify", file)
    assert (verified["version"], verified["current"]) == (2, 2)

    tampered = workplace.folder / "tampered.safetensors"
    workplace.run("tamper", file, "--tensor", "dense2.weight", "--output", tampered)
    refused = workplace.with_files("verify", tampered, "--model", "digits-dense", exit_code=1)
    assert "1 entry differs from v2 (tensor 'dense2.weight' changed)" in refused["error"]

    prediction = workplace.with_files("predict", "digits-dense", "--sample", "0")
    assert prediction["version"] == 2
    assert prediction["weights"] == second["weights"]

    workplace.run("rollback", "digits-dense", "1", "--reason", "Suspected poisoning")
    superseded = workplace.with_files("verify", file)
    assert "was rolled back from: the current version is v1" in superseded["sentence"]
    workplace.with_files("verify", file, "--require", "current", exit_code=1)

    head_before = workplace.run("history", "digits-dense")
    chain_before = workplace.run("chain", "status")
    workplace.stop()
    workplace.start()
    chain_after = workplace.run("chain", "status")
    assert [chain_after[k] for k in ("block", "genesis")] == [
        chain_before[k] for k in ("block", "genesis")
    ]
    assert workplace.run("history", "digits-dense") == head_before

    third = workplace.with_files(*train)
    assert (third["version"], third["parent"]) == (3, 1)
    lineage = workplace.run("lineage", "digits-dense")
    assert [version["version"] for version in lineage] == [3, 1]
    assert deployed["chain_id"] == 31337


@pytest.mark.slow
def test_a_model_trained_elsewhere_is_registered_validated_backed_up_and_restored(
    workplace: Workplace,
) -> None:
    workplace.run("deploy")
    golden = ROOT / "tests/golden/weights_v1/model.safetensors"
    metrics = workplace.folder / "metrics.json"
    metrics.write_text('{"accuracy": 0.29, "f1": 0.25}')
    registered = workplace.with_files(
        "register", golden, "--model", "mine", "--test-set", "iris", "--policy", "unlimited"
    )
    kept = Path(registered["file"])
    validated = workplace.with_files("validate", "mine", "--metrics", metrics)
    assert validated["validation"]["accuracy_ppm"] == 290_000
    assert json.loads(validated["validation"]["metrics"]) == {"accuracy": 0.29, "f1": 0.25}

    backups = workplace.folder / "backups"
    workplace.with_files("backup", "mine", "--backups", backups)
    damaged = bytearray(kept.read_bytes())
    damaged[-1] ^= 1
    kept.write_bytes(damaged)
    workplace.with_files("verify", kept, exit_code=1)
    restored = workplace.with_files("restore", "mine", "--backups", backups)
    assert restored[0]["outcome"] == "copied"
    assert workplace.with_files("verify", kept)["version"] == 1
