"""Measuring rounds to the paper's accuracies: what is kept, what counts, what is objected to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from benchmarks.federated import engines, kept, paper, report, settings
from benchmarks.gas.report import BEGIN, END, documented
from ml.federated.configuration import Preparation
from ml.federated.preparation import divide
from ml.federated.splits import Iid
from ml.training.datasets import Dataset
from ml.training.recipes import find_recipe
from tests.chain.places import kept_apart

FAST = replace(paper.TRAININGS["2NN, IID"], rounds=3, seeds=2)
SLOW = replace(FAST, split="two-shard", seeds=1)
TABLES = ("bench-federated, paper", "bench-federated, paper, provenance")
Measure: TypeAlias = Callable[..., dict[str, Any]]


def case(curve: list[int], rate: float = FAST.rate, **changes: Any) -> dict[str, Any]:
    """What is kept of one training that reached the target by its last round."""
    return {
        "rate": rate,
        "reached": len(curve),
        "completed": "target_reached",
        "holdout": 960_000,
        "versions": len(curve),
        "replayed": len(curve),
        "fsck": [],
        "gas": {"registrations": 1, "validations": 1},
        "seconds": 1.0,
        "cpu_seconds": 1.0,
        "load_average": 1.0,
        "curve": curve,
        **changes,
    }


GIVEN_UP = case([1, 2, 3, 4, 5], reached=None, completed="none", holdout=None)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two trainings, whose results and tables are kept there."""
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    monkeypatch.setattr(report, "DOCUMENT", tmp_path / "tables.md")
    monkeypatch.setattr(paper, "TRAININGS", {"fast": FAST, "slow": SLOW})
    report.DOCUMENT.write_text("".join(BEGIN.format(name) + END for name in TABLES))
    return tmp_path


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Have trainings come to this; which ones are measured from then on, in their order."""

    def measured(results: dict[str, Any]) -> list[str]:
        done: list[str] = []

        def measure(training: paper.Training, seed: int, _engine: engines.Engine) -> Any:
            name = f"{'fast' if training.split == FAST.split else 'slow'}; {seed}"
            done.append(name)
            if isinstance(results[name], BaseException):
                raise results[name]
            return results[name]

        monkeypatch.setattr(paper, "measure", measure)
        return done

    return measured


def keep(engine: str, cases: dict[str, Any]) -> None:
    kept.write(paper.results_of(engine), {"engine": engine}, cases, complete=True)


def is_complete() -> bool:
    return bool(json.loads(paper.results_of("whole").read_text())["complete"])


def test_stopped_measurement_goes_on_with_what_is_left(
    measured: Callable[..., list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    good = {"fast; 1": case([1]), "fast; 2": case([2]), "slow; 1": case([3], rate=SLOW.rate)}
    measured({**good, "fast; 2": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        paper.run()
    done = measured(good)
    assert paper.run() == 0
    assert done == ["fast; 2", "slow; 1"]
    assert paper.read("whole") == good
    assert capfd.readouterr().err == ""


def test_named_training_after_a_stopped_one_loses_nothing(
    measured: Callable[..., list[str]],
) -> None:
    good = {"fast; 1": case([1]), "fast; 2": case([2]), "slow; 1": case([3], rate=SLOW.rate)}
    measured({**good, "fast; 2": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        paper.run()
    measured(good)
    paper.run(names=["slow"])
    assert not is_complete()
    done = measured(good)
    paper.run()
    assert done == ["fast; 2"]
    assert paper.read("whole") == good
    assert is_complete()


def test_named_training_whose_seeds_are_all_there_is_measured_anew(
    measured: Callable[..., list[str]],
) -> None:
    good = {"fast; 1": case([1]), "fast; 2": case([2]), "slow; 1": case([3], rate=SLOW.rate)}
    measured(good)
    paper.run()
    again = {**good, "fast; 1": case([4]), "fast; 2": KeyboardInterrupt()}
    measured(again)
    with pytest.raises(KeyboardInterrupt):
        paper.run(names=["fast"])
    assert not is_complete()
    done = measured({**again, "fast; 2": case([5])})
    paper.run(names=["fast"])
    assert done == ["fast; 2"]
    assert paper.read("whole") == {**again, "fast; 2": case([5])}
    assert is_complete()


def test_training_at_another_rate_is_measured_anew(
    measured: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured({"fast; 1": case([1]), "fast; 2": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        paper.run()
    monkeypatch.setitem(paper.TRAININGS, "fast", replace(FAST, rate=0.2))
    assert paper.read("whole") == {}
    done = measured({f"fast; {seed}": case([1], rate=0.2) for seed in (1, 2)})
    paper.run(names=["fast"])
    assert done == ["fast; 1", "fast; 2"]


def test_target_that_half_of_the_seeds_miss_ends_with_1(
    measured: Callable[..., list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    measured({"fast; 1": case([1]), "fast; 2": GIVEN_UP})
    assert paper.run(names=["fast"]) == 1
    assert capfd.readouterr().err == "fast: not reached, and the paper takes 3 rounds\n"
    assert "| fast, seed 2 | given up |" in documented(TABLES[1], report.DOCUMENT)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"curve": [1, 9, 3]}, "accuracies with and without provenance differ from round 2 on"),
        (
            {"curve": [1, 2], "versions": 2, "replayed": 2},
            "accuracies with and without provenance are of other numbers of rounds",
        ),
        ({"versions": 4, "replayed": 4}, "3 rounds, and 4 versions on chain"),
        ({"replayed": 2}, "2 of 3 versions were replayed"),
        ({"fsck": ["missing row in the index"]}, "fsck objects: missing row in the index"),
    ],
)
def test_whole_system_that_something_is_wrong_with_ends_with_1(
    measured: Callable[..., list[str]],
    capfd: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    sentence: str,
) -> None:
    same = case([1, 2, 3])
    keep("plain", {"fast; 1": same, "fast; 2": same})
    measured({"fast; 1": same, "fast; 2": {**same, **changes}})
    assert paper.run(names=["fast"]) == 1
    assert capfd.readouterr().err == f"fast; 2: {sentence}\n"


def test_table_has_the_whole_system_where_it_was_measured() -> None:
    keep("plain", {"fast; 1": case([1, 2]), "slow; 1": case([1], rate=SLOW.rate)})
    keep("whole", {"fast; 1": case([1, 2])})
    paper.report()
    fast, slow = documented(TABLES[0], report.DOCUMENT).splitlines()[2:]
    assert fast == "| fast | full | 97.00 | 0.1 | 2 | 2 (1 of 2 seeds) | 3 |"
    assert slow == "| slow | none | 97.00 | 0.1 | 1 | 1 | 3 |"


@pytest.mark.long
@pytest.mark.slow
def test_contract_ends_the_whole_system_at_the_target(tmp_path: Path, iris: Dataset) -> None:
    data = divide(iris, Preparation(3, Iid(), seed=1, holdout_from="train"))
    network = find_recipe("iris", "dense").architecture
    task = settings.task_of(data, network, 0.1, seed=1, fraction=1.0)
    plain = engines.plain(data, task, 600_000, 40)
    with kept_apart(tmp_path):
        whole = engines.whole(data, task, 600_000, 40)
    assert whole["curve"] == plain["curve"]
    assert len(whole["curve"]) > 1
    assert whole["reached"] == plain["reached"] == whole["versions"] == whole["replayed"]
    assert whole["completed"] == "target_reached"
    assert whole["policy"] == {"tolerance": 5_000, "target_accuracy": 600_000, "quorum": 1}
    assert whole["fsck"] == []
    assert whole["holdout"] > 0
    assert min(whole["gas"].values()) > 50_000 * whole["versions"]
    assert whole["cpu_seconds"] > 0
