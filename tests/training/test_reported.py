"""Metrics files that were written elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.errors import ModelproofError
from ml.training.reported import ReportedMetrics, read_metrics


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "metrics.json"


@pytest.mark.parametrize(
    ("text", "accuracy_ppm", "training_accuracy_ppm"),
    [
        ('{"accuracy_ppm": 910000}', 910_000, 0),
        ('{"accuracy": 0.91}', 910_000, 0),
        ('{"accuracy": 1}', 1_000_000, 0),
        ('{"accuracy": 0}', 0, 0),
        ('{"accuracy": 0.29}', 290_000, 0),
        ('{"accuracy": 0.9999999}', 999_999, 0),
        ('{"correct": 2, "total": 3}', 666_666, 0),
        ('{"accuracy_ppm": 910000, "training_accuracy": 0.95}', 910_000, 950_000),
        ('{"accuracy_ppm": 910000, "training_accuracy_ppm": 950001}', 910_000, 950_001),
    ],
)
def test_accuracy_is_read_as_ppm_rounded_down(
    file: Path, text: str, accuracy_ppm: int, training_accuracy_ppm: int
) -> None:
    file.write_text(text)
    read = read_metrics(file)
    assert (read.accuracy_ppm, read.training_accuracy_ppm) == (accuracy_ppm, training_accuracy_ppm)


def test_other_metrics_are_kept_in_canonical_form(file: Path) -> None:
    file.write_text('{ "f1": 0.5, "accuracy_ppm": 1, "note": "ü" }')
    assert read_metrics(file).text == '{"accuracy_ppm":1,"f1":0.5,"note":"ü"}'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"accuracy_ppm": 1000001}', "out of range"),
        ('{"accuracy_ppm": -1}', "out of range"),
        ('{"accuracy_ppm": 0.5}', "out of range"),
        ('{"accuracy_ppm": true}', "out of range"),
        ('{"accuracy": 91}', "out of range"),
        ('{"accuracy": -0.0000001}', "out of range"),
        ('{"accuracy": 1e999999999}', "cannot be used|out of range|no number"),
        ('{"accuracy": "high"}', "no number"),
        ('{"accuracy": "NaN"}', "no number"),
        ('{"accuracy": true}', "no number"),
        ('{"accuracy_ppm": 5, "accuracy": 0.9}', "more than once"),
        ('{"correct": 1, "total": 2, "accuracy": 0.5}', "more than once"),
        ('{"correct": 1}', "cannot be"),
        ('{"accuracy": NaN}', "cannot be used"),
        ('{"accuracy": 0.9, "accuracy": 0.8}', "twice"),
        ('{"correct": 4, "total": 3}', "cannot be"),
        ('{"correct": 0, "total": 0}', "cannot be"),
        ('{"correct": 1.5, "total": 3}', "cannot be"),
        ('{"accuracy": 0.9, "training_accuracy": 1.1}', "out of range"),
        ('{"f1": 0.5}', "no accuracy"),
        ("[0.9]", "not a JSON object"),
        ("0.9 and rising", "cannot be used"),
    ],
)
def test_file_that_states_no_possible_accuracy_is_refused_by_its_name(
    file: Path, text: str, complaint: str
) -> None:
    file.write_text(text)
    with pytest.raises(ModelproofError, match=complaint) as refused:
        read_metrics(file)
    assert "metrics.json" in str(refused.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelproofError, match="cannot be read"):
        read_metrics(tmp_path / "none.json")


@given(ppm=st.integers(0, 1_000_000))
def test_every_ppm_survives_being_written_as_a_share(
    tmp_path_factory: pytest.TempPathFactory, ppm: int
) -> None:
    file = tmp_path_factory.mktemp("metrics") / "metrics.json"
    file.write_text(json.dumps({"accuracy": ppm / 1_000_000}))
    assert read_metrics(file) == ReportedMetrics(ppm, 0, file.read_text().replace(" ", ""))
