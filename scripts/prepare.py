"""Divide a data set for federated training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scripts._cli import Ui, command

if TYPE_CHECKING:
    from ml.federated.configuration import PreparationMetadata
    from ml.federated.preparation import Divided
    from ml.federated.splits import AnySplit

_BY_CLASS = "class"
_SPLITS = ("iid", "non_iid", _BY_CLASS, "shard", "quantity", "dirichlet")


@command("ape run prepare mnist --num-clients 100 --split-type shard")
@click.argument("dataset", type=click.Choice(["iris", "digits", "mnist", "cifar10"]))
@click.option(
    "--num-clients",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="How many clients the training part is divided among.",
)
@click.option(
    "--split-type",
    type=click.Choice(_SPLITS),
    default="iid",
    show_default=True,
    help="How samples are divided among clients; non_iid is class.",
)
@click.option(
    "--shards", type=click.IntRange(1), help="Per client, of a shard split.  [default: 2]"
)
@click.option(
    "--concentration",
    type=float,
    help="Of a quantity or dirichlet split: the lower, the more unequal.  [default: 0.5]",
)
@click.option(
    "--min-samples", type=click.IntRange(1), help="Per client, of a dirichlet split.  [default: 1]"
)
@click.option(
    "--share",
    type=float,
    help="Of a class split: how much of a class goes to its own clients.  [default: 1]",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Everything random follows from it.",
)
@click.option("--holdout", type=click.IntRange(1), help="Samples.  [default: half of the test set]")
@click.option(
    "--holdout-from",
    type=click.Choice(["test", "train"]),
    default="test",
    show_default=True,
    help="Part that the holdout is taken from; the rest of the test set steers the policy.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder with CIFAR-10's files, or with MNIST's if not the package.",
)
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="[default: data/DATASET]",
)
def cli(
    ui: Ui,
    dataset: str,
    num_clients: int,
    split_type: str,
    shards: int | None,
    concentration: float | None,
    min_samples: int | None,
    share: float | None,
    seed: int,
    holdout: int | None,
    holdout_from: str,
    data: Path | None,
    output_dir: Path | None,
) -> None:
    """Divide DATASET into a file for each client, a validation part and a holdout.

    Clients get training samples only. Beside the data are a configuration for each client and one
    for the service, and the metadata of all, with every file's hash. The same options give the same
    files; the metadata also has the time, which SOURCE_DATE_EPOCH sets. Needs no chain.
    """
    from typing import Literal, cast

    from ml.federated import prepared
    from ml.federated.configuration import Preparation
    from ml.federated.preparation import divide, files_of
    from ml.training.datasets import load_dataset

    given = {
        "shards": shards,
        "concentration": concentration,
        "min_samples": min_samples,
        "share": share,
    }
    split = _split(split_type, {name: value for name, value in given.items() if value is not None})
    source = cast(Literal["test", "train"], holdout_from)
    wanted = Preparation(num_clients, split, seed, holdout, source)
    folder = output_dir or Path("data") / dataset
    divided = divide(load_dataset(dataset, data), wanted)
    prepared.write(folder, files_of(divided, _now()))
    _show(ui, folder, divided, prepared.check_files(folder))


def _split(name: str, given: dict[str, float]) -> AnySplit:
    """The split of this name, with those of its parameters that were given."""
    from ml.federated.splits import ByClass, Dirichlet, Iid, Quantity, Shards

    kinds: dict[str, tuple[Callable[..., AnySplit], dict[str, str]]] = {
        "iid": (Iid, {}),
        _BY_CLASS: (ByClass, {"share": "share"}),
        "shard": (Shards, {"shards": "per_client"}),
        "quantity": (Quantity, {"concentration": "concentration"}),
        "dirichlet": (
            Dirichlet,
            {"concentration": "concentration", "min_samples": "min_samples"},
        ),
    }
    kind, parameters = kinds[_BY_CLASS if name == "non_iid" else name]
    for option in given:
        if option not in parameters:
            raise click.UsageError(f"--split-type {name} has no --{option.replace('_', '-')}")
    return kind(**{parameters[option]: value for option, value in given.items()})


def _now() -> str:
    """The time, or that of SOURCE_DATE_EPOCH (reproducible-builds.org), in UTC to the second."""
    import os
    from datetime import UTC, datetime

    from ml.errors import ModelproofError

    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError, OSError):
        raise ModelproofError(
            f"SOURCE_DATE_EPOCH is {epoch!r}, and not a number of seconds since 1970."
        ) from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _show(ui: Ui, folder: Path, divided: Divided, metadata: PreparationMetadata) -> None:
    """Print what every client has, and what the service has."""
    from ml.federated.configuration import client_path
    from ml.federated.preparation import HOLDOUT_PATH, VALIDATION_PATH

    named = [(f"client {at}", part, client_path(at)) for at, part in enumerate(divided.clients)]
    named += [
        ("validation part", divided.validation, VALIDATION_PATH),
        ("holdout", divided.holdout, HOLDOUT_PATH),
    ]
    ui.table(
        ["", "samples", "classes", "root", "file"],
        [
            [
                name,
                f"{len(part):,}",
                sum(count > 0 for count in part.distribution.values()),
                ui.short(part.root),
                folder / path,
            ]
            for name, part, path in named
        ],
    )
    ui.say("")
    ui.say(f"{metadata.dataset_version}: prepared in {folder}/")
    ui.result(
        {
            "folder": folder,
            "dataset_version": metadata.dataset_version,
            "parts": [
                {
                    "name": name,
                    "samples": len(part),
                    "distribution": part.distribution,
                    "root": part.root,
                    "sha256": metadata.hashes[path],
                    "file": folder / path,
                }
                for name, part, path in named
            ],
        }
    )
