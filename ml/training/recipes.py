"""The recipes that ship: per data set and architecture, what trains well in seconds on one core.

The learning rates are the best of a few tried on three seeds; accuracies are in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from ml.errors import ModelproofError

from .architectures import Architecture, ArchitectureName
from .hyperparameters import Hyperparameters, LbfgsHyperparameters, SgdHyperparameters


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained, on what, and how."""

    dataset: str
    architecture: Architecture
    hyperparameters: Hyperparameters

    @property
    def name(self) -> str:
        """The data set and the architecture, as ``mnist-cnn``."""
        return f"{self.dataset}-{self.architecture.name}"


_CNN: Final = ArchitectureName.CNN
_DENSE: Final = ArchitectureName.DENSE
_LOGISTIC: Final = ArchitectureName.LOGISTIC
_SKLEARN: Final = ArchitectureName.SKLEARN

# The means and deviations are those of the training parts: over all pixels, or per feature.
_MNIST: Final = partial(
    Architecture, input_shape=(1, 28, 28), classes=10, mean=(33.3184,), std=(78.5675,)
)
_DIGITS: Final = partial(Architecture, input_shape=(1, 8, 8), classes=10, mean=(4.9,), std=(6.0,))
_IRIS: Final = partial(
    Architecture,
    input_shape=(4,),
    classes=3,
    mean=(5.86, 3.08, 3.78, 1.21),
    std=(0.82, 0.43, 1.77, 0.77),
)

_ALL: Final = (
    Recipe(
        "mnist",
        _MNIST(_CNN, hidden=(64,), channels=(16, 16)),
        SgdHyperparameters(epochs=2, batch_size=64, learning_rate=0.05),
    ),
    Recipe(
        "mnist",
        _MNIST(_DENSE, hidden=(128, 128, 128)),
        SgdHyperparameters(epochs=3, batch_size=64, learning_rate=0.05),
    ),
    Recipe(
        "mnist",
        _MNIST(_LOGISTIC),
        SgdHyperparameters(epochs=3, batch_size=128, learning_rate=0.03),
    ),
    Recipe("mnist", Architecture(_SKLEARN, (1, 28, 28), 10), LbfgsHyperparameters(epochs=20)),
    Recipe(
        "digits",
        _DIGITS(_CNN, hidden=(64,), channels=(32, 64)),
        SgdHyperparameters(epochs=15, batch_size=32, learning_rate=0.1, weight_decay=0.001),
    ),
    Recipe(
        "digits",
        _DIGITS(_DENSE, hidden=(64, 64, 64)),
        SgdHyperparameters(epochs=20, batch_size=32, learning_rate=0.1),
    ),
    Recipe(
        "digits",
        _DIGITS(_LOGISTIC),
        SgdHyperparameters(epochs=20, batch_size=32, learning_rate=0.1),
    ),
    Recipe("digits", Architecture(_SKLEARN, (1, 8, 8), 10), LbfgsHyperparameters(epochs=100)),
    Recipe(
        "iris",
        _IRIS(_DENSE, hidden=(16, 16, 16)),
        SgdHyperparameters(epochs=30, batch_size=16, learning_rate=0.1),
    ),
    Recipe(
        "iris",
        _IRIS(_LOGISTIC),
        SgdHyperparameters(epochs=30, batch_size=16, learning_rate=0.1),
    ),
    Recipe("iris", Architecture(_SKLEARN, (4,), 3), LbfgsHyperparameters(epochs=100)),
)

RECIPES: Final = {recipe.name: recipe for recipe in _ALL}
"""Every recipe by its name, as ``mnist-cnn``."""


def find_recipe(dataset: str, architecture: str) -> Recipe:
    """Return the recipe that trains an architecture on a data set.

    Raises:
        ModelproofError: there is none.
    """
    recipe = RECIPES.get(f"{dataset}-{architecture}")
    if recipe is None:
        raise ModelproofError(
            f"there is no recipe for the architecture {architecture!r} on the data set {dataset!r};"
            f" choose one of {', '.join(RECIPES)}"
        )
    return recipe


_FEDERATED: Final = {
    "2nn": partial(replace, name=_DENSE, hidden=(200, 200)),
    "fedavg-cnn": partial(
        replace, name=ArchitectureName.FEDAVG_CNN, hidden=(512,), channels=(32, 64)
    ),
}
"""The networks that FedAvg was published with: McMahan et al. 2017 (arXiv 1602.05629)."""
_SHAPES: Final = {"mnist": _MNIST, "digits": _DIGITS, "iris": _IRIS}


def federated_architecture(dataset: str, name: str) -> Architecture:
    """Return the network that a name means for a data set: a recipe's, 2nn, or fedavg-cnn.

    Raises:
        ModelproofError: there is none of this name that takes such samples.
    """
    if name not in _FEDERATED:
        architecture = find_recipe(dataset, name).architecture
        if architecture.name is ArchitectureName.SKLEARN:
            raise ModelproofError(
                "scikit-learn's models cannot be averaged: choose a torch network"
            )
        return architecture
    if dataset not in _SHAPES:
        raise ModelproofError(
            f"how samples of {dataset!r} are scaled for {name} is not known: give the architecture"
            " as a file of JSON"
        )
    return _FEDERATED[name](_SHAPES[dataset](_LOGISTIC))
