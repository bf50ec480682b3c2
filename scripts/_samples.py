"""What the commands share that measure, or show, a version on its model's test set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ml.training.datasets import LabelledSamples

prepared_option = click.option(
    "--prepared",
    type=click.Path(path_type=Path),
    help="Service configuration of a prepared data set: its validation part is the test set."
    "  [default: the test part of the data set that the version names]",
)


def test_set(prepared: Path | None) -> LabelledSamples | None:
    """The validation part that a service configuration names, its file checked; None if none is."""
    if prepared is None:
        return None
    from ml.federated import prepared as reading
    from ml.training.datasets import LabelledSamples

    name = reading.read_service(prepared).dataset_version
    part = reading.read_validation(prepared)
    return LabelledSamples(name, part.inputs, part.labels, part.class_names, part.root)
