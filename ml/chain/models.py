"""Which models a registry has, and which one a user means."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ml.chain import events
from ml.chain.commitment import model_id
from ml.chain.logs import Event
from ml.chain.registry import ModelRegistry
from ml.errors import ModelproofError, NotVerified

_ID_DIGITS = 64


class UnknownModel(ModelproofError):
    """A registry has no model of this name or id."""


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model as its creation named it."""

    id: bytes
    name: str
    creator: str


def all_models(registry: ModelRegistry) -> list[NamedModel]:
    """The models of a registry in the order of their creation.

    Raises:
        NotVerified: what the node says of a model is not what its id was made of.
    """
    return [named(event) for event in events.read(registry, name="ModelCreated")]


def is_id(text: str) -> bool:
    """Whether a text is a model's id, 0x and 64 hex digits; no name is ever taken for one."""
    return re.fullmatch(rf"0x[0-9a-fA-F]{{{_ID_DIGITS}}}", text) is not None


def resolve(registry: ModelRegistry, text: str) -> NamedModel:
    """The model that ``text`` means: a whole id, or a name that only one model here has.

    What has the form of an id is never taken for a name: anybody may call a model by another's id.

    Raises:
        UnknownModel: there is none.
        ModelproofError: several creators have one of this name.
    """
    models = all_models(registry)
    if is_id(text):
        found = [model for model in models if model.id.hex() == text[2:].lower()]
    else:
        found = [model for model in models if model.name == text]
    if len(found) == 1:
        return found[0]
    if found:
        choices = ", ".join(f"0x{model.id.hex()} of {model.creator}" for model in found)
        raise ModelproofError(f"several models are called {text}: give the id of one ({choices}).")
    names = sorted({model.name for model in models})
    known = f"known here: {', '.join(names[:10])}" if names else "it has none yet"
    raise UnknownModel(
        f"the registry at {registry.address} has no model {text} ({known}): check the name and"
        " --network."
    )


def by_id(registry: ModelRegistry, model: bytes) -> NamedModel:
    """The model with this id, which the registry is known to have.

    Raises:
        NotVerified: the node has no creation of it, or one that is not what its id was made of.
    """
    creations = events.read(registry, model=model, name="ModelCreated")
    if not creations:
        raise NotVerified(
            f"the node has no creation of model 0x{model.hex()}, which is on record: ask another"
            " node."
        )
    return named(creations[0])


def named(event: Event) -> NamedModel:
    """The model that a ModelCreated event is about.

    Raises:
        NotVerified: the event is not what the model's id was made of.
    """
    model = NamedModel(event.model, event.arguments["name"], event.arguments["creator"])
    if model.id != model_id(model.creator, model.name):
        raise NotVerified(
            f"the node's event of model 0x{model.id.hex()} is not what its id was made of:"
            " ask another node."
        )
    return model
