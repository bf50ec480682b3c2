"""The registry's vocabulary in Python: the enums and records that the contracts store.

Accuracies, drops and gaps are whole parts per million (ppm) of 1: 910,000 is 91 %, and one
percentage point is 10,000 ppm. Version numbers start at 1; 0 means none. Members and numbers mirror
the Solidity ones, so a value read from the chain and one predicted here compare with ``==``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Final

MAX_PPM: Final = 1_000_000
"""The highest accuracy, drop or gap: the whole."""

COMMITMENT_BYTES: Final = 25
"""How much of a version's 32-byte commitment the chain stores (its first bytes)."""

_LAST_TIME: Final = 253_402_300_799
"""The last second that Python's calendar knows, at the end of the year 9999."""


def format_ppm(ppm: int) -> str:
    """Write ppm as a percentage, exactly, with two to four decimals: 902,000 is ``90.20``.

    Two unequal values never read the same, which rounding to two decimals would not promise.
    """
    whole, rest = divmod(ppm, 10_000)
    decimals = f"{rest:04d}"
    return f"{whole}.{decimals[:2]}{decimals[2:].rstrip('0')}"


def format_time(seconds: int) -> str:
    """Write a block's time, or a deadline, in seconds since 1970, as ``2026-11-21 14:00:00+00:00``.

    What lies beyond Python's calendar is written as its last second.
    """
    return datetime.fromtimestamp(min(seconds, _LAST_TIME), UTC).isoformat(sep=" ")


class ModelKind(IntEnum):
    """What a model may be used for; fixed at creation."""

    NONE = 0
    """No such model."""
    STRICT = 1
    """One line of versions, each made from the one before and judged by the whole policy."""
    OPEN = 2
    """A registry of candidates: several may wait, and only the best is pointed at."""


class Status(IntEnum):
    """What became of a version."""

    NONE = 0
    """No such version."""
    PENDING = 1
    """Registered, and waiting for its validation."""
    PASSED = 2
    """Validated; it stays so on record even where a later rollback takes it off the active line."""
    FAILED = 3
    """Validated, and not good enough for the policy."""
    DISCARDED = 4
    """Given up before its validation: by discard, complete or a manual rollback."""
    REVOKED = 5
    """Passed once and withdrawn since: never a rollback target again, and no longer good."""


class Verdict(IntEnum):
    """Which rule of the policy a validation met; from REJECTED on, the version has failed."""

    NONE = 0
    """Not judged."""
    FIRST_BEST = 1
    """There was no best version, so this one is it."""
    NEW_BEST = 2
    """More accurate than the best."""
    PLATEAU = 3
    """Exactly as accurate as the best."""
    DIP = 4
    """Below the best, within the tolerance."""
    CONCERN = 5
    """Below the best by more than the tolerance."""
    CONTENDER = 6
    """Good enough for an open model, and not better than its best."""
    REJECTED = 7
    """The validator refused it on other grounds than its accuracy."""
    BELOW_MINIMUM = 8
    """Below the minimum accuracy; in a strict model only once the best has reached it."""
    SEVERE_DROP = 9
    """Below the best by more than the greatest drop allowed."""
    PATIENCE_EXHAUSTED = 10
    """One validation too many in a row below the best."""

    @property
    def fails(self) -> bool:
        """Whether the version has failed; a strict model is then back at its best one."""
        return self >= Verdict.REJECTED


class CompletionReason(IntEnum):
    """Why a model takes no further versions (NONE while it does)."""

    NONE = 0
    """Training goes on."""
    ROLLBACK_LIMIT = 1
    """As many automatic rollbacks as the policy allows."""
    TARGET_REACHED = 2
    """A version reached the target accuracy."""
    CONVERGED = 3
    """As many validations in a row without progress as the policy allows."""
    MAX_ITERATIONS = 4
    """As many iterations as the policy allows."""
    OVERTRAINING = 5
    """A version's training accuracy lay too far above its accuracy."""
    MANUAL = 6
    """An operator completed it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits by which a model's validations are judged; the defaults are the preset ``thesis``.

    In every field marked (0: off), 0 switches the limit off. Open models have ``max_drop``,
    ``min_accuracy``, ``quorum`` and ``independent`` alone: see ``open_policy``.
    """

    tolerance: int = 5_000
    """ppm below best beyond which a passing version is labelled a Concern; it only labels."""
    max_drop: int = 20_000
    """ppm below best beyond which a version is rolled back at once (0: off)."""
    patience: int = 3
    """Validations in a row below best that cause a rollback (0: off)."""
    min_accuracy: int = 0
    """ppm; once best has reached it, a version below it is rolled back at once (0: off). In an
    open model every version below it fails."""
    min_improvement: int = 0
    """ppm that a new best must improve by more than, to count as progress."""
    target_accuracy: int = 0
    """ppm; reaching it completes training (0: off)."""
    convergence_patience: int = 10
    """Validations in a row without progress that complete training (0: off)."""
    max_iterations: int = 100
    """Validations in all that complete training (0: off)."""
    max_rollbacks: int = 5
    """Automatic rollbacks that complete training (0: off)."""
    max_gap: int = 0
    """ppm of training accuracy above accuracy beyond which training completes (0: off)."""
    quorum: int = 1
    """Validators that must agree, 1 to 255."""
    independent: bool = False
    """Whether a validator may not hold the TRAINER role."""


_POLICY_FIELDS: Final = [field.name for field in dataclass_fields(Policy)]


def policy_from(fields: Iterable[Any]) -> Policy:
    """The policy in a contract's PolicyConfig, whose fields come in the same order."""
    # Ape's integers are of a type of its own, which no limit of a policy is
    plain = [field if isinstance(field, bool) else int(field) for field in fields]
    stated: dict[str, Any] = dict(zip(_POLICY_FIELDS, plain, strict=True))
    return Policy(**stated)


@dataclass(frozen=True, slots=True)
class ModelState:
    """Where a model stands. The defaults are a model that has just been created."""

    current: int = 0
    """Version in use (0: none)."""
    best: int = 0
    """Version that rollbacks return to: the current one or an ancestor of it (0: none)."""
    best_accuracy: int = 0
    """ppm; the recorded accuracy of ``best`` (0 without one)."""
    latest: int = 0
    """Highest version number given out, and so how many versions there are."""
    iteration: int = 0
    """Validations so far."""
    epoch: int = 0
    """Counts what voids work in flight (rollbacks, discards, reopenings); never goes back."""
    below_best: int = 0
    """Validations in a row below best; stops at 65,535."""
    since_progress: int = 0
    """Validations in a row without progress; stops at 65,535."""
    rollbacks: int = 0
    """Automatic rollbacks since creation or reopening; stops at 65,535."""
    waiting: int = 0
    """Versions that wait for their validation: in a strict model at most one."""
    completed: CompletionReason = CompletionReason.NONE
    """Why training is complete (NONE: it is not)."""
    kind: ModelKind = ModelKind.STRICT
    """Fixed at creation."""

    @property
    def pending(self) -> int:
        """The version that waits in a strict model: only the latest ever does (0: none).

        Which ones wait in an open model stands in the versions' own records.
        """
        return self.latest if self.waiting and self.kind is ModelKind.STRICT else 0


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """The one word that the chain stores for a version."""

    commitment: bytes
    """The first 25 bytes of the commitment to its test set, weights and details."""
    parent: int
    """Version it was made from (0: none); always lower than its own number."""
    accuracy: int
    """ppm, as validated; 0 until then."""
    status: Status
    """What became of it."""
