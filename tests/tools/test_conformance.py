"""The conformance run: what it says, and with which exit code, where a node cannot be had or fails.

That the contracts conform is for the run itself to show.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ml.chain.anvil import AnvilNode, NodeError
from tools.conformance import nodes
from tools.conformance.__main__ import Result, counted, line, main

TESTS = """
import pytest

@pytest.fixture
def broken():
    raise RuntimeError("no such account")

def test_that_passes(): pass
def test_that_passes_too(): pass
def test_that_fails(): assert False
def test_whose_fixture_fails(broken): pass
def test_that_is_skipped(): pytest.skip("this node has no clock to set")
"""


def test_node_that_is_not_installed_is_named_and_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(nodes, "FOLDER", tmp_path)
    assert main(["ganache"]) == 1
    told = capsys.readouterr().out
    assert "ganache does not conform: there is no ganache to run the tests on: ganache was" in told


def test_unknown_node_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["geth"])
    assert exit_.value.code == 2
    told = capsys.readouterr().err
    assert "there is no node geth: choose from anvil, ganache, hardhat, py-evm" in told


class Pretender(AnvilNode):
    name = "ganache"


def test_node_that_is_another_one_is_not_used() -> None:
    refused = pytest.raises(NodeError, match="another node than ganache answers")
    with refused, nodes.served(Pretender()):
        pytest.fail("it was used")


def test_report_is_counted_with_the_reasons_of_what_was_skipped(tmp_path: Path) -> None:
    (tmp_path / "test_node.py").write_text(TESTS)
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--junitxml=report.xml"],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        check=False,
    )
    passed, failed, skipped = counted(tmp_path / "report.xml")
    assert (passed, failed) == (2, 2)
    assert skipped == ["test_that_is_skipped: this node has no clock to set"]


@pytest.mark.parametrize(
    ("result", "conforms"),
    [
        (Result("anvil", "1.0.0", passed=3), True),
        (Result("anvil", "1.0.0", passed=3, skipped=["test_clock: it has none"]), True),
        (Result("anvil", "1.0.0", passed=3, failed=1), False),
        (Result("anvil", "1.0.0", passed=3, trouble="the report was cut off"), False),
        (Result("anvil", "1.0.0"), False),  # what was not tried is not known to work
    ],
)
def test_node_conforms_only_if_tests_ran_and_none_failed(result: Result, conforms: bool) -> None:
    assert result.conforms is conforms


def test_result_is_a_line_of_the_table() -> None:
    result = Result("ganache", "7.9.2", 178, 0, ["test_a: why", "test_b: why"], 61.4)
    assert line(result.row).split() == ["ganache", "7.9.2", "178", "0", "2", "61"]
