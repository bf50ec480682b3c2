"""Who could contribute to each version, by a model's history. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ml.chain.logs import Event


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A client, as it was enrolled."""

    address: str
    dataset: bytes
    """The root of its samples."""


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
