"""Progress is shown as a bar on a terminal, and as a line per epoch elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ml.training.datasets import Dataset
from ml.training.progress import training_bar
from ml.training.recipes import find_recipe
from ml.training.train import train


def shown(dataset: Dataset, *, terminal: bool, epochs: int = 3) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100)
    with training_bar("iris [dense]", console) as progress:
        train(find_recipe("iris", "dense"), dataset, epochs=epochs, progress=progress)
    return stream.getvalue()


def test_terminal_shows_a_bar_that_ends_with_the_last_epoch(iris: Dataset) -> None:
    output = shown(iris, terminal=True)
    assert "iris [dense]" in output
    assert "epoch 3/3 · loss" in output


def test_log_has_a_line_per_epoch_and_no_control_characters(iris: Dataset) -> None:
    lines = shown(iris, terminal=False).splitlines()
    assert [line.split(", loss")[0] for line in lines] == [
        f"iris [dense]: epoch {epoch}/3" for epoch in (1, 2, 3)
    ]
    assert all(line.isprintable() for line in lines)


def test_log_of_many_epochs_stays_short_and_ends_with_the_last(iris: Dataset) -> None:
    lines = shown(iris, terminal=False, epochs=11).splitlines()
    assert [line.split(", loss")[0] for line in lines] == [
        f"iris [dense]: epoch {epoch}/11" for epoch in (3, 6, 9, 11)
    ]


def test_nothing_is_written_to_standard_output(
    iris: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    with training_bar("iris") as progress:
        train(find_recipe("iris", "dense"), iris, epochs=1, progress=progress)
    assert capsys.readouterr().out == ""
