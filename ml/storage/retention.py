"""How long clients' updates are kept, and what giving them up costs an auditor.

A version's weights are kept for as long as the chain names them. The signed updates that a version
was aggregated from are many times as large, and the chain names them by one root a version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from ml.artifact.errors import quoted

from .cid import Cid
from .errors import StorageError

UPDATE_FORMAT: Final = "client-update"
"""What the sidecar of a client's update calls its plaintext."""
RUN_FORMAT: Final = "federated-run"
"""What the sidecar of a federated run's configuration calls its plaintext."""
_FORM: Final = re.compile(r"drop:(\d{1,9})|thin:(\d{1,9}):(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Retention:
    """Keep the updates of the last ``versions`` versions, and of every ``every``-th before.

    ``versions`` None keeps all; ``every`` 0 keeps none of those before.
    """

    versions: int | None = None
    every: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``keep``, ``drop:VERSIONS`` or ``thin:VERSIONS:EVERY``.

        Raises:
            StorageError: it is something else.
        """
        if text == "keep":
            return cls()
        match = _FORM.fullmatch(text)
        if match is None or match[3] == "0":
            raise StorageError(
                "updates are kept by keep, drop:VERSIONS or thin:VERSIONS:EVERY, as thin:20:10,"
                f" not {quoted(text)}"
            )
        return cls(int(match[1] or match[2]), int(match[3] or 0))

    def keeps(self, version: int, latest: int) -> bool:
        """Whether the updates that went into a version are kept when ``latest`` is there."""
        if self.versions is None or latest - version < self.versions:
            return True
        return self.every > 0 and version % self.every == 0

    @property
    def cost(self) -> str:
        """What an auditor cannot do then, in a sentence."""
        if self.versions is None:
            return "All updates are kept: every aggregation can be computed again."
        rest = f", but for versions that {self.every} divides" if self.every else ""
        return (
            f"Of versions {self.versions} or more back{rest}, the updates are gone: an auditor can"
            " still verify the weights, their lineage and validations, and that an update which"
            " somebody else kept was among them, but cannot compute the aggregation again, nor"
            " see from what a client sent whether it did harm."
        )


@dataclass(frozen=True, slots=True)
class Use:
    """That an update went into a version, as the chain has it."""

    version: int
    latest: int
    """The number of the model's latest version."""


def given_up(rule: Retention, uses: Mapping[Cid, Iterable[Use]]) -> set[Cid]:
    """The updates that the rule keeps for none of the versions that they went into."""
    return {
        cid
        for cid, versions in uses.items()
        if not any(rule.keeps(use.version, use.latest) for use in versions)
    }
