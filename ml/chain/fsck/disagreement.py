"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Place(StrEnum):
    """Where it lies, as far as one can tell."""

    DEPLOYMENTS = "deployments"
    CHAIN = "chain"
    INDEX = "index"
    JOURNAL = "journal"
    RECORDS = "records"
    STORE = "store"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Something that is otherwise in one place than in another."""

    place: Place
    what: str
    """Of which kind: the same words for the same kind."""
    which: str
    """The contract, model, row, entry or object."""
    why: str
    """In a sentence, without its end."""
