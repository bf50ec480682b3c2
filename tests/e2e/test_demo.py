"""`ape run demo`, as somebody who has just installed the project types it."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from .shell import APE, ROOT

TIMEOUT_S = 600
"""About a minute alone on a machine; in a full test run it is not."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one demo reports."""
    home = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        [APE, "run", "demo", "--json"],
        cwd=ROOT,
        env={
            **os.environ,
            "MODELPROOF_DEPLOYMENTS": str(home / "deployments"),
            "MODELPROOF_INDEX": str(home / "index"),
            "MODELPROOF_OUTBOX": str(home / "outbox"),
            "APE_DATA_FOLDER": str(home / "ape"),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (home / "deployments").exists()
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.slow
def test_demo_checks_each_claim_that_it_makes(told: dict[str, Any]) -> None:
    assert told["checks"] == [
        "v1 is the first best version",
        "v2 is better, and current",
        "the contract rolled v3 back to v2",
        "v4 is current",
        "v2 is current again",
        "v4 still verifies, as rolled back from",
        "the verified model reads the image right",
        "exactly the tampered tensor is named",
        "the tampered file is refused before it loads",
        "the contract accepts the proof of one tensor",
    ]


@pytest.mark.slow
def test_demos_versions_are_judged_as_its_story_says(told: dict[str, Any]) -> None:
    judged = [
        (version["version"], version["parent"], version["status"], version["validation"]["verdict"])
        for version in told["versions"]
    ]
    assert judged[:3] == [
        (1, 0, "PASSED", "FIRST_BEST"),
        (2, 1, "PASSED", "NEW_BEST"),
        (3, 2, "FAILED", "SEVERE_DROP"),
    ]
    assert judged[3][:3] == (4, 2, "PASSED")
    assert "from v4 to v2" in told["events"][-1]
