"""What `ape console` has at hand: the deployed registry, and helpers around it.

``registry`` is a typed client (`ml.chain.registry`), ``session`` the connection, ``model(NAME)``
all about a model, ``history(NAME)`` its versions and what happened to them, ``identify(FILE)`` the
versions that a file is, ``log()`` the deployed provenance log.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ape
from ape.exceptions import ApeException

from ml.artifact import read_manifest
from ml.chain import history as _history
from ml.chain import models, verification
from ml.chain.records import Model, Role
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session
from ml.errors import ModelproofError

__all__ = ["Role", "ape_init_extras"]


def ape_init_extras() -> dict[str, Any]:
    """Connect to what the console is connected to; without a registry there, say so."""
    provider = ape.networks.active_provider
    if provider is None:
        return {}
    session = Session(provider, provider.network_choice)
    try:
        registry = session.registry()
    except (ModelproofError, ApeException) as error:
        print(f"No registry: {error}")
        return {"session": session, "Role": Role}
    return {
        "session": session,
        "registry": registry,
        "log": session.provenance_log,
        "Role": Role,
        **_helpers(registry),
    }


def _helpers(registry: ModelRegistry) -> dict[str, Any]:
    def model(name: str) -> Model:
        """All about a model but its versions."""
        return registry.model(models.resolve(registry, name).id)

    def history(name: str) -> _history.History:
        """A model's versions and what happened to them."""
        return _history.read(registry, models.resolve(registry, name).id)

    def identify(file: str) -> list[verification.Identified]:
        """The versions that a file is, those in the best standing first."""
        return verification.identify(registry, read_manifest(Path(file)).weights)

    return {"model": model, "history": history, "identify": identify}
