"""A progress bar for the training loop, on standard error, so that output stays clean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from .loop import Progress as TrainingProgress
    from .loop import StepDone


MOST_LINES = 5
"""How many lines a log gets, about."""


@contextmanager
def training_bar(description: str, console: Console | None = None) -> Iterator[TrainingProgress]:
    """Show a bar while the block runs; yields what ``train`` takes as ``progress``.

    On a terminal the bar moves; elsewhere there is a line now and then, at the end of an epoch.

    Args:
        description: what is being trained; text, not rich's markup.
        console: where to show it; standard error if None.
    """
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _epoch_lines(description, console)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("epoch {task.fields[epoch]} · loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(description, total=None, epoch="–", loss=float("nan"))

        def show(done: StepDone) -> None:
            bar.update(
                task,
                completed=done.step,
                total=done.steps,
                epoch=f"{done.epoch}/{done.epochs}",
                loss=done.loss,
            )

        yield show


def _epoch_lines(description: str, console: Console) -> TrainingProgress:
    """Report an epoch when its last step is done: each of a few, evenly some of many."""

    def show(done: StepDone) -> None:
        every = -(-done.epochs // MOST_LINES)
        worth_a_line = done.epoch % every == 0 or done.epoch == done.epochs
        if worth_a_line and done.step * done.epochs == done.epoch * done.steps:
            console.print(
                f"{description}: epoch {done.epoch}/{done.epochs}, loss {done.loss:.4f}",
                markup=False,
                highlight=False,
            )

    return show
