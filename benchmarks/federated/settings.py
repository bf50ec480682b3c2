"""The trainings that are measured: networks, learning rates, and how MNIST is divided."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from ml.federated.aggregation import FedAvg
from ml.federated.configuration import Preparation
from ml.federated.parts import Part
from ml.federated.plain import PlainTask
from ml.federated.preparation import Divided, divide
from ml.federated.run_configuration import LocalTraining
from ml.federated.splits import AnySplit, Iid, Shards
from ml.training.architectures import Architecture, ArchitectureName
from ml.training.datasets import Dataset, load_dataset
from ml.training.recipes import find_recipe

MNIST: Final = find_recipe("mnist", "dense").architecture
TWO_NN: Final = replace(MNIST, hidden=(200, 200))
"""The 2NN of McMahan et al. 2017, 199,210 parameters."""
CNN: Final = replace(MNIST, name=ArchitectureName.FEDAVG_CNN, hidden=(512,), channels=(32, 64))
"""Their CNN, 1,663,370 parameters."""
BATCH: Final = 10
PAPER_HOLDOUT: Final = 1_000
"""Samples that are cut from the training part where all of the test part is for validation."""

SPLITS: Final[dict[str, AnySplit]] = {"IID": Iid(), "two-shard": Shards(2)}
TWO_NN_RATES: Final = {"IID": 0.1, "two-shard": 0.05}
"""Learning rates of the 2NN, by the split."""


@dataclass(frozen=True, slots=True)
class Population:
    """How many clients there are, and who takes part in a round."""

    clients: int
    fraction: float
    samples: int | None = None
    """That each has at most."""


POPULATIONS: Final = {
    "10 of 100": Population(100, 0.1),
    "all 10": Population(10, 1.0, 1_500),
}


@lru_cache(maxsize=1)
def mnist() -> Dataset:
    """The data set, read once."""
    return load_dataset("mnist")


def divided(split: str, seed: int, *, clients: int = 100, whole_test: bool = False) -> Divided:
    """Divide MNIST.

    Args:
        split: a name in `SPLITS`.
        seed: of the split.
        clients: how many.
        whole_test: the validation part is the whole test part, as papers have it, and the holdout
            is cut from the training part; else either is half of the test part.
    """
    kept = (PAPER_HOLDOUT, "train") if whole_test else (None, "test")
    return divide(mnist(), Preparation(clients, SPLITS[split], seed, *kept))


def populated(population: Population, split: str, seed: int) -> PlainTask:
    """A training of the 2NN by a population."""
    data = divided(split, seed, clients=population.clients)
    task = task_of(data, TWO_NN, TWO_NN_RATES[split], seed, fraction=population.fraction)
    most = population.samples
    clients = [Part(one.inputs[:most], one.labels[:most], one.class_names) for one in task.clients]
    return replace(task, clients=clients)


def task_of(
    data: Divided,
    architecture: Architecture,
    rate: float,
    seed: int,
    *,
    epochs: int = 1,
    fraction: float = 0.1,
) -> PlainTask:
    """A training on divided data: FedAvg, batches of ten, plain SGD at one rate."""
    local = LocalTraining(epochs, BATCH, rate, count_correct=False)
    return PlainTask(architecture, local, FedAvg(), seed, fraction, data.clients, data.validation)
