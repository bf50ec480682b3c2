"""Who is enrolled with a model, and who could contribute to each version, by its history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ml.chain.logs import Event
from ml.chain.models import NamedModel
from ml.chain.registry import ModelRegistry
from ml.chain.verification import read_checked
from ml.errors import ModelproofError
from ml.federated.run_configuration import MAX_ON_CHAIN


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A client, as it was enrolled."""

    address: str
    dataset: bytes
    """The root of its samples."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A client as it stands now."""

    index: int
    address: str
    dataset: bytes
    is_active: bool
    reason: str
    """Why it was excluded, or reinstated, last; empty if it never was."""
    by: str = ""
    """The account that did so."""


def standings(registry: ModelRegistry, model: bytes) -> list[Standing]:
    """The clients of a model in the order of their indices, by its checked history.

    Raises:
        NotVerified: the node's events are not the history that the model's head commits to.
        ContractRefused: there is no such model.
    """
    found: dict[int, Standing] = {}
    for event in read_checked(registry, model)[1]:
        said = event.arguments
        match event.name:
            case "ClientEnrolled":
                client = (str(said["client"]), bytes(said["dataset"]))
                found[said["index"]] = Standing(said["index"], *client, True, "")
            case "ClientExcluded" | "ClientReinstated":
                found[said["index"]] = replace(
                    found[said["index"]],
                    is_active=event.name == "ClientReinstated",
                    reason=said["reason"],
                    by=str(said["by"]),
                )
    return [found[index] for index in sorted(found)]


def check_enrolled(registry: ModelRegistry, model: NamedModel, index: int) -> None:
    """Check that a client is on chain, before anything is sent about it.

    Raises:
        ModelproofError: it is not.
    """
    if index >= MAX_ON_CHAIN or registry.client(model.id, index) is None:
        raise ModelproofError(
            f"client {index} of {model.name} is not enrolled on chain: check the index, or name"
            f" the --folder of its run if that has more than {MAX_ON_CHAIN} clients."
        )


def active_at(history: Iterable[Event]) -> dict[int, Mapping[int, Enrolled]]:
    """The clients that were active when each version was registered.

    Args:
        history: all of a model's events, in order

    Returns:
        by version, the clients by their indices
    """
    enrolled: dict[int, Enrolled] = {}
    excluded: set[int] = set()
    found: dict[int, Mapping[int, Enrolled]] = {}
    for event in history:
        said = event.arguments
        match event.name:
            case "ClientEnrolled":
                enrolled[said["index"]] = Enrolled(str(said["client"]), bytes(said["dataset"]))
            case "ClientExcluded":
                excluded.add(said["index"])
            case "ClientReinstated":
                excluded.discard(said["index"])
            case "VersionRegistered":
                found[said["version"]] = {
                    index: client for index, client in enrolled.items() if index not in excluded
                }
    return found
